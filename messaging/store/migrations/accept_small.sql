-- Accept a message to a few users and targets in one call: what `producer.accept` does statement by statement.
--
-- A function keeps its plans for as long as its connection lives, behind a transaction pooler too, where prepared
-- statements do not work. NULL means "not so simple" (somebody is missing, nobody can be reached, no provider, the id is
-- taken, the audience is not small): then nothing was written, and the general way says what is wrong.
CREATE OR REPLACE FUNCTION accept_small(
    p_project bigint, p_public_id text, p_channel text, p_lane text, p_content jsonb, p_named jsonb,
    p_users text[], p_targets text[], p_on_unknown text, p_expires_at timestamptz, p_expires_in_s float8, p_most int,
    OUT o_id bigint, OUT o_created_at timestamptz, OUT o_expires_at timestamptz, OUT o_month date, OUT o_total int,
    OUT o_suppressed int, OUT o_failed int, OUT o_batch_ids bigint[], OUT o_kinds text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_users bigint[];
    v_targets bigint[];
    v_ids bigint[];
    v_providers bigint[];
    v_statuses smallint[];
    v_hinted bigint[];
    v_first bigint;
    v_group record;
BEGIN
    IF cardinality(p_users) > 0 THEN
        SELECT array_agg(u.id) INTO v_users FROM users u
         WHERE u.project_id = p_project AND u.public_id = ANY(p_users);
        IF coalesce(cardinality(v_users), 0) < cardinality(p_users) THEN RETURN; END IF;
    END IF;
    IF cardinality(p_targets) > 0 THEN
        SELECT array_agg(t.id) INTO v_targets FROM targets t
         WHERE t.project_id = p_project AND t.public_id = ANY(p_targets) AND t.channel = p_channel;
        IF coalesce(cardinality(v_targets), 0) < cardinality(p_targets) THEN RETURN; END IF;
    END IF;

    -- who can serve a target that names no provider: the first that works, by weight among its equals (`routes.py`)
    SELECT p.id INTO v_first FROM providers p
     WHERE p.project_id = p_project AND p.channel = p_channel AND p.enabled
     ORDER BY p.stopped_at IS NOT NULL, p.priority,
              CASE WHEN p_channel <> 'push' AND p.weight > 0 THEN -ln(1 - random()) / p.weight ELSE 'Infinity' END, p.id
     LIMIT 1;
    IF v_first IS NULL THEN RETURN; END IF;

    -- each target once, in target order, with the provider that serves it (0: nobody) and its first status
    SELECT array_agg(x.id ORDER BY x.id), array_agg(x.provider ORDER BY x.id), array_agg(x.status ORDER BY x.id)
      INTO v_ids, v_providers, v_statuses
      FROM (SELECT r.id, r.provider,
                   CASE WHEN r.is_suppressed THEN 9 WHEN r.provider = 0 THEN 5 ELSE 0 END::smallint AS status
              FROM (SELECT t.id,
                           CASE WHEN t.provider_id IS NULL THEN v_first
                                ELSE coalesce(
                                    (SELECT o.id FROM providers o WHERE o.id = t.provider_id AND o.enabled),
                                    (SELECT o.id FROM providers o, providers own
                                      WHERE own.id = t.provider_id AND o.project_id = p_project
                                        AND o.channel = p_channel AND o.enabled
                                        AND (p_channel <> 'push' OR o.kind = own.kind)
                                      ORDER BY o.stopped_at IS NOT NULL, o.priority, o.id LIMIT 1),
                                    0) END AS provider,
                           EXISTS (SELECT 1 FROM suppressions s WHERE s.project_id = p_project
                                      AND s.channel = p_channel AND s.address_hash = t.address_hash
                                      AND (s.scope = 'everything' OR p_lane = 'bulk')) AS is_suppressed
                      FROM (SELECT n.* FROM targets n
                             WHERE n.user_id = ANY(v_users) AND n.channel = p_channel
                            UNION SELECT n.* FROM targets n WHERE n.id = ANY(v_targets)) t
                     WHERE t.dead_at IS NULL AND t.expired_at IS NULL
                     LIMIT p_most) r) x;
    o_total := coalesce(cardinality(v_ids), 0);
    IF o_total = 0 OR o_total >= p_most THEN RETURN; END IF;

    INSERT INTO messages AS m (project_id, public_id, channel, lane, state, content, audience, user_ids, target_ids,
                               on_unknown, expires_at, hinted_at, hints, expanded, month, mark, cursor, started_at)
    VALUES (p_project, p_public_id, p_channel, p_lane, 2, p_content, p_named, coalesce(v_users, '{}'),
            coalesce(v_targets, '{}'), p_on_unknown,
            coalesce(p_expires_at, now() + make_interval(secs => p_expires_in_s)), now(), 1, true,
            date_trunc('month', now() AT TIME ZONE 'UTC')::date, (SELECT last_value FROM subscribers_id_seq),
            v_ids[o_total], now())
    ON CONFLICT (project_id, public_id) DO NOTHING
    RETURNING m.id, m.created_at, m.expires_at, m.month INTO o_id, o_created_at, o_expires_at, o_month;
    IF o_id IS NULL THEN RETURN; END IF;

    o_suppressed := 0;
    o_failed := 0;
    o_batch_ids := '{}';
    o_kinds := '{}';
    FOR v_group IN
        SELECT d.provider, nextval('batch_ids') AS batch, min(d.id) AS first, max(d.id) AS last, count(*)::int AS total,
               (count(*) FILTER (WHERE d.status = 9))::int AS suppressed,
               (count(*) FILTER (WHERE d.status = 5))::int AS failed, array_agg(d.id ORDER BY d.id) AS ids,
               array_agg(d.status ORDER BY d.id) AS statuses,
               (SELECT p.kind FROM providers p WHERE p.id = d.provider) AS kind
          FROM unnest(v_ids, v_providers, v_statuses) AS d(id, provider, status)
         GROUP BY d.provider ORDER BY min(d.id)
    LOOP
        INSERT INTO batches (month, id, message_id, provider_id, channel, lane, state, first_target, last_target, total,
                             suppressed, failed, hinted_at, hints)
        VALUES (o_month, v_group.batch, o_id, nullif(v_group.provider, 0), p_channel, p_lane,
                CASE WHEN v_group.suppressed + v_group.failed = v_group.total THEN 2 ELSE 0 END, v_group.first,
                v_group.last, v_group.total, v_group.suppressed, v_group.failed, now(), 1);
        INSERT INTO deliveries (month, message_id, target_id, batch_id, status, error_code, error)
        SELECT o_month, o_id, d.id, v_group.batch, d.status,
               CASE d.status WHEN 5 THEN 'no_enabled_provider' WHEN 9 THEN 'suppressed' END,
               CASE d.status WHEN 5 THEN 'The provider this target belongs to is not enabled.'
                             WHEN 9 THEN 'The address is on the suppression list.' END
          FROM unnest(v_group.ids, v_group.statuses) AS d(id, status);
        o_suppressed := o_suppressed + v_group.suppressed;
        o_failed := o_failed + v_group.failed;
        IF v_group.suppressed + v_group.failed < v_group.total THEN
            o_batch_ids := o_batch_ids || v_group.batch;
            o_kinds := o_kinds || v_group.kind;
        END IF;
    END LOOP;
END
$$;
