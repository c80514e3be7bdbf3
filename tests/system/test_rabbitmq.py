"""RabbitMQ as the broker: nothing about a message or its ledger differs from Redis."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator, Sequence

import pytest

from messaging.client.messaging import Messaging
from messaging.message import Push
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.status import DeliveryStatus, MessageState
from messaging.store.batches import Hint
from messaging.wire import Queue
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import clear_faults, recorded, set_faults, sums
from tests.system.rabbitmq import RabbitMQ, rabbitmq

pytestmark = pytest.mark.timeout(900)

_FINISHED = {MessageState.SENT, MessageState.PARTIALLY_SENT, MessageState.FAILED, MessageState.CANCELLED}


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    """A node of our own."""
    with rabbitmq() as node:
        yield node


@pytest.fixture(scope="module")
def stack(broker: RabbitMQ) -> Iterator[Stack]:
    """A stack whose tasks go over it; Valkey paces the providers."""
    with running("--sandbox", **UNHURT, MESSAGING_BROKER_URL=broker.url, MESSAGING_PAGE_SIZE="500") as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


@pytest.fixture
def client(stack: Stack) -> Iterator[Messaging]:
    """A client of the stack, whose providers behave again at the end."""
    with stack.client() as opened:
        yield opened
    clear_faults(stack.sandbox["control"])


def finished(stack: Stack, client: Messaging, *message_ids: str) -> None:
    """Return when the messages are finished."""

    def all_finished() -> bool:
        return all(_state(client, message_id) in _FINISHED for message_id in message_ids)

    until(all_finished, lambda: stack.tail("intake", "fanout", "push", "push-high", "beat"), within_s=240)


def _state(client: Messaging, message_id: str) -> MessageState | None:
    try:
        return client.get(message_id).state
    except LookupError:
        return None


def assert_exact(stack: Stack, client: Messaging, message_ids: Sequence[str], audience: Sequence[str]) -> int:
    """Both sides know the same; how often a provider took something twice."""
    found = sums(client, stack.sandbox["control"], message_ids, audience, "apns")
    found.assert_exact()
    assert found.statuses == {DeliveryStatus.ACCEPTED: len(audience)}
    return found.doubled


def test_a_bare_client_sends_over_amqp_and_the_ledger_equals_the_record(stack: Stack, client: Messaging) -> None:
    """A topic of three thousand devices and forty single pushes: accepted, once each."""
    devices, singles = apns_tokens(3000), apns_tokens(40)
    topic = push_topic(client, apns=devices)
    targets = [
        client.targets.create(token, channel="push", user_id=client.users.create().id, provider_id="apns").id
        for token in singles
    ]
    with bare.producer(stack.runtime.broker_url) as shop:
        kwargs = {"title": "Hello", "body": "there"}
        big = shop.send_task(bare.PUSH, kwargs=kwargs | {"topics": [topic]}, queue=bare.QUEUE).id
        small = [
            shop.send_task(bare.PUSH, kwargs=kwargs | {"targets": [target]}, queue=bare.QUEUE).id for target in targets
        ]
    finished(stack, client, big, *small)
    assert assert_exact(stack, client, [big], devices) == 0
    assert assert_exact(stack, client, small, singles) == 0


def test_a_message_nobody_hinted_at_is_found_by_the_sweep(stack: Stack, client: Messaging) -> None:
    """Committed without a broker; the sweep asks the queue how deep it is, and hints."""
    devices = apns_tokens(1500)
    topic = push_topic(client, apns=devices)
    with Messaging.connect(database_url=stack.runtime.database_url, secret_key=stack.secret_key) as aside:
        message = aside.send(Push(title="Hello", body="there"), topics=[topic])
    finished(stack, client, message.id)
    assert assert_exact(stack, client, [message.id], devices) == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_restarts_in_the_middle_costs_time_and_no_delivery(
    how: str, stack: Stack, client: Messaging, broker: RabbitMQ
) -> None:
    """Stopped in order, and killed: the workers come back by themselves, and every device gets one push."""
    devices, later = apns_tokens(4000), apns_tokens(20)
    topic, after = push_topic(client, apns=devices), push_topic(client, apns=later)
    control = stack.sandbox["control"]
    set_faults(control, "apns", delay_ms=200)
    with bare.producer(broker.url) as shop:
        message = shop.send_task(bare.PUSH, kwargs={"title": "a", "topics": [topic]}, queue=bare.QUEUE).id
    wanted = frozenset(devices)

    def under_way() -> bool:
        return sum(line["recipient"] in wanted for line in recorded(control, "apns")) > 200

    until(under_way, lambda: stack.tail("intake", "fanout", "push"))
    before = dict(stack.runtime.processes)
    getattr(broker, how)()
    broker.start()
    set_faults(control, "apns", delay_ms=0)
    with bare.producer(broker.url) as shop:
        second = shop.send_task(
            bare.PUSH,
            kwargs={"title": "b", "topics": [after]},
            queue=bare.QUEUE,
            retry_policy={"max_retries": 50, "interval_start": 0.2, "interval_max": 0.5},
        ).id
    finished(stack, client, message, second)
    assert assert_exact(stack, client, [message], devices) == 0
    assert assert_exact(stack, client, [second], later) == 0
    assert stack.runtime.processes == before, "a process died of the broker's restart"


def test_a_revoked_message_with_an_eta_is_cancelled(stack: Stack, client: Messaging) -> None:
    """Celery's own `revoke` reaches the intake over RabbitMQ, and RabbitMQ holds no task until its time."""
    devices = apns_tokens(3)
    topic = push_topic(client, apns=devices)
    eta = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    with bare.producer(stack.runtime.broker_url) as shop:
        kwargs = {"title": "later", "topics": [topic]}
        message = shop.send_task(bare.PUSH, kwargs=kwargs, queue=bare.QUEUE, eta=eta).id
        until(lambda: _state(client, message) is MessageState.SCHEDULED, lambda: stack.tail("intake"))
        shop.control.revoke(message)
        until(lambda: _state(client, message) is MessageState.CANCELLED, lambda: stack.tail("intake"))
    assert not [line for line in recorded(stack.sandbox["control"], "apns") if line["recipient"] in devices]


