-- What a worker does once per window of a batch, each in one call: hold the batch, claim rows, record what was accepted.
--
-- A function keeps its plans for as long as its connection lives, behind a transaction pooler too. Planned anew for each
-- window, these statements cost PostgreSQL more than running them. The plans are lookups by key whatever the statistics
-- say (`batches.look_up` says why), and generic: a partition that has no statistics yet is not planned anew for each of
-- its first calls. Where `o_state` is NULL the lease is lost, and nothing was written.
CREATE OR REPLACE FUNCTION hold_batch(
    p_month date, p_id bigint, p_claim int, p_lease_s float8,
    OUT o_state smallint, OUT o_expired boolean, OUT o_is_down boolean
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    UPDATE batches b SET lease_until = now() + make_interval(secs => p_lease_s)
      FROM messages m
     WHERE b.month = p_month AND b.id = p_id AND b.claim = p_claim AND b.state = 1 AND b.lease_until > now()
       AND m.id = b.message_id
    RETURNING m.state, m.expires_at <= now(),
              (SELECT p.stopped_at IS NOT NULL FROM providers p WHERE p.id = b.provider_id)
         INTO o_state, o_expired, o_is_down;
END
$$;

-- Claim up to `p_window` due rows after target `p_after`. Of those that are gone, dead or suppressed meanwhile it says
-- why in `o_declined_codes`, and leaves them to the caller.
CREATE OR REPLACE FUNCTION claim_window(
    p_month date, p_id bigint, p_claim int, p_lease_s float8, p_message bigint, p_after bigint, p_last bigint,
    p_window int, p_bulk boolean, p_on_trial boolean,
    OUT o_state smallint, OUT o_may boolean, OUT o_found int, OUT o_cursor bigint,
    OUT o_targets bigint[], OUT o_addresses text[], OUT o_names text[], OUT o_attempts int[], OUT o_doubts int[],
    OUT o_roles int[], OUT o_declined bigint[], OUT o_declined_codes text[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    v_held record;
    v_suppresses boolean;
BEGIN
    SELECT * INTO v_held FROM hold_batch(p_month, p_id, p_claim, p_lease_s);
    o_state := v_held.o_state;
    o_may := o_state = 2 AND NOT v_held.o_expired AND (p_on_trial OR NOT coalesce(v_held.o_is_down, false));
    IF o_may IS NOT TRUE THEN RETURN; END IF;
    -- Most projects suppress nobody on most channels: asked once here, and not for each row.
    SELECT EXISTS (SELECT 1 FROM suppressions x WHERE x.project_id = m.project_id AND x.channel = m.channel)
      INTO v_suppresses FROM messages m WHERE m.id = p_message;

    -- The lookups are LATERAL with OFFSET 0 and the update is by array: neither leaves a join to get wrong. What is sorted
    -- once below is not sorted by each aggregate.
    SELECT count(*), max(c.target_id),
           array_agg(c.target_id) FILTER (WHERE c.code IS NULL),
           array_agg(c.identifier) FILTER (WHERE c.code IS NULL),
           array_agg(c.name) FILTER (WHERE c.code IS NULL),
           array_agg(c.attempts + 1) FILTER (WHERE c.code IS NULL),
           array_agg(c.doubts::int) FILTER (WHERE c.code IS NULL),
           array_agg(c.role::int) FILTER (WHERE c.code IS NULL),
           array_agg(c.target_id) FILTER (WHERE c.code IS NOT NULL),
           array_agg(c.code) FILTER (WHERE c.code IS NOT NULL)
      INTO o_found, o_cursor, o_targets, o_addresses, o_names, o_attempts, o_doubts, o_roles, o_declined,
           o_declined_codes
      FROM (SELECT d.target_id, d.attempts, d.doubts, d.role, t.identifier, t.name,
                   CASE WHEN t.id IS NULL THEN 'target_deleted'
                        WHEN t.expired_at IS NOT NULL OR t.dead_at IS NOT NULL THEN 'target_expired'
                        WHEN x.scope IS NOT NULL THEN 'suppressed' END AS code
              FROM (SELECT d.target_id, d.attempts, d.doubts, d.role FROM deliveries d
                     WHERE d.month = p_month AND d.message_id = p_message AND d.target_id > p_after
                       AND d.target_id <= p_last AND d.batch_id = p_id
                       AND (d.status = 0 OR d.status = 2 AND d.due_at <= now())
                     ORDER BY d.target_id LIMIT p_window) d
              LEFT JOIN LATERAL (SELECT * FROM targets t WHERE t.id = d.target_id OFFSET 0) t ON true
              LEFT JOIN LATERAL (SELECT x.scope FROM suppressions x
                                  WHERE v_suppresses AND x.project_id = t.project_id AND x.channel = t.channel
                                    AND x.address_hash = t.address_hash
                                    AND (x.scope = 'everything' OR p_bulk) OFFSET 0) x ON true ORDER BY d.target_id) c;
    IF o_targets IS NOT NULL THEN
        UPDATE deliveries d SET status = 1, claim = p_claim, attempts = d.attempts + 1, updated_at = now(),
               due_at = NULL, error_code = NULL, error = NULL
         WHERE d.month = p_month AND d.message_id = p_message AND d.target_id = ANY(o_targets);
    END IF;
END
$$;

-- Record that claimed rows were accepted, and count them. `p_targets` ascend; `p_provider_ids` has the provider's ids in
-- their order, joined by the unit separator (empty: it has none), or is NULL. A split array, found in by a binary search,
-- costs less than JSON does.
CREATE OR REPLACE FUNCTION record_accepted(
    p_month date, p_id bigint, p_claim int, p_lease_s float8, p_message bigint, p_targets bigint[],
    p_provider_ids text, OUT o_state smallint, OUT o_matched int
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    v_provider_ids text[] := string_to_array(p_provider_ids, E'\x1f', '');
BEGIN
    o_matched := 0;
    SELECT h.o_state INTO o_state FROM hold_batch(p_month, p_id, p_claim, p_lease_s) h;
    IF o_state IS NULL OR cardinality(p_targets) = 0 THEN RETURN; END IF;
    UPDATE deliveries d SET status = 3, updated_at = now(), due_at = NULL, accepted_at = now(),
           error_code = NULL, error = NULL, provider_message_id = v_provider_ids[width_bucket(d.target_id, p_targets)]
     WHERE d.month = p_month AND d.message_id = p_message AND d.target_id = ANY(p_targets)
       AND d.batch_id = p_id AND d.status = 1 AND d.claim = p_claim;
    GET DIAGNOSTICS o_matched = ROW_COUNT;
    UPDATE batches b SET accepted = b.accepted + o_matched, updated_at = now() WHERE b.month = p_month AND b.id = p_id;
END
$$;
