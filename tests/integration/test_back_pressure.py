"""A broker's queues stay short while nobody works: what waits, waits in PostgreSQL, and goes out when somebody does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from messaging.status import DeliveryStatus
from messaging.wire import Queue
from tests.acceptance.stack import until
from tests.integration.road import Road

MARK = 10
PAGE = 10


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """A road whose queues hold ten hints, a batch for each recipient."""
    # no hint is repeated while a test runs, however long that takes
    made = Road(postgres_url, valkey_url, hints_high_water=MARK, task_size=1, page_size=PAGE, hint_pause_s=600.0)
    made.add_provider("main", "apns")
    yield made
    made.close()


@pytest.fixture
def broker(valkey_url: str) -> Iterator[redis.Redis]:
    """The broker, empty."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client


def taken(broker: redis.Redis, queue: Queue) -> int:
    """How many hints a worker took from the queue; all of them."""
    count = int(broker.llen(queue))
    broker.delete(queue)
    return count


def test_a_large_topic_fills_its_queue_to_the_mark_and_no_further(road: Road, broker: redis.Redis) -> None:
    """Three hundred batches: the fan-out expands them all and hints at as many as the queue has room for."""
    topic = road.add_push_targets(300)
    road.add_topic("all", topic)
    message = road.send(topics=("all",))
    road.expand(message.message_id)
    assert road.view(message).expanded
    assert len(road.batches()) == 300
    assert broker.llen(Queue.PUSH) <= MARK + PAGE
    for _ in range(3):
        road.sweep()
        assert broker.llen(Queue.PUSH) <= MARK + PAGE


def test_what_waited_is_hinted_at_as_the_queue_empties(road: Road, broker: redis.Redis) -> None:
    """Each batch once, by sweep after sweep, and everybody gets the message."""
    road.add_topic("all", road.add_push_targets(100))
    message = road.send(topics=("all",))
    road.expand(message.message_id)
    hinted = taken(broker, Queue.PUSH)
    for _ in range(20):
        assert road.sweep().hinted <= MARK
        hinted += taken(broker, Queue.PUSH)
    assert hinted == 100
    road.deliver()
    assert road.statuses(message) == {DeliveryStatus.ACCEPTED: 100}


def test_single_messages_fill_their_queue_to_ten_marks(road: Road, broker: redis.Redis) -> None:
    """They are published as they are accepted; beyond that they wait in PostgreSQL, and the sweep brings them."""
    targets = [f"t{number}" for number in range(110)]
    road.add_push_targets(110)
    sent = [road.send(targets=(target,)) for target in targets]
    assert taken(broker, Queue.PUSH_HIGH) == 10 * MARK
    road.execute("UPDATE batches SET hinted_at = hinted_at - interval '1 hour' WHERE state <> 2")
    until(lambda: road.sweep().hinted == MARK, "the queue has room, as the next second shows")
    road.deliver()
    assert all(road.statuses(message) == {DeliveryStatus.ACCEPTED: 1} for message in sent)


def test_a_queue_that_is_full_keeps_nobody_from_another(road: Road, broker: redis.Redis) -> None:
    """Singles to devices wait, those to mailboxes don't."""
    broker.lpush(Queue.PUSH_HIGH, *["x"] * 10 * MARK)
    road.add_push_targets(1)
    road.send(targets=("t0",))
    assert broker.llen(Queue.PUSH_HIGH) == 10 * MARK
    road.add_topic("all", road.add_push_targets(30, first=1))
    road.send(topics=("all",))
    assert broker.llen(Queue.FANOUT) == 1
