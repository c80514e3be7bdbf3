"""The database engine: one per process, opened after any fork."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import InvalidatePoolError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from messaging.settings import Settings


def open_engine(settings: Settings, *, role: str, pool_size: int = 5) -> Engine:
    """An engine whose connections name `role` in pg_stat_activity and work behind a transaction pooler.

    Server-side prepared statements are off: a transaction pooler hands each transaction another server
    connection, which does not have them.
    """
    engine = create_engine(
        settings.sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=30,
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": 5,
            "application_name": f"messaging {role}",
        },
    )
    event.listen(engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(driver: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401  psycopg's connection
    """Let the pool open a new connection in place of one the server has closed.

    Nobody speaks on an idle connection, so one that has something to read has come to its end. Looking costs a system
    call; asking the server (`pool_pre_ping`) costs a round trip per transaction.
    """
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if poll.poll(0):
        raise InvalidatePoolError("The server closed the connection.")
