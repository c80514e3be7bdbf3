"""A producer as other teams have it: Celery and a broker's address. Nothing of ours is imported here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty
from typing import Any

from celery import Celery
from kombu import Connection

PUSH = "messaging.send_push"
EMAIL = "messaging.send_email"
SMS = "messaging.send_sms"
CANCEL = "messaging.cancel"
QUEUE = "messaging"
OWN_QUEUE = "shop"
"""The producer's own queue, which nobody but its own workers reads."""


@contextmanager
def producer(broker_url: str, *, results: str | None = None) -> Iterator[Celery]:
    """An application with its own name, a broker and perhaps a result backend."""
    app = Celery("shop", broker=broker_url, backend=results, set_as_current=False)
    # kombu's pools belong to the process, by address and options: this one is nobody else's
    app.conf.broker_transport_options = {"producer": secrets.token_hex(4)}
    # the default gives up after a second; a producer's own code would try again
    app.conf.task_publish_retry_policy = {"max_retries": 60, "interval_start": 0.2, "interval_step": 0.2}
    try:
        yield app
    finally:
        if results is not None:
            consumer = app.backend.result_consumer  # type: ignore[attr-defined]  # celery-types knows no Redis backend
            consumer.stop()
            consumer._pubsub = None  # a result collected later would unsubscribe there, though its server is gone
        # `Celery.close` forgets its pool without closing what is in it (celery 5.7, app/base.py)
        app.pool.force_close_all()  # type: ignore[attr-defined]  # celery-types takes it for a pool of producers
        app.close()


def publish(broker_url: str, body: str | bytes, *, queue: str = QUEUE, **headers: Any) -> None:
    """Put `body` into the queue as it is, as JSON that claims to be a task."""
    with Connection(broker_url) as connection, connection.Producer() as raw:
        raw.publish(
            body,
            routing_key=queue,
            exchange="",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"lang": "py"} | headers,
            correlation_id=headers.get("id"),
            reply_to="",
        )


def taken_from(broker_url: str, queue: str, *, within_s: float) -> tuple[Mapping[str, Any], Any] | None:
    """Headers and body of the next message of `queue`, or None when none comes in time."""
    deadline = time.monotonic() + within_s
    with Connection(broker_url) as connection, connection.SimpleQueue(queue) as simple:
        try:
            message = simple.get(timeout=max(0.1, deadline - time.monotonic()))
        except Empty:
            return None
        message.ack()
        return message.headers, message.payload
