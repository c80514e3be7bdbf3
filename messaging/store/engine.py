"""The database engine: one per process, opened after any fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from messaging.settings import Settings


def open_engine(settings: Settings, *, role: str, pool_size: int = 5) -> Engine:
    """An engine whose connections name `role` in pg_stat_activity and work behind a transaction pooler.

    Server-side prepared statements are off: a transaction pooler hands each transaction another server
    connection, which does not have them.
    """
    return create_engine(
        settings.sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=30,
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": 5,
            "application_name": f"messaging {role}",
        },
    )
