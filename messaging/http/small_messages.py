"""Messages to a few, committed together: those that come at the same time share a statement, a commit and a thread.

Only what the API knows by heart (a key seen a moment ago, the rules of the parameters) is checked beforehand, in the
event loop. What is not so simple goes the ordinary way, which has an answer for everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from messaging.http import idempotency
from messaging.http.json_text import dumps
from messaging.http.operations import Answer
from messaging.http.render_message import rendered_message
from messaging.http.together import Together
from messaging.producer import Accepted, accept_together

if TYPE_CHECKING:
    from messaging.http.asked import Asked
    from messaging.http.operations import Operation
    from messaging.http.outbox import Outbox
    from messaging.store.accept_small import Small

GROUPS = 2
"""Under way at once: one is written while the next is read and checked."""
_MOST = 50
"""Messages of a group: a few milliseconds of PostgreSQL's time, and what one failure sends the long way."""
_LARGEST_BODY_BYTES = 16 * 1024
"""Larger ones are checked in a thread, so that the event loop is not kept from everyone else."""

_log = structlog.get_logger(__name__)


def may_go_together(operation: Operation, request: Asked) -> bool:
    """Whether a request is one of those that may share a commit. An Idempotency-Key needs a transaction of its own."""
    if operation.small is None or operation.limits or idempotency.HEADER in request.headers:
        return False
    size = request.headers.get("content-length", "")
    return size.isascii() and size.isdigit() and int(size) <= _LARGEST_BODY_BYTES


def opened(engine: Engine, outbox: Outbox) -> Together[Small, Answer | None]:
    """Where messages wait for each other; None stands for one that must go the ordinary way, nothing of it written."""

    def accept(smalls: Sequence[Small]) -> Sequence[Answer | Exception | None]:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                accepted = accept_together(connection, smalls)
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                # one of them met a lock or an error, and all were undone: each finds out for itself
                _log.info("Messages go one by one.", messages=len(smalls), reason=type(error.orig).__name__)
                return [None] * len(smalls)
            outbox.leave([hint for each in accepted if each is not None for hint in each.hints])
            return [None if each is None else _answer_or_error(connection, each) for each in accepted]

    return Together(accept, most=_MOST, at_once=GROUPS)


def answer(connection: Connection, accepted: Accepted) -> Answer:
    """What the sender of an accepted message is told."""
    if accepted.view is None:
        raise ValueError(f"'{accepted.public_id}' was accepted before; look it up")
    return Answer(content=dumps(rendered_message(connection, accepted.view)))


def _answer_or_error(connection: Connection, accepted: Accepted) -> Answer | Exception:
    try:
        return answer(connection, accepted)
    except Exception as error:  # noqa: BLE001  one that can't be shown keeps nobody else from an answer
        return error
