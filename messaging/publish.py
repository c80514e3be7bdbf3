"""Publish hints after commit. A hint that is lost costs time, never a delivery: the sweep repeats it.

Over RabbitMQ they are not confirmed for the same reason: confirming each costs a round trip.
"""

from __future__ import annotations

import json
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue
from kombu.exceptions import OperationalError
from kombu.transport.pyamqp import Channel as RabbitChannel

from messaging.gauge import Gauge
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.task_signatures import CONTENT_TYPE, Signer
from messaging.wire import Queue, TaskName

_log = structlog.get_logger(__name__)

_PUBLISH_TIMEOUT_S = 5
_NO_SUCH_QUEUE = 404  # AMQP 0-9-1, not-found
_OTHER_ARGUMENTS = 406  # AMQP 0-9-1, precondition-failed
_WARN_EVERY_S = 60.0
_REST_S = 1.0
"""A broker that could not be reached is not tried again before: whoever accepts messages would wait each time."""
_GIVE_UP_SOON = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.0, "interval_max": 0.1}
"""kombu's own tries to connect: six seconds by default."""
_SMALL_MARKS = 10
"""Hints of small messages are published as they are accepted, up to so many times the mark of large ones: what waits
there is worth a few megabytes of the broker, and beyond it nobody would be served sooner."""


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
        "task_queues": queues(settings.intake_queues, quorum=settings.rabbitmq_queue_type == "quorum"),
        "task_create_missing_queues": True,  # callbacks go to queues that only their producer knows
        "broker_connection_retry_on_startup": True,
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    }
    tls = _tls(settings, broker)
    if tls is not None:
        shared["broker_use_ssl"] = tls
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
            "max_connections": 64,  # of a channel: one waits at each queue, and each thread acknowledges
        }
    if broker.startswith("sentinel:"):
        shared["broker_transport_options"]["master_name"] = settings.sentinel_master
        if settings.sentinel_password is not None:
            password = settings.sentinel_password.get_secret_value()
            shared["broker_transport_options"]["sentinel_kwargs"] = {"password": password}
    return shared


def _tls(settings: Settings, url: str) -> dict[str, Any] | None:
    """How a broker over TLS is verified: its certificate and its host name, or no connection.

    kombu 5.7 by itself takes any certificate of a Redis, or goes without TLS, and of a RabbitMQ one with any name.
    """
    authority = None if settings.broker_ca_file is None else str(settings.broker_ca_file)
    if url.startswith("rediss:"):
        verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        return verified if authority is None else verified | {"ssl_ca_certs": authority}
    if url.startswith("amqps:"):
        # kombu would ask for the name of each of several addresses, but calls localhost 127.0.0.1 before it does
        host = None if ";" in url else urlsplit(url).hostname
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host, "ca_certs": authority}
    return None


class TakenAsItIs(KombuQueue):
    """A queue that is used whatever RabbitMQ made it, and made only where there is none.

    A queue has one type for ever, and whoever declares it with another is refused (PRECONDITION_FAILED), so whether
    producer or worker came first must not matter to us. Where we are first, it becomes what the broker gives to those
    who ask for nothing, as a producer with no settings does, or what `wanted` says.
    """

    wanted: dict[str, Any] | None = None

    def queue_declare(self, nowait: bool = False, passive: bool = False, channel: Any = None) -> Any:  # noqa: ANN401, FBT001, FBT002  kombu's signature
        """Its name, depth and consumers. On channels of its own: a refusal closes the one it came on."""
        channel = channel or self.channel
        if passive or not isinstance(channel, RabbitChannel):
            return super().queue_declare(nowait=nowait, passive=passive, channel=channel)
        found = self._ask(channel, passive=True)
        found = found or self._ask(channel, passive=False)
        found = found or self._ask(channel, passive=True)  # somebody else was quicker, and made it another
        if found is None:
            raise OperationalError(f"RabbitMQ neither has nor makes the queue '{self.name}'. Look into its log.")
        return found

    def _ask(self, channel: Any, *, passive: bool) -> Any:  # noqa: ANN401
        connection: Any = channel.connection
        try:
            with connection.channel() as own:
                arguments = None if passive else self.wanted
                return own.queue_declare(
                    self.name, passive=passive, durable=True, auto_delete=False, arguments=arguments
                )
        except connection.channel_errors as error:
            if getattr(error, "code", None) not in {_NO_SUCH_QUEUE, _OTHER_ARGUMENTS}:
                raise
            return None


class QuorumQueue(TakenAsItIs):
    """The same, replicated over a cluster's nodes where we are the ones to make it.

    With no further argument, so that a producer's `task_create_missing_queue_type = "quorum"` declares the same. Were
    it among the queue's own arguments, Celery would set up 28 queues for tasks with an `eta`, which never lie there.
    """

    wanted = {"x-queue-type": "quorum"}  # noqa: RUF012  kombu copies a queue from its own attributes


def queues(extra: Sequence[str] = (), *, quorum: bool = False) -> list[KombuQueue]:
    """Every queue we consume, and further ones the intake reads.

    Those of the intake hold the only copy of a message, and may be quorum queues; a lost hint is repeated.
    """
    intake = (Queue.INTAKE, Queue.INTAKE_HIGH, *extra)
    return [
        (QuorumQueue if quorum and name in intake else TakenAsItIs)(
            name, Exchange(name, type="direct"), routing_key=name
        )
        for name in (*map(str, Queue), *extra)
    ]


