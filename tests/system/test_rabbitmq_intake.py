"""RabbitMQ on the way in: what a producer was told RabbitMQ has becomes one message, whatever is killed and cut."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from kombu import Connection
from kombu import Queue as KombuQueue
from kombu.exceptions import OperationalError

from messaging.client.messaging import Messaging
from messaging.publish import QuorumQueue, TakenAsItIs
from messaging.status import DeliveryStatus, MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import recorded
from tests.cuttable import Cuttable, cuttable
from tests.system.rabbitmq import RabbitMQ, rabbitmq

pytestmark = pytest.mark.timeout(400)

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "use-rabbitmq.md"


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    """A node of our own."""
    with rabbitmq() as node:
        yield node


@pytest.fixture(scope="module")
def proxy(broker: RabbitMQ) -> Iterator[Cuttable]:
    """What everybody connects through."""
    with cuttable(broker.port) as made:
        yield made


@pytest.fixture(scope="module")
def stack(broker: RabbitMQ, proxy: Cuttable) -> Iterator[Stack]:
    """A stack that asks for quorum queues."""
    url = broker.url.replace(str(broker.port), str(proxy.port))
    with running("--sandbox", **UNHURT, MESSAGING_BROKER_URL=url, MESSAGING_RABBITMQ_QUEUE_TYPE="quorum") as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


def lines_of_the_howto() -> str:
    """What the how-to tells a producer to write, in its order."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", HOWTO.read_text(), flags=re.DOTALL | re.MULTILINE))


@contextmanager
def producer(url: str) -> Iterator[Celery]:
    """A producer that does what the how-to says, and nothing else."""
    lines, addresses = re.subn(r'"amqp://[^"]+"', repr(url), lines_of_the_howto())
    assert addresses == 1, lines
    names: dict[str, Any] = {}
    exec(lines, names)  # noqa: S102  a file of this repository
    app: Celery = names["app"]
    app.conf.broker_transport_options |= {"producer": secrets.token_hex(4)}  # its pool is nobody else's
    try:
        yield app
    finally:
        app.pool.force_close_all()  # type: ignore[attr-defined]  # celery-types takes it for a pool of producers
        app.close()


def send(app: Celery, target: str, task_id: str) -> None:
    """One push to one target, sent again under its id when the first try raises, as the how-to says."""
    for _ in range(20):
        try:
            app.send_task(bare.PUSH, kwargs={"title": "Hello", "targets": [target]}, queue=bare.QUEUE, task_id=task_id)
        except (OperationalError, OSError):
            time.sleep(0.2)
        else:
            return
    pytest.fail("RabbitMQ takes nothing more")


def targets_of(stack: Stack, tokens: Sequence[str]) -> dict[str, str]:
    """Target by token, all of them new."""
    with stack.client() as client:
        push_topic(client, apns=tokens)
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute("SELECT identifier, public_id FROM targets WHERE identifier = ANY(%s)", ([*tokens],))
        return dict(rows.fetchall())


def messages_of(stack: Stack, ids: Sequence[str]) -> dict[str, int]:
    """How many deliveries each of these messages has that were accepted, of those that are there."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute(
            """SELECT m.public_id, count(d.*) FILTER (WHERE d.status = %s) FROM messages m
                 LEFT JOIN deliveries d ON d.month = m.month AND d.message_id = m.id
                WHERE m.public_id = ANY(%s) GROUP BY m.public_id""",
            (DeliveryStatus.ACCEPTED.code, [*ids]),
        )
        return dict(rows.fetchall())


def arrive(stack: Stack, proxy: Cuttable, *, count: int, kills: int, cuts: int) -> None:
    """Send `count` tasks while the intake is killed and every connection cut; each is one message, pushed once."""
    tokens = apns_tokens(count)
    targets = targets_of(stack, tokens)
    sent: dict[str, str] = {}

    def produce() -> None:
        with producer(stack.runtime.broker_url) as app:
            for token in tokens:
                task_id = secrets.token_hex(12)
                send(app, targets[token], task_id)
                sent[task_id] = token

    def arrived() -> int:
        return len(messages_of(stack, list(sent)))

    thread = threading.Thread(target=produce, name="producer")
    thread.start()
    blows: list[Callable[[], object]] = []
    for number in range(kills):
        blows.append(lambda: stack.kill("intake"))
        blows += [proxy.cut] * ((number + 1) * cuts // kills - number * cuts // kills)
    for number, blow in enumerate(blows, 1):
        mark = count * number // (len(blows) + 2)
        until(lambda mark=mark: arrived() >= mark, lambda: _says(stack, sent, arrived()), within_s=120)  # type: ignore[misc]  # mypy can't infer such a lambda
        blow()
        stack.ready(within_s=120)
    thread.join(600)
    assert len(sent) == count
    until(
        lambda: sum(messages_of(stack, list(sent)).values()) >= count,
        lambda: _says(stack, sent, arrived()),
        within_s=300,
    )
    found = messages_of(stack, list(sent))
    assert found.keys() == sent.keys()
    assert set(found.values()) == {1}
    ours = set(tokens)
    taken = Counter(
        line["recipient"] for line in recorded(stack.sandbox["control"], "apns") if line["recipient"] in ours
    )
    assert taken == dict.fromkeys(tokens, 1)


def _says(stack: Stack, sent: dict[str, str], arrived: int) -> str:
    return f"{len(sent)} sent, {arrived} arrived\n{stack.tail('intake', 'push-high', 'beat')}"


@pytest.mark.timeout(900)
def test_tasks_survive_kills_of_the_intake_and_lost_connections(stack: Stack, proxy: Cuttable) -> None:
    """Two thousand, four kills, two cuts of everybody's connection: each is one message and one push."""
    arrive(stack, proxy, count=2000, kills=4, cuts=2)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_thousand_tasks_survive_twenty_kills(stack: Stack, proxy: Cuttable) -> None:
    """And ten cuts of everybody's connection."""
    arrive(stack, proxy, count=20_000, kills=20, cuts=10)


