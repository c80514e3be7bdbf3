"""The statements of a bulk subscription, in the order in which they run on the temporary table `incoming`.

Look-ups are correlated subqueries: one index probe a row, whatever the statistics say. The project is a column
of `incoming`, not a constant: for a constant that the statistics have not seen yet (a new project's first
import) the planner expects one row, takes any index that begins with the project and reads all of it for every
probe (measured: 250 s instead of 0.2 s for 30,000 rows). Every insert is sorted, so that two bulk subscriptions
of the same people lock in one order.
"""

from __future__ import annotations

# Dropped at commit: behind a transaction pooler the next transaction may have another server connection.
TEMPORARY = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    line bigint, user_id text, name text, identifier text, hash bytea, provider bigint, target_id text,
    new_target_id text, new_subscriber_id text, project bigint,
    "user" bigint, target bigint, owner bigint, channel text, moves boolean, problem text
) ON COMMIT DROP
"""

COPY = (
    "COPY incoming (line, user_id, name, identifier, hash, provider, target_id, new_target_id, new_subscriber_id,"
    " project) FROM STDIN"
)

FIND_NAMED_TARGETS = """
UPDATE incoming i SET (target, channel) = (
    SELECT t.id, t.channel FROM targets t WHERE t.project_id = i.project AND t.public_id = i.target_id)
 WHERE i.target_id IS NOT NULL
"""

REFUSE_MISSING_TARGETS = """
UPDATE incoming SET problem = 'Invalid `target_id`: there is no such target'
 WHERE target_id IS NOT NULL AND target IS NULL
"""

FIND_TARGETS = """
UPDATE incoming i SET (target, channel, owner) = (
    SELECT t.id, t.channel, t.user_id FROM targets t
     WHERE t.project_id = i.project AND t.channel = :channel
       AND coalesce(t.provider_id, 0) = coalesce(i.provider, 0) AND t.identifier = i.identifier)
 WHERE i.identifier IS NOT NULL AND i.target IS NULL AND i.problem IS NULL
"""

FIND_USERS = """
UPDATE incoming i SET "user" = (
    SELECT u.id FROM users u WHERE u.project_id = i.project AND u.public_id = i.user_id)
 WHERE i.user_id IS NOT NULL AND i."user" IS NULL AND i.problem IS NULL
"""

# An email address or a phone number is a person's: a list must not take it from one user for another.
# (Where the same address stands twice in one list, the first line has it.)
REFUSE_ANOTHER_USERS = """
UPDATE incoming SET problem = 'Invalid `user_id`: the address belongs to another user'
 WHERE user_id IS NOT NULL AND identifier IS NOT NULL AND problem IS NULL
   AND owner IS NOT NULL AND owner IS DISTINCT FROM "user"
"""


def new_users(column: str | None) -> str:
    """Users that are missing, and what an existing one lacks (`column`: email, phone, or None for push)."""
    named, value, lacks, keep = "", "", "", ""
    if column is not None:
        named, value = f", {column}", ", i.identifier"
        lacks = f" OR users.{column} IS NULL"
        keep = f", {column} = coalesce(users.{column}, excluded.{column})"
    return f"""
INSERT INTO users (project_id, public_id, name{named})
SELECT DISTINCT ON (i.user_id) :project, i.user_id, i.name{value} FROM incoming i
 WHERE i.user_id IS NOT NULL AND i.problem IS NULL AND i.identifier IS NOT NULL ORDER BY i.user_id, i.line
ON CONFLICT (project_id, public_id) DO UPDATE
   SET name = CASE WHEN users.name = '' THEN excluded.name ELSE users.name END{keep}, updated_at = now()
 WHERE (users.name = '' AND excluded.name <> ''){lacks}
"""


# In order of their hash: the same for every import, yet neighbours in a file (dead tokens, say) end up apart.
NEW_TARGETS = """
INSERT INTO targets (project_id, user_id, provider_id, public_id, channel, identifier, name, address_hash)
SELECT :project, n."user", n.provider, n.new_target_id, :channel, n.identifier, '', n.hash
  FROM (SELECT DISTINCT ON (i.identifier, i.provider) i.* FROM incoming i
         WHERE i.problem IS NULL AND i.identifier IS NOT NULL AND i.target IS NULL
         ORDER BY i.identifier, i.provider, (i."user" IS NULL), i.line) n
 ORDER BY n.hash, n.provider
ON CONFLICT (project_id, channel, coalesce(provider_id, 0), identifier) DO NOTHING
"""

MARK_MOVES = """
UPDATE incoming i SET moves = true
 WHERE i."user" IS NOT NULL AND i.target IS NOT NULL AND i.identifier IS NOT NULL AND i.problem IS NULL
   AND i.owner IS DISTINCT FROM i."user"
"""

_MOVING = """
  (SELECT DISTINCT ON (target) target, "user" FROM incoming
    WHERE moves AND problem IS NULL ORDER BY target, line DESC) i
"""

# A device that signs in to another account takes its token along, and leaves the other account's topics.
LEAVE_TOPICS = f"""
DELETE FROM subscribers s USING targets t, {_MOVING}
 WHERE t.id = i.target AND t.user_id IS NOT NULL AND t.user_id <> i."user" AND s.target_id = t.id
"""

MOVE_TARGETS = f"""
UPDATE targets t SET user_id = i."user", registered_at = now(), dead_at = NULL, dead_provider_id = NULL,
       expired_at = NULL, updated_at = now()
  FROM {_MOVING} WHERE t.id = i.target AND t.user_id IS DISTINCT FROM i."user"
"""

SUBSCRIBE = """
WITH created AS (
    INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
    SELECT DISTINCT ON (i.target) :project, :topic, i.target, i.channel, i.new_subscriber_id FROM incoming i
     WHERE i.problem IS NULL ORDER BY i.target, i.line
    ON CONFLICT (topic_id, channel, target_id) DO NOTHING
    RETURNING 1)
SELECT count(*) FROM created
"""

REFUSED = "SELECT line, problem FROM incoming WHERE problem IS NOT NULL ORDER BY line"
