"""Three things Celery and kombu do that we can't have, changed where they happen.

* kombu 5.7 with redis-py 8 dies of an AttributeError when the broker restarts: a channel is closed after its
  connection was collected. `Transport` raises the connection error that its caller recovers from.
* A task's `eta` is held in a worker's memory, its `expires` throws it away, and an unreadable one is lost.
  `strategy` takes both off a producer's task before Celery looks, so that it runs at once and can be recorded.
* A body that is no task ends the worker (celery 5.7, worker/strategy.py reads it unguarded), is restored, and ends
  the next one; a missing id counts as a lost connection. `strategy` puts an empty task with the reason in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu.transport.redis
from celery.worker import strategy as celery_strategy
from redis.exceptions import ConnectionError as RedisConnectionError

ETA_HEADER = "messaging_eta"
EXPIRES_HEADER = "messaging_expires"
UNREADABLE_HEADER = "messaging_unreadable"

_EMPTY = b"[[], {}, {}]"


class Channel(kombu.transport.redis.Channel):
    """A Redis channel that can be closed after its connection is gone."""

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  kombu's signature
        connection: Any = self.connection
        if connection is None or connection.client is None:
            raise RedisConnectionError("The connection to the broker was closed.")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # private, not in the stubs


class Transport(kombu.transport.redis.Transport):
    """The Redis transport with that channel."""

    Channel = Channel


def strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:  # noqa: ANN401  Celery has no types here
    """Celery's own strategy, handed messages whose `eta` and `expires` have moved to headers of ours."""
    handle = celery_strategy.default(task, app, consumer, **options)

    def handle_message(message: Any, body: Any, *rest: Any, **more: Any) -> Any:  # noqa: ANN401
        headers = message.headers
        if not isinstance(headers.get("id"), str) or not headers["id"]:
            headers["id"] = str(message.delivery_tag)  # the same when it is handed out again
        reason = None if body is not None else _unreadable(message)
        if reason is not None:
            headers[UNREADABLE_HEADER] = reason
            message.body, message.content_type, message.content_encoding = _EMPTY, "application/json", "utf-8"
            message._decoded_cache = None  # noqa: SLF001  what `payload` would answer again
        for theirs, ours in (("eta", ETA_HEADER), ("expires", EXPIRES_HEADER)):
            value = headers.get(theirs)
            if value is not None:
                headers[ours] = value if isinstance(value, str) else repr(value)
                headers[theirs] = None
        return handle(message, body, *rest, **more)

    return handle_message


def _unreadable(message: Any) -> str | None:  # noqa: ANN401
    """Why the body is no task (https://docs.celeryq.dev/en/stable/internals/protocol.html), or None if it is one."""
    try:
        payload = message.payload
        if isinstance(payload, dict) and "args" in payload:
            return None  # version 1
        args, kwargs, embed = payload
    except Exception as error:  # noqa: BLE001  whatever a decoder raises; its text would repeat the body
        return f"can't be read as a task ({type(error).__name__})"
    if isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embed, dict | None):
        return None
    return "can't be read as a task: it is not [args, kwargs, embed]"