def test_the_intake_reads_quorum_queues_and_nothing_else_became_one(stack: Stack, broker: RabbitMQ) -> None:
    """The workers run on queues of both types, and no queue for tasks with an `eta` was set up."""
    stack.ready()
    kinds = broker.queue_types()
    assert {name for name, kind in kinds.items() if kind == "quorum"} == {"messaging", "messaging.high"}
    assert kinds["messaging.push"] == "classic"
    assert not [name for name in kinds if name.startswith("celery_delayed")]


def test_a_queue_that_a_bare_producer_made_before_us_is_read(broker: RabbitMQ) -> None:
    """It is classic; a stack that asks for quorum queues takes it as it is."""
    url = broker.add_vhost("classic-first")
    with bare.producer(url) as shop:
        early = shop.send_task(bare.PUSH, kwargs={"title": "early", "users": ["nobody"]}, queue=bare.QUEUE).id
    with running(**UNHURT, MESSAGING_BROKER_URL=url, MESSAGING_RABBITMQ_QUEUE_TYPE="quorum") as other:
        with other.client() as client:
            until(lambda: _state(client, early), lambda: other.tail("intake"))
        types = broker.queue_types("classic-first")
        assert (types["messaging"], types["messaging.high"]) == ("classic", "quorum")


def test_a_bare_producer_is_told_that_a_quorum_queue_is_none_of_its_own(stack: Stack) -> None:
    """`send_task` raises; nothing is lost without a word."""
    stack.ready()
    with bare.producer(stack.runtime.broker_url) as shop, pytest.raises(Exception, match="PRECONDITION_FAILED"):
        shop.send_task(bare.PUSH, kwargs={"title": "a", "users": ["nobody"]}, queue=bare.QUEUE)


@pytest.mark.parametrize("before", ["classic", "quorum"])
@pytest.mark.parametrize("kind", [TakenAsItIs, QuorumQueue])
def test_declaring_takes_a_queue_as_it_is(broker: RabbitMQ, before: str, kind: type[TakenAsItIs]) -> None:
    """Whatever its type, and as often as one likes."""
    name = f"{before}-{kind.__name__}"
    with Connection(broker.url) as connection:
        channel: Any = connection.default_channel
        KombuQueue(name, queue_arguments={"x-queue-type": before})(channel).declare()
        for _ in range(2):
            kind(name)(channel).declare()
        assert channel.is_open
    assert broker.queue_types()[name] == before


def test_declaring_makes_a_queue_where_there_is_none(broker: RabbitMQ) -> None:
    """The broker's default, unless quorum was asked for."""
    with Connection(broker.url) as connection:
        TakenAsItIs("made-plain")(connection).declare()
        QuorumQueue("made-quorum")(connection).declare()
    types = broker.queue_types()
    assert (types["made-plain"], types["made-quorum"]) == ("classic", "quorum")


def _state(client: Messaging, message_id: str) -> MessageState | None:
    try:
        return client.get(message_id).state
    except LookupError:
        return None
