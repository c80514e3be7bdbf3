"""What `messaging doctor` says of RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from amqp import Message

from messaging.doctor import rabbitmq
from messaging.doctor.finding import State
from messaging.wire import Queue
from tests.system.rabbitmq import RabbitMQ
from tests.system.rabbitmq import rabbitmq as running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    """A node where nobody has declared anything yet."""
    with running() as started:
        yield started


@pytest.fixture
def connection(node: RabbitMQ) -> Iterator[Any]:
    """A connection to it, as the doctor makes one."""
    with rabbitmq.connected(node.url, None) as opened:
        yield opened


def test_its_queues_and_their_readers_are_counted(connection: Any) -> None:
    """A queue nobody made is empty, and is not made by asking."""
    assert rabbitmq.reach(connection).found.startswith("RabbitMQ")
    names = [str(Queue.INTAKE), str(Queue.PUSH)]
    assert [(each.waiting, each.consumers) for each in rabbitmq.queue_states(connection, names)] == [(0, 0), (0, 0)]
    with connection.channel() as channel:
        for name in names:
            channel.queue_declare(queue=name, durable=True, auto_delete=False)
        channel.basic_publish_confirm(Message("{}"), routing_key=Queue.INTAKE)
        channel.basic_consume(Queue.PUSH, callback=print)
        (intake, push) = rabbitmq.queue_states(connection, names)
    assert (intake.waiting, intake.consumers) == (1, 0)
    assert (push.waiting, push.consumers) == (0, 1)


def test_a_queue_that_is_not_as_wanted_is_told(connection: Any) -> None:
    """It keeps the type it was made with."""
    with connection.channel() as channel:
        channel.queue_delete(Queue.INTAKE)
    assert rabbitmq.queue_types(connection, "quorum").found == "none made yet"
    with connection.channel() as channel:
        channel.queue_declare(queue=Queue.INTAKE, durable=True, auto_delete=False)
    assert rabbitmq.queue_types(connection, None).state is State.OK
    assert rabbitmq.queue_types(connection, "quorum").state is State.WARNING
    with connection.channel() as channel:
        channel.queue_delete(Queue.INTAKE)
        channel.queue_declare(queue=Queue.INTAKE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    assert rabbitmq.queue_types(connection, "quorum").state is State.OK


def test_a_node_that_is_away_is_broken() -> None:
    """With what to do."""
    with pytest.raises(rabbitmq.AWAY) as raised, rabbitmq.connected("amqp://guest:password@127.0.0.1:1//", None):
        pass
    found = rabbitmq.away(raised.value)
    assert (found.state, "password" in found.found) == (State.BROKEN, False)
