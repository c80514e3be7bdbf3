"""RabbitMQ: whether it is there, and what its queues are. Asked over AMQP, so no management plugin is needed."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from amqp import Connection
from amqp.exceptions import AMQPError, NotFound, PreconditionFailed

from messaging.doctor.finding import Finding, broken, ok, warning
from messaging.wire import Queue

Open: TypeAlias = Any
"""A connection of py-amqp, whose types leave out half of it."""
AWAY = (AMQPError, OSError)
_TIMEOUT_S = 5.0
_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a broker says of a queue; no consumers where it does not tell."""

    name: str
    waiting: int
    consumers: int | None


@contextmanager
def connected(url: str, authority: Path | None) -> Iterator[Open]:
    """A connection to the first of the addresses; raises one of `AWAY`."""
    parts = urlsplit(url.split(";", maxsplit=1)[0])
    tls: Any = False
    if parts.scheme == "amqps":
        tls = {
            "context": ssl.create_default_context(cafile=None if authority is None else str(authority)),
            "server_hostname": parts.hostname,
        }
    connection = Connection(
        host=f"{parts.hostname or 'localhost'}:{parts.port or _PORTS.get(parts.scheme, 5672)}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        ssl=tls,
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        write_timeout=_TIMEOUT_S,
    )
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def reach(connection: Open) -> Finding:
    """Who answers."""
    server = connection.server_properties
    return ok("broker", f"{server.get('product', 'a broker')} {server.get('version', '')}".strip())


def away(error: BaseException) -> Finding:
    """That nobody does."""
    return broken("broker", f"does not answer: {error}", "Start it, or correct MESSAGING_BROKER_URL.")


def queue_states(connection: Open, names: Sequence[str]) -> list[QueueState]:
    """Length and consumers of each queue; one that nobody has made is empty and has none."""
    found = []
    for name in names:
        try:
            with connection.channel() as channel:
                told = channel.queue_declare(queue=name, passive=True)
            found.append(QueueState(name, told.message_count, told.consumer_count))
        except NotFound:
            found.append(QueueState(name, 0, 0))
    return found


def queue_types(connection: Open, wanted: str | None) -> Finding:
    """Whether the queues that hold the only copy of a message are replicated, where the settings want that."""
    check = "broker queue types"
    names = [str(name) for name in (Queue.INTAKE, Queue.INTAKE_HIGH) if _exists(connection, name)]
    if not names:
        return ok(check, "none made yet")
    quorum = [name for name in names if _is_quorum(connection, name)]
    if len(quorum) == len(names):
        return ok(check, f"{', '.join(names)}: quorum")
    plain = ", ".join(name for name in names if name not in quorum)
    if wanted == "quorum":
        return warning(
            check,
            f"not quorum, though MESSAGING_RABBITMQ_QUEUE_TYPE says so: {plain}",
            "Let them run empty, delete them, and start the intake again: a queue keeps the type it was made with.",
        )
    return ok(check, f"{plain}: not quorum. On one node that is as good.")


def _exists(connection: Open, name: str) -> bool:
    try:
        with connection.channel() as channel:
            channel.queue_declare(queue=name, passive=True)
    except NotFound:
        return False
    return True


def _is_quorum(connection: Open, name: str) -> bool:
    """By declaring one that exists as such: the broker refuses where it is another, and changes nothing."""
    try:
        with connection.channel() as channel:
            channel.queue_declare(queue=name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    except PreconditionFailed:
        return False
    return True
