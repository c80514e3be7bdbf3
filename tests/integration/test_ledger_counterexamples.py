"""Stories in which the ledger once said what was not so; `test_ledger_machine.py` looks for others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from messaging.outcome import Action
from messaging.receipt import Event
from messaging.status import DeliveryStatus
from messaging.store import messages
from messaging.store.retry_failed import retry_failed
from tests.integration.ledger_world import NOT_ARRIVED, SMALL, Key, LosesHints, Worker, World
from tests.integration.road import Road
from workers import fanout

S = DeliveryStatus
LOST_ANSWER, REFUSED, DEAD = 1, 4, 5
assert [NOT_ARRIVED[i].action for i in (REFUSED, DEAD)] == [Action.REJECT_MESSAGE, Action.DISABLE_TARGET]
_number = itertools.count(1)


@pytest.fixture
def world(postgres_url: str, valkey_url: str) -> Iterator[World]:
    """Two accounts, four targets, no message yet."""
    road = Road(postgres_url, valkey_url, **SMALL)
    road.publisher.close()
    road.publisher = LosesHints(road.settings)
    made = World(road, next(_number))
    yield made
    made.leave()
    road.close()


def sent_to_two(world: World, *, hold: bool = False) -> None:
    """A message to two targets, accepted."""
    world.send_message(to_topic=False, hold=hold, later=False)
    world.check()


def leased(world: World, *arrive: bool) -> Worker:
    """A worker that has the first batch, with both of its requests sent."""
    worker = world.lease(world.refs[0])
    assert worker is not None
    world.claim(worker, arrive)
    world.check()
    return worker


def expire(world: World) -> None:
    """The message's time runs out."""
    world.road.execute("UPDATE messages SET expires_at = now()")
    world.road.sweep()
    world.check()


def statuses(world: World) -> list[DeliveryStatus]:
    """What the ledger says, in the order of targets."""
    return [row["status"] for _, row in sorted(world.rows().items())]


def test_verdicts_taken_back_wake_no_cancelled_message(world: World) -> None:
    """It has ended, with its totals; what was failed stays failed, since nobody would send it again."""
    sent_to_two(world)
    worker = leased(world, False, False)
    world.answers(worker, [DEAD, 0], withdraw=False)
    world.give_back(worker, fail_over=False)
    world.control(world.messages[0], messages.cancel)
    world.road.sweep()
    for provider in world.providers:
        world.take_back(provider)
    world.check()
    assert statuses(world) == [S.FAILED, S.CANCELLED]


def test_a_late_answer_changes_the_totals_of_a_message_that_has_ended(world: World) -> None:
    """And the state that follows from them."""
    sent_to_two(world, hold=True)
    worker = leased(world, True, False)
    world.crash(worker, wakes=True)
    expire(world)
    world.answers(worker, [0, REFUSED], withdraw=False)
    world.check()
    assert statuses(world) == [S.ACCEPTED, S.FAILED]


def test_a_receipt_changes_the_totals_of_a_message_that_was_cancelled(world: World) -> None:
    """What was in flight then may have arrived; it stays cancelled."""
    sent_to_two(world)
    world.crash(leased(world, True, True), wakes=False)
    world.control(world.messages[0], messages.cancel)
    world.road.sweep()
    world.check()
    key = min(world.rows())
    world.tell(world.providers[0], Event.DELIVERED, Key(*key), by_id=False, told=1)
    world.check()
    assert statuses(world) == [S.DELIVERED, S.UNKNOWN]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM targets",
        "UPDATE targets SET expired_at = now()",
        """INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)
           SELECT project_id, channel, address_hash, 'everything', 'asked' FROM targets""",
    ],
)
def test_what_may_have_arrived_is_unknown_though_its_target_went(world: World, change: str) -> None:
    """It was sent and no answer came; before it is sent again the target is deleted, dead or suppressed."""
    sent_to_two(world)
    worker = leased(world, True, True)
    world.answers(worker, [LOST_ANSWER, LOST_ANSWER], withdraw=False)
    world.give_back(worker, fail_over=False)
    world.road.make_due()
    world.road.execute(change)
    leased(world)
    assert statuses(world) == [S.UNKNOWN, S.UNKNOWN]


def test_a_late_refusal_says_nothing_of_a_later_attempt(world: World) -> None:
    """The first worker's requests were refused, the second's arrived and went unanswered."""
    sent_to_two(world)
    stale = leased(world, False, False)
    world.crash(stale, wakes=True)
    world.crash(leased(world, True, True), wakes=False)
    expire(world)
    world.answers(stale, [REFUSED, REFUSED], withdraw=False)
    world.check()
    assert statuses(world) == [S.UNKNOWN, S.UNKNOWN]


def test_retrying_the_failed_does_not_go_on_with_the_audience(world: World) -> None:
    """Its time ran out while the topic was being read; those it had not come to were not in the message."""
    world.send_message(to_topic=True, hold=False, later=False)
    message = world.messages[0]
    assert message.message_id is not None
    with world.road.engine.begin() as connection:
        fanout._expand_page(connection, world.road.settings, world.road.publisher, message.message_id)
    world.check()
    worker = leased(world, False, False)
    world.answers(worker, [REFUSED, REFUSED], withdraw=False)
    world.give_back(worker, fail_over=False)
    expire(world)
    world.may_reopen = True
    with world.road.engine.begin() as connection:
        view = messages.view(connection, world.road.project_id, message.public_id)
        retry_failed(connection, view, codes=[], expires_in_s=60)
    world.check()
    world.road.expand(message.message_id)
    assert statuses(world) == [S.RETRYING, S.RETRYING]
