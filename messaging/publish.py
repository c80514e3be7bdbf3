"""Publish hints after commit. A hint that is lost costs time, never a delivery: the sweep repeats it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self
from uuid import uuid4

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue
from kombu.exceptions import OperationalError

from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue, TaskName

_PUBLISH_TIMEOUT_S = 5
_NO_SUCH_QUEUE = 404  # AMQP 0-9-1, not-found


def broker_settings(settings: Settings) -> dict[str, Any]:
    """What producer and worker must agree on, as Celery configuration."""
    broker = settings.broker_url.get_secret_value()
    shared: dict[str, Any] = {
        "broker_url": broker,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "enable_utc": True,
        "timezone": "UTC",
        "task_queues": queues(settings.intake_queues),
        "task_create_missing_queues": True,  # callbacks go to queues that only their producer knows
        "broker_connection_retry_on_startup": True,
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    }
    if not broker.startswith("amqp"):
        shared["broker_transport_options"] = {
            "visibility_timeout": settings.visibility_timeout_s,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_restore_limit": 1000,
            "unacked_mutex_expire": 30,
            "socket_timeout": 15,
            "socket_connect_timeout": _PUBLISH_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 15,
        }
    return shared


def queues(extra: Sequence[str] = ()) -> list[KombuQueue]:
    """Every queue we consume, and further ones the intake reads."""
    return [KombuQueue(name, Exchange(name, type="direct"), routing_key=name) for name in (*map(str, Queue), *extra)]


class Publisher:
    """Sends hints to the broker over one connection that is kept."""

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        if app is None:
            app = Celery("messaging", set_as_current=False)
            app.conf.update(broker_settings(settings) | {"result_backend": None, "task_ignore_result": True})
        self._app = app
        self._made: dict[str, Any] = {}
        self._queues = {queue.name: queue for queue in queues()}
        self._high_water = settings.hints_high_water
        # kombu wraps what connecting raises, and raises as it is what an open connection does
        self._away: tuple[type[BaseException], ...] = (
            OperationalError,
            *app.connection_for_write().recoverable_connection_errors,
        )

    def publish(self, hints: Sequence[Hint]) -> bool:
        """Publish `hints` in one go; False when the broker could not take them (the sweep will)."""
        if not hints:
            return True
        try:
            with self._app.producer_pool.acquire(block=True, timeout=_PUBLISH_TIMEOUT_S) as producer:
                if len(hints) == 1:
                    self._send(hints[0], producer)
                else:
                    with producer.batch(max_size=500):  # type: ignore[attr-defined]  # new in kombu 5.7, unknown to celery-types
                        for hint in hints:
                            self._send(hint, producer)
        except self._away:
            return False
        return True

    def room(self, queue: Queue) -> int:
        """How many more hints the queue may hold below the high-water mark; none when the broker is away."""
        try:
            with self._app.connection_for_write(connect_timeout=_PUBLISH_TIMEOUT_S) as connection:
                waiting = _depth(connection, queue)
        except self._away:
            return 0
        return max(0, self._high_water - waiting)

    def _send(self, hint: Hint, producer: Any) -> None:  # noqa: ANN401  kombu's Producer has no types
        """As `Celery.send_task` would, from a message made once: what it does besides sending costs more than that."""
        name, arguments = _task_of(hint)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._app.amqp.as_task_v2("", name, args=(), kwargs={}, ignore_result=True)
        task_id = str(uuid4())
        own = {
            "id": task_id,
            "root_id": task_id,
            "shadow": hint.shadow,
            "argsrepr": f"({', '.join(map(str, arguments))})",
            "kwargsrepr": "{}",
        }
        producer.publish(
            (arguments, *made.body[1:]),
            exchange="",  # straight to the queue: over Redis, an exchange is looked up there for each message
            routing_key=hint.queue,
            declare=[self._queues[hint.queue]],
            serializer="json",
            headers=made.headers | own,
            retry=False,
            **(made.properties | {"correlation_id": task_id}),
        )

    def close(self) -> None:
        """Close the connections."""
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _task_of(hint: Hint) -> tuple[TaskName, tuple[object, ...]]:
    if hint.task is not None:
        return hint.task, () if hint.argument is None else (hint.argument,)
    return (TaskName.DELIVER, (str(hint.batch),)) if hint.batch is not None else (TaskName.FANOUT, (hint.message_id,))


def _depth(connection: Any, queue: Queue) -> int:  # noqa: ANN401  kombu's Connection has no types
    channel = connection.default_channel
    size = getattr(channel, "_size", None)
    if size is not None:
        return int(size(queue))
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors as error:
        if getattr(error, "code", None) != _NO_SUCH_QUEUE:
            raise
        return 0  # nobody has read it or written to it yet; publishing declares it
