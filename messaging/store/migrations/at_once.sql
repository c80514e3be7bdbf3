-- A batch of few rows in two calls: lease and claim, and record and end. Four transactions became two.
--
-- Why these are functions, and how their plans are kept: windows.sql says it. Rows are claimed on leasing where nobody
-- had the batch before, few are open, and its provider is one of `p_ready`: those that the caller reserved from a
-- moment ago without being held up. Where `o_claim` is NULL the batch is not ours.
CREATE OR REPLACE FUNCTION lease_batch(
    p_month date, p_id bigint, p_lease_s float8, p_ready bigint[], p_few int,
    OUT o_claim int, OUT o_message bigint, OUT o_provider bigint, OUT o_first bigint, OUT o_last bigint,
    OUT o_deaths int, OUT o_suspect bigint, OUT o_lane text, OUT o_expires_at timestamptz, OUT o_open int,
    OUT o_account text, OUT o_claimed boolean,
    OUT o_state smallint, OUT o_may boolean, OUT o_found int, OUT o_cursor bigint,
    OUT o_targets bigint[], OUT o_addresses text[], OUT o_names text[], OUT o_attempts int[], OUT o_doubts int[],
    OUT o_roles int[], OUT o_declined bigint[], OUT o_declined_codes text[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    v_bulk boolean;
    v_window record;
BEGIN
    UPDATE batches b SET state = 1, claim = b.claim + 1, updated_at = now(), waiting_for = NULL,
           lease_until = now() + make_interval(secs => p_lease_s), hinted_at = NULL, hints = 0,
           deaths = b.deaths + CASE WHEN b.state = 1 THEN 1 ELSE 0 END
      FROM messages m
     WHERE b.month = p_month AND b.id = p_id AND m.id = b.message_id AND m.state = 2 AND b.provider_id IS NOT NULL
       AND (b.state = 0 AND b.due_at <= now() OR b.state = 1 AND b.lease_until < now())
    RETURNING b.claim, b.message_id, b.provider_id, b.first_target, b.last_target, b.deaths, b.suspect_target, b.lane,
              m.expires_at, b.lane = 'bulk' OR cardinality(m.topic_ids) > 0,
              b.total - b.accepted - b.delivered - b.failed - b.unknown - b.expired - b.cancelled - b.suppressed,
              (SELECT p.xmin::text || p.ctid::text FROM providers p WHERE p.id = b.provider_id)
         INTO o_claim, o_message, o_provider, o_first, o_last, o_deaths, o_suspect, o_lane, o_expires_at, v_bulk, o_open,
              o_account;
    IF o_claim IS NULL THEN RETURN; END IF;
    o_claimed := o_claim = 1 AND o_open <= p_few AND o_provider = ANY(p_ready);
    IF NOT o_claimed THEN
        -- The commit need not wait for the disk: the first claim's does, and it comes after in the log. A lease that a
        -- crash of the server forgets was nobody's, since whoever had it finds its claim outdated.
        PERFORM set_config('synchronous_commit', 'off', true);
        RETURN;
    END IF;
    SELECT * INTO v_window FROM claim_window(p_month, p_id, o_claim, p_lease_s, o_message, o_first - 1, o_last, p_few + 1,
                                             v_bulk, false);
    o_state := v_window.o_state;
    o_may := v_window.o_may;
    o_found := v_window.o_found;
    o_cursor := v_window.o_cursor;
    o_targets := v_window.o_targets;
    o_addresses := v_window.o_addresses;
    o_names := v_window.o_names;
    o_attempts := v_window.o_attempts;
    o_doubts := v_window.o_doubts;
    o_roles := v_window.o_roles;
    o_declined := v_window.o_declined;
    o_declined_codes := v_window.o_declined_codes;
END
$$;

-- Record that claimed rows were accepted, and end the batch where no other is open: what `record_accepted` and
-- `batches.release` do. `o_done` says whether it is ended.
CREATE OR REPLACE FUNCTION finish_batch(
    p_month date, p_id bigint, p_claim int, p_lease_s float8, p_message bigint, p_targets bigint[],
    p_provider_ids text, OUT o_state smallint, OUT o_matched int, OUT o_done boolean
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    SELECT r.o_state, r.o_matched INTO o_state, o_matched
      FROM record_accepted(p_month, p_id, p_claim, p_lease_s, p_message, p_targets, p_provider_ids) r;
    UPDATE batches b SET state = 2, due_at = now(), lease_until = NULL, deaths = 0, hinted_at = NULL, hints = 0,
           waiting_for = NULL
     WHERE b.month = p_month AND b.id = p_id AND b.claim = p_claim AND o_state IS NOT NULL
       AND b.total = b.accepted + b.delivered + b.failed + b.unknown + b.expired + b.cancelled + b.suppressed;
    o_done := FOUND;
END
$$;

-- Enter a task of a producer under its key, and accept its message to a few (`p_small`, as `accept_smalls` takes one)
-- where nothing speaks against it. Each statement sees what others committed before it, so what the lock was waited for
-- is seen. `o_id` is NULL where nothing was accepted; without a project of that name, `o_project` is too.
CREATE OR REPLACE FUNCTION enter_task(
    p_project text, p_key text, p_hash bytea, p_message text, p_days int, p_until timestamptz, p_small jsonb,
    OUT o_project bigint, OUT o_new boolean, OUT o_revoked boolean, OUT o_hash bytea, OUT o_before text,
    OUT o_id bigint, OUT o_created_at timestamptz, OUT o_expires_at timestamptz, OUT o_month date, OUT o_total int,
    OUT o_suppressed int, OUT o_failed int, OUT o_batch_ids bigint[], OUT o_kinds text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT p.id INTO o_project FROM projects p WHERE p.public_id = p_project;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_key, 1));
    INSERT INTO intake_keys (project_id, key, body_sha256, message_public_id, keep_until)
    VALUES (o_project, p_key, p_hash, p_message, greatest(now() + make_interval(days => p_days), p_until))
    ON CONFLICT (project_id, key) DO NOTHING
    RETURNING EXISTS (SELECT 1 FROM revocations r WHERE r.key = p_key) INTO o_revoked;
    o_new := FOUND;
    IF NOT o_new THEN
        SELECT k.body_sha256, k.message_public_id INTO o_hash, o_before
          FROM intake_keys k WHERE k.project_id = o_project AND k.key = p_key;
    ELSIF p_small IS NOT NULL AND NOT o_revoked THEN
        SELECT a.o_id, a.o_created_at, a.o_expires_at, a.o_month, a.o_total, a.o_suppressed, a.o_failed, a.o_batch_ids,
               a.o_kinds
          INTO o_id, o_created_at, o_expires_at, o_month, o_total, o_suppressed, o_failed, o_batch_ids, o_kinds
          FROM accept_smalls(jsonb_build_array(p_small || jsonb_build_object('project', o_project))) a;
    END IF;
END
$$;
