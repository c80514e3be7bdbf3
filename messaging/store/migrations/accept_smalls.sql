-- Accept messages to a few users and targets, all of them in one statement: what `producer.accept` does one by one.
--
-- A function keeps its plan for as long as its connection lives, behind a transaction pooler too, where prepared
-- statements do not work. Starting a statement costs more than what it does for one message, so there is one for all.
-- A message that is not so simple (somebody is missing, nobody can be reached, no provider, the id is taken, the
-- audience is not small) has no row in the answer, and nothing of it was written: the general way says what is wrong.
-- No two of one call have the same id. What is looked up per message stands in subqueries of its own row, so that no
-- plan can turn it into reading a table.
CREATE OR REPLACE FUNCTION accept_smalls(
    p_messages jsonb,
    OUT place int, OUT o_id bigint, OUT o_created_at timestamptz, OUT o_expires_at timestamptz, OUT o_month date,
    OUT o_total int, OUT o_suppressed int, OUT o_failed int, OUT o_batch_ids bigint[], OUT o_kinds text[]
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT s.*,
               ARRAY(SELECT u.id FROM users u
                      WHERE u.project_id = s.project AND u.public_id = ANY(s.users)) AS user_ids,
               ARRAY(SELECT t.id FROM targets t
                      WHERE t.project_id = s.project AND t.public_id = ANY(s.targets)
                        AND t.channel = s.channel) AS target_ids,
               -- who can serve a target that names no provider: the first that works, by weight among its equals
               -- (`routes.py`)
               (SELECT p.id FROM providers p
                 WHERE p.project_id = s.project AND p.channel = s.channel AND p.enabled
                 ORDER BY p.stopped_at IS NOT NULL, p.priority,
                          CASE WHEN s.channel <> 'push' AND p.weight > 0 THEN -ln(1 - random()) / p.weight
                               ELSE 'Infinity' END, p.id
                 LIMIT 1) AS first_provider
          FROM jsonb_to_recordset(p_messages) AS s(
                   place int, project bigint, public_id text, channel text, lane text, content jsonb, named jsonb,
                   users text[], targets text[], on_unknown text, expires_at timestamptz, expires_in_s float8, most int,
                   traceparent text)
    ),
    -- each target once, in target order, with the provider that serves it (0: nobody) and its first status
    resolved AS MATERIALIZED (
        SELECT a.*, x.ids, x.providers, x.statuses
          FROM asked a, LATERAL (
              SELECT array_agg(r.id ORDER BY r.id) AS ids, array_agg(r.provider ORDER BY r.id) AS providers,
                     array_agg(CASE WHEN r.is_suppressed THEN 9 WHEN r.provider = 0 THEN 5 ELSE 0 END::smallint
                               ORDER BY r.id) AS statuses
                FROM (SELECT t.id,
                             CASE WHEN t.provider_id IS NULL THEN a.first_provider
                                  ELSE coalesce(
                                      (SELECT o.id FROM providers o WHERE o.id = t.provider_id AND o.enabled),
                                      (SELECT o.id FROM providers o, providers own
                                        WHERE own.id = t.provider_id AND o.project_id = a.project
                                          AND o.channel = a.channel AND o.enabled
                                          AND (a.channel <> 'push' OR o.kind = own.kind)
                                        ORDER BY o.stopped_at IS NOT NULL, o.priority, o.id LIMIT 1),
                                      0) END AS provider,
                             EXISTS (SELECT 1 FROM suppressions s WHERE s.project_id = a.project
                                        AND s.channel = a.channel AND s.address_hash = t.address_hash
                                        AND (s.scope = 'everything' OR a.lane = 'bulk')) AS is_suppressed
                        FROM (SELECT n.id, n.provider_id, n.address_hash, n.dead_at, n.expired_at FROM targets n
                               WHERE n.user_id = ANY(a.user_ids) AND n.channel = a.channel
                              UNION SELECT n.id, n.provider_id, n.address_hash, n.dead_at, n.expired_at FROM targets n
                               WHERE n.id = ANY(a.target_ids)) t
                       WHERE t.dead_at IS NULL AND t.expired_at IS NULL
                       LIMIT a.most) r) x
         WHERE cardinality(a.user_ids) = cardinality(a.users) AND cardinality(a.target_ids) = cardinality(a.targets)
           AND a.first_provider IS NOT NULL AND cardinality(x.ids) < a.most
    ),
    inserted AS (
        INSERT INTO messages AS m (project_id, public_id, channel, lane, state, content, audience, user_ids, target_ids,
                                   on_unknown, expires_at, hinted_at, hints, expanded, month, mark, cursor, started_at,
                                   traceparent)
        SELECT r.project, r.public_id, r.channel, r.lane, 2, r.content, r.named, r.user_ids, r.target_ids, r.on_unknown,
               coalesce(r.expires_at, now() + make_interval(secs => r.expires_in_s)), now(), 1, true,
               date_trunc('month', now() AT TIME ZONE 'UTC')::date, (SELECT last_value FROM subscribers_id_seq),
               r.ids[cardinality(r.ids)], now(), r.traceparent
          FROM resolved r
        ON CONFLICT (project_id, public_id) DO NOTHING
        RETURNING m.id, m.project_id, m.public_id, m.created_at, m.expires_at, m.month
    ),
    grouped AS MATERIALIZED (
        SELECT r.place, r.channel, r.lane, i.id AS message, i.created_at, i.expires_at, i.month, g.*,
               nextval('batch_ids') AS batch, (SELECT p.kind FROM providers p WHERE p.id = g.provider) AS kind
          FROM inserted i JOIN resolved r ON r.project = i.project_id AND r.public_id = i.public_id,
               LATERAL (SELECT d.provider, min(d.id) AS first, max(d.id) AS last, count(*)::int AS total,
                               (count(*) FILTER (WHERE d.status = 9))::int AS suppressed,
                               (count(*) FILTER (WHERE d.status = 5))::int AS failed,
                               array_agg(d.id ORDER BY d.id) AS ids, array_agg(d.status ORDER BY d.id) AS statuses
                          FROM unnest(r.ids, r.providers, r.statuses) AS d(id, provider, status)
                         GROUP BY d.provider) g
    ),
    batched AS (
        INSERT INTO batches (month, id, message_id, provider_id, channel, lane, state, first_target, last_target, total,
                             suppressed, failed, hinted_at, hints)
        SELECT g.month, g.batch, g.message, nullif(g.provider, 0), g.channel, g.lane,
               CASE WHEN g.suppressed + g.failed = g.total THEN 2 ELSE 0 END, g.first, g.last, g.total, g.suppressed,
               g.failed, now(), 1
          FROM grouped g
    ),
    delivered AS (
        INSERT INTO deliveries (month, message_id, target_id, batch_id, status, error_code, error)
        SELECT g.month, g.message, d.id, g.batch, d.status,
               CASE d.status WHEN 5 THEN 'no_enabled_provider' WHEN 9 THEN 'suppressed' END,
               CASE d.status WHEN 5 THEN 'The provider this target belongs to is not enabled.'
                             WHEN 9 THEN 'The address is on the suppression list.' END
          FROM grouped g, unnest(g.ids, g.statuses) AS d(id, status)
    )
    SELECT g.place, g.message, g.created_at, g.expires_at, g.month, sum(g.total)::int, sum(g.suppressed)::int,
           sum(g.failed)::int,
           coalesce(array_agg(g.batch ORDER BY g.first) FILTER (WHERE g.suppressed + g.failed < g.total), '{}'),
           coalesce(array_agg(g.kind ORDER BY g.first) FILTER (WHERE g.suppressed + g.failed < g.total), '{}')
      FROM grouped g
     GROUP BY g.place, g.message, g.created_at, g.expires_at, g.month;
END
$$;