def publisher(broker_url: str) -> Publisher:
    """A publisher that never touches a database."""
    own = {"database_url": "postgresql://nobody/none", "secret_key": secrets.token_hex(32)}
    return Publisher(Settings.load({}, broker_url=broker_url, hints_high_water=100, **own))


def test_a_queue_nobody_has_declared_is_empty_and_publishing_declares_it() -> None:
    """A deployment without, say, SMS workers must not stop the sweep for everybody."""
    hints = [Hint(queue=Queue.SMS, shadow="sms", message_id=number) for number in range(7)]
    with rabbitmq() as fresh, publisher(fresh.url) as ours:
        assert ours.room(Queue.SMS) == 100
        assert ours.publish(hints)
        until(lambda: ours.room(Queue.SMS) == 93, "seven hints in the queue")


def test_a_node_that_is_away_takes_no_hints_and_its_successor_does() -> None:
    """Publishing says so instead of raising, and goes on by itself afterwards."""
    hint = Hint(queue=Queue.PUSH, shadow="push", message_id=1)
    with rabbitmq() as node, publisher(node.url) as ours:
        assert ours.publish([hint])
        node.kill()
        # what is written into a connection before its end is noticed is gone: a hint may be, and the sweep repeats it
        until(lambda: not ours.publish([hint]), "refusal")
        assert ours.room(Queue.PUSH) == 0
        node.start()
        until(lambda: ours.publish([hint]) and ours.publish([hint, hint]), "hints taken again")
        # it is asked over another connection, which may be quicker than the hints
        until(lambda: 0 < ours.room(Queue.PUSH) < 100, "hints in the queue")