class Publisher:
    """Sends hints to the broker over one connection that is kept."""

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        if app is None:
            app = Celery("messaging", set_as_current=False)
            app.conf.update(broker_settings(settings) | {"result_backend": None, "task_ignore_result": True})
            app.conf.broker_transport_options = {**app.conf.broker_transport_options, **_GIVE_UP_SOON}
        self._app = app
        self._signer = Signer.of(settings)
        self._made: dict[str, Any] = {}
        self._queues = {queue.name: queue for queue in queues()}
        self._high_water = settings.hints_high_water
        self._gauge = Gauge(mark=settings.hints_high_water * _SMALL_MARKS)
        self._warned_s: float | None = None
        self._failed_s: float | None = None
        connection = app.connection_for_write()
        # kombu wraps what connecting raises, and raises as it is what an open connection does
        self._away: tuple[type[BaseException], ...] = (OperationalError, *connection.recoverable_connection_errors)
        # it is there and refuses: full (OOM), unable to write (MISCONF), a replica since a fail-over (READONLY)
        self._refuses: tuple[type[BaseException], ...] = connection.channel_errors

    def publish(self, hints: Sequence[Hint]) -> bool:
        """Publish `hints` in one go; False when the broker could not take them all (the sweep will).

        A queue that holds ten times `hints_high_water` takes no more.
        """
        if not hints:
            return True
        if self._rests():
            return False
        try:
            with self._app.producer_pool.acquire(block=True, timeout=_PUBLISH_TIMEOUT_S) as producer:
                admitted = self._admitted(hints, producer)
                # to Redis a queue is made by what is put into it
                connection: Any = producer.connection
                makes_itself = connection.transport.driver_type == "redis"
                if len(admitted) == 1:
                    self._send(admitted[0], producer, declare=not makes_itself)
                elif admitted:
                    declared = set(self._queues) if makes_itself else set()
                    with producer.batch(max_size=500):  # type: ignore[attr-defined]  # new in kombu 5.7, unknown to celery-types
                        for hint in admitted:
                            self._send(hint, producer, declare=hint.queue not in declared)
                            declared.add(hint.queue)
        except (*self._away, *self._refuses) as error:
            self._failed(error)
            return False
        return len(admitted) == len(hints)

    def _admitted(self, hints: Sequence[Hint], producer: Any) -> Sequence[Hint]:  # noqa: ANN401  kombu's Producer has no types
        """Those whose queue is below the mark."""
        wanted = Counter(hint.queue for hint in hints)
        left = {
            queue: self._gauge.admit(queue, count, lambda queue=queue: _depth(producer.connection, queue))  # type: ignore[misc]  # mypy can't infer such a lambda
            for queue, count in wanted.items()
        }
        if left == wanted:
            return hints
        admitted = []
        for hint in hints:
            if left[hint.queue]:
                left[hint.queue] -= 1
                admitted.append(hint)
        return admitted

    def _rests(self) -> bool:
        return self._failed_s is not None and time.monotonic() - self._failed_s < _REST_S

    def _failed(self, error: BaseException) -> None:
        now = self._failed_s = time.monotonic()
        if self._warned_s is None or now - self._warned_s > _WARN_EVERY_S:
            self._warned_s = now
            _log.warning("The broker takes no hints; they wait in the database.", reason=str(error))

    def room(self, queue: Queue) -> int:
        """How many more hints the queue may hold below the high-water mark; none when the broker is away."""
        if self._rests():
            return 0
        try:
            with self._app.connection_for_write(connect_timeout=_PUBLISH_TIMEOUT_S) as connection:
                waiting = _depth(connection, queue)
        except (*self._away, *self._refuses) as error:
            self._failed(error)
            return 0
        return max(0, self._high_water - waiting)

    def waiting(self, queues: Sequence[str]) -> int | None:
        """How many tasks lie in `queues`; None when the broker is away."""
        depths = self.depths(queues)
        return None if depths is None else sum(depths.values())

    def depths(self, queues: Sequence[str]) -> dict[str, int] | None:
        """How many tasks lie in each of `queues`; None when the broker is away."""
        try:
            with self._app.connection_for_write(connect_timeout=_PUBLISH_TIMEOUT_S) as connection:
                return {queue: _depth(connection, queue) for queue in map(str, queues)}
        except (*self._away, *self._refuses):
            return None

    def _send(self, hint: Hint, producer: Any, *, declare: bool) -> None:  # noqa: ANN401  kombu's Producer has no types
        """As `Celery.send_task` would, from a message made once: what it does besides sending costs more than that.

        Finding out that a queue is declared already takes kombu a fifth of the time of sending to it.
        """
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
        body: Any = (arguments, *made.body[1:])
        form = {"serializer": "json"}
        if self._signer is not None:
            body = self._signer.sign(json.dumps(body).encode())
            form = {"content_type": CONTENT_TYPE, "content_encoding": "utf-8"}
        producer.publish(
            body,
            exchange="",  # straight to the queue: over Redis, an exchange is looked up there for each message
            routing_key=hint.queue,
            declare=[self._queues[hint.queue]] if declare else [],
            headers=made.headers | own,
            retry=False,
            **(made.properties | {"correlation_id": task_id} | form),
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


def _depth(connection: Any, queue: str) -> int:  # noqa: ANN401  kombu's Connection has no types
    size = getattr(connection.default_channel, "_size", None)
    if size is not None:
        return int(size(queue))
    try:
        with connection.channel() as own:  # which a refusal would close
            return int(own.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors as error:
        if getattr(error, "code", None) != _NO_SUCH_QUEUE:
            raise
        return 0  # nobody has read it or written to it yet; publishing declares it
