"""How often work was begun that nobody lived to end: a fan-out or an intake task that ends its worker.

Written before the work and deleted after it, however it ends, and only for work that was handed out before: what is
healthy costs nothing. What is left over are deaths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text

from messaging.status import MessageState
from messaging.store.engine import AWAY


def note(connection: Connection, key: str) -> int:
    """How often the work was begun and never ended, this time included. Commit it before the work."""
    return int(
        connection.execute(
            text("""INSERT INTO starts (key) VALUES (:key)
                    ON CONFLICT (key) DO UPDATE SET times = least(starts.times + 1, 1000), started_at = now()
                    RETURNING times"""),
            {"key": key},
        ).scalar_one()
    )


@contextmanager
def ending(engine: Engine, key: str) -> Iterator[None]:
    """Note that the work of this block ends, with success or an error.

    Not where the process is asked to leave in the middle of it (SystemExit): so ends a task that took too long.
    """
    try:
        yield
    except Exception:
        _forget(engine, key)
        raise
    _forget(engine, key)


def _forget(engine: Engine, key: str) -> None:
    """An error of the work itself comes first; a note that stays is a death too many."""
    with suppress(*AWAY), engine.begin() as connection:
        forget(connection, key)


def forget(connection: Connection, key: str) -> None:
    """The work has ended."""
    connection.execute(text("DELETE FROM starts WHERE key = :key"), {"key": key})


# Several workers may be hinted at one fan-out: who comes while another may still be at it starts nothing.
_NOTE_FAN_OUT = text(f"""
WITH suspect AS (
    SELECT CAST(:key AS text) AS key FROM messages
     WHERE id = :id AND state = {MessageState.PROCESSING.code} AND NOT expanded AND (hints > 1 OR :again)
), noted AS (
    INSERT INTO starts (key) SELECT key FROM suspect
    ON CONFLICT (key) DO UPDATE SET times = least(starts.times + 1, 1000), started_at = now()
       WHERE starts.started_at < now() - make_interval(secs => :lease_s)
    RETURNING times
)
SELECT EXISTS (SELECT 1 FROM suspect) AS is_suspect, (SELECT times FROM noted) AS times
""")


def fan_out_key(message_id: int) -> str:
    """The key of a message's fan-out."""
    return f"fan-out:{message_id}"


def note_fan_out(connection: Connection, message_id: int, *, again: bool, lease_s: float) -> int | None:
    """How often a fan-out was begun and never ended, this time included; 0 for one that nothing is known against.

    `again` says that its task was handed out before. None while another worker is at it, or was `lease_s` seconds ago.
    """
    row = connection.execute(
        _NOTE_FAN_OUT, {"key": fan_out_key(message_id), "id": message_id, "again": again, "lease_s": lease_s}
    ).one()
    if not row.is_suspect:
        return 0
    return None if row.times is None else int(row.times)


def forget_old(connection: Connection, *, days: int) -> None:
    """Drop what was begun long ago and never came again."""
    connection.execute(
        text("DELETE FROM starts WHERE started_at < now() - make_interval(days => :days)"), {"days": days}
    )
