"""The database engine: one per process, opened after any fork."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction, TransactionTimeout
from sqlalchemy import create_engine, event
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from messaging.store import clock

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

    from messaging.settings import Settings

AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
"""The database can't do it now, and may a moment later: nothing was committed, so whoever asked tries again.

It is away or starting, has no connection or no disk left, was asked to stop, took too long, or chose us as the victim
of a deadlock (classes 08, 40, 53, 55, 57 and 58 of https://www.postgresql.org/docs/18/errcodes-appendix.html are
`OperationalError`s of psycopg), or every connection of this process is taken.
"""


def open_engine(settings: Settings, *, role: str, pool_size: int = 5) -> Engine:
    """An engine whose connections name `role` in pg_stat_activity and work behind a transaction pooler.

    Server-side prepared statements are off: a transaction pooler hands each transaction another server
    connection, which does not have them.
    """
    engine = create_engine(
        settings.sqlalchemy_url,
        hide_parameters=True,  # an error's text would repeat addresses and credentials
        pool_size=pool_size,
        pool_use_lifo=True,  # the connection used last: its server process has everything at hand
        max_overflow=pool_size,
        pool_timeout=30,
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": 5,
            "application_name": f"messaging {role}",
            # a server that is gone without a word is noticed after a minute; by default after two hours
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,  # milliseconds
        },
    )
    event.listen(engine, "checkout", _refuse_closed)
    event.listen(engine, "handle_error", _find_the_primary)
    clock.follow(engine)
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


def _find_the_primary(context: ExceptionContext) -> OperationalError | None:
    """A server that takes no writes any more (fail-over), or closed the session, is as good as away: connect anew.

    psycopg calls both an `InternalError`, by their class in SQL, as it calls a damaged index.
    """
    error = context.original_exception
    if not isinstance(error, (ReadOnlySqlTransaction, IdleInTransactionSessionTimeout, TransactionTimeout)):
        return None
    context.is_disconnect = True
    return OperationalError(
        context.statement, None, error, hide_parameters=True, connection_invalidated=True, ismulti=None
    )
