"""What waits: in the queues, in the database, and what was put aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redis import Redis
from sqlalchemy import Connection, Engine, text

from messaging.doctor.finding import Finding, broken, duration, ok, warning
from messaging.doctor.questions import Question, answers
from messaging.doctor.rabbitmq import QueueState
from messaging.status import MessageState
from messaging.store.batches import BatchState

UNREADABLE = "messaging.unreadable"
"""The list our transport keeps for what stood in a queue and is no message."""
_PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""What kombu adds to a queue's name for each step of priority."""
LATE_S, STUCK_S = 60.0, 600.0
"""Work that is due for so long is late; for so long, nobody does it."""
_LONG_QUEUE = 10_000
_M = MessageState


def redis_queue_states(redis: Redis, names: Sequence[str]) -> list[QueueState]:
    """Length of each queue; who reads it, Redis does not tell."""
    with redis.pipeline(transaction=False) as asked:
        for name in names:
            for step in _PRIORITIES:
                asked.llen(name + step)
        lengths = iter(asked.execute())
    return [QueueState(name, sum(next(lengths) for _ in _PRIORITIES), None) for name in names]


def queues(states: Sequence[QueueState]) -> Finding:
    """How many tasks wait, by queue."""
    waiting = [each for each in states if each.waiting]
    found = ", ".join(f"{each.name}: {each.waiting:,}" for each in waiting) or "all empty"
    if any(each.waiting > _LONG_QUEUE for each in waiting):
        return warning("queues", found, "Add workers of that pool, or see below who is missing.")
    return ok("queues", found)


def unreadable(redis: Redis) -> Finding:
    """What stood in a queue and is no message."""
    count = int(redis.llen(UNREADABLE))
    if not count:
        return ok("unreadable tasks", "none")
    return warning(
        "unreadable tasks",
        f"{count:,} kept in the list {UNREADABLE}",
        f"Find out who sends them (LRANGE {UNREADABLE} 0 0), then DEL {UNREADABLE}.",
    )


def examine(engine: Engine) -> Iterator[Finding]:
    """What the database says of work: late, stuck, put aside."""
    questions: Sequence[Question] = (
        due_batches,
        lost_leases,
        overdue_messages,
        waiting_receipts,
        quarantine,
        refusals,
    )
    return answers(engine, questions)


def due_batches(connection: Connection) -> Finding:
    """How long the oldest batch waits that could be sent: of a message under way, over a provider that works."""
    rows = connection.execute(
        text(f"""SELECT b.channel, b.lane, count(*) AS batches,
                        extract(epoch FROM now() - min(b.due_at))::float8 AS late_s
                   FROM batches b
                   JOIN messages m ON m.id = b.message_id AND m.state = {_M.PROCESSING.code}
                   JOIN providers p ON p.id = b.provider_id AND p.enabled
                        AND (p.stopped_at IS NULL OR p.stopped_until <= now())
                  WHERE b.state = {BatchState.WAITING:d} AND b.due_at <= now()
                  GROUP BY 1, 2 ORDER BY late_s DESC""")  # noqa: S608  numbers of our own  # nosec B608
    ).all()
    if not rows:
        return ok("due batches", "none")
    found = ", ".join(
        f"{row.channel} {row.lane}: {row.batches:,}, the oldest for {duration(row.late_s)}" for row in rows
    )
    if rows[0].late_s >= STUCK_S:
        return broken("due batches", found, "Look whether workers of that channel and lane run, and into their logs.")
    if rows[0].late_s >= LATE_S:
        return warning("due batches", found, "Add workers of that channel, or wait: a large message takes its time.")
    return ok("due batches", found)


def lost_leases(connection: Connection) -> Finding:
    """Batches whose worker is gone and that nobody took over."""
    row = connection.execute(
        text(f"""SELECT count(*) AS batches, extract(epoch FROM now() - min(lease_until))::float8 AS late_s
                   FROM batches WHERE state = {BatchState.LEASED:d} AND lease_until < now()""")  # noqa: S608  (as above)  # nosec B608
    ).one()
    if not row.batches:
        return ok("lost leases", "none")
    found = f"{row.batches:,} batches of workers that died, the oldest for {duration(row.late_s)}"
    if row.late_s >= LATE_S:
        return broken("lost leases", found, "Look whether beat and a fanout worker run: the sweep takes them over.")
    return ok("lost leases", found)


def overdue_messages(connection: Connection) -> Finding:
    """Scheduled messages whose time has come and that nobody began."""
    row = connection.execute(
        text(f"""SELECT count(*) AS messages, extract(epoch FROM now() - min(scheduled_at))::float8 AS late_s
                   FROM messages WHERE state = {_M.SCHEDULED.code} AND scheduled_at <= now()
                    AND deleted_at IS NULL""")  # noqa: S608  (as above)  # nosec B608
    ).one()
    if not row.messages or row.late_s < LATE_S:
        return ok("overdue messages", "none")
    return broken(
        "overdue messages",
        f"{row.messages:,}, the oldest for {duration(row.late_s)}",
        "Look whether beat and a fanout worker run: the sweep begins them.",
    )


def waiting_receipts(connection: Connection) -> Finding:
    """Receipts that came and were not applied."""
    row = connection.execute(
        text(
            "SELECT count(*) AS receipts, extract(epoch FROM now() - min(due_at))::float8 AS late_s"
            " FROM receipts WHERE state = 0 AND due_at <= now()"
        )
    ).one()
    if not row.receipts or row.late_s < LATE_S:
        return ok("receipts", f"{row.receipts:,} waiting")
    return warning(
        "receipts",
        f"{row.receipts:,} waiting, the oldest for {duration(row.late_s)}",
        "Look whether a worker reads messaging.receipts (a fanout worker does).",
    )


def quarantine(connection: Connection) -> Finding:
    """What ended its workers."""
    count: int = connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one()
    if not count:
        return ok("quarantine", "empty")
    return warning("quarantine", f"{count:,} put aside", "See `messaging quarantine list`, then replay what is mended.")


def refusals(connection: Connection) -> Finding:
    """Tasks of producers that were refused in the last day."""
    row = connection.execute(
        text(
            "SELECT count(*) AS tasks, (array_agg(reason ORDER BY id DESC))[1] AS last"
            " FROM refusals WHERE created_at > now() - interval '1 day'"
        )
    ).one()
    if not row.tasks:
        return ok("refused tasks", "none in a day")
    return warning("refused tasks", f"{row.tasks:,} in a day, the last: {row.last}", "Mend who sends them.")
