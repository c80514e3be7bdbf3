"""Asking the database for its time, so that `messaging.clock` follows it."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event, text

from messaging.clock import Clock, clock

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# The standard library's logging: producers' own processes come here too, and structlog would print on their stdout.
_log = logging.getLogger(__name__)

ASK_EVERY_S = 30.0
FAR_OFF_S = 5.0
"""From then on an operator should know: a machine's clock that far off is not being set."""


def follow(engine: Engine, *, following: Clock = clock) -> None:
    """Let the clock follow the database of `engine`: asked as a connection is taken, every half minute at most."""
    told = False

    def hear(driver: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401  psycopg's connection
        nonlocal told
        if following.age_s() < ASK_EVERY_S:
            return
        try:
            asked_s = time.monotonic()
            row = driver.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            ahead_s = following.hear(row[0], asked_s=asked_s)
            driver.rollback()  # as it was: outside any transaction
        except psycopg.Error:
            return  # what the caller asks next will say so, and is prepared for it
        if abs(ahead_s) > FAR_OFF_S and not told:
            told = True
            _log.warning("This machine's clock is %.1f s ahead of the database's, which is followed.", ahead_s)

    event.listen(engine, "checkout", hear)


def ask(connection: Connection) -> datetime:
    """What the database's clock says."""
    said: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return said.astimezone(UTC)
