"""A message to a few is leased and claimed in one step, recorded and ended in another, with nothing given up for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from messaging.errors import ContentError
from messaging.status import DeliveryStatus, MessageState
from messaging.store.batches import BatchRef
from tests.integration.road import OneAdapter, Road
from workers.deliver import Deliverer
from workers.pace import Pace
from workers.pacing import Grant, NoPacer

S = DeliveryStatus


class Closing(NoPacer):
    """A pacer whose accounts are closed while `closed` says so."""

    closed = False

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:
        """Nothing, or all of it."""
        if self.closed:
            return Grant(0, 30.0, "the provider, which asked for a pause")
        return await super().reserve(provider_id, wanted, pace=pace, high=high)


class Worker:
    """A process that delivers, and has just sent a message: its account is open."""

    def __init__(self, road: Road) -> None:
        self.road, self.pacer, self.is_stopping = road, Closing(), False
        one: Any = OneAdapter(road.provider)  # stands for Adapters
        self._deliverer = Deliverer(
            road.engine,
            road.vault,
            road.settings,
            self.pacer,
            one,
            road.publisher.publish,
            is_stopping=lambda: self.is_stopping,
        )
        self._loop = asyncio.new_event_loop()
        road.add_push_targets(40, provider=road.add_provider("apns", "apns"))
        road.send(targets=["t39"])
        self.deliver()

    def deliver(self, *refs: BatchRef) -> list[str]:
        """Deliver all that is not done."""
        return [self._loop.run_until_complete(self._deliverer.deliver(ref)) for ref in refs or self.road.batches()]

    def close(self) -> None:
        """End its loop."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def worker(road: Road) -> Iterator[Worker]:
    """A worker that has just sent a message."""
    found = Worker(road)
    yield found
    found.close()


@contextmanager
def statements(road: Road) -> Iterator[list[str]]:
    """What is asked of the database meanwhile, transactions as COMMIT."""
    said: list[str] = []

    def note(conn, cursor, statement, *_: object) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
        said.append(statement.strip())

    def commit(_: object) -> None:
        said.append("COMMIT")

    event.listen(road.engine, "before_cursor_execute", note)
    event.listen(road.engine, "commit", commit)
    try:
        yield said
    finally:
        event.remove(road.engine, "before_cursor_execute", note)
        event.remove(road.engine, "commit", commit)


def test_a_message_to_one_target_takes_two_transactions(road: Road, worker: Worker) -> None:
    """The row is leased and claimed in the first, recorded and its batch ended in the second."""
    sent = road.send(targets=["t1"])
    (ref,) = road.batches()
    with statements(road) as said:
        assert worker.deliver(ref) == ["1 sent, done"]
    assert said.count("COMMIT") == 2
    assert len(said) == 5  # lease and claim, the message; record and end
    assert road.statuses(sent) == {S.ACCEPTED: 1}
    assert road.sweep().finished >= 1
    assert road.view(sent).state is MessageState.SENT


def test_a_message_to_a_few_leaves_the_same_as_one_to_many(road: Road, worker: Worker) -> None:
    """Those who refuse, and those who are gone since, are where they would be."""
    sent = road.send(targets=["t1", "t2", "t3"])
    road.execute("DELETE FROM targets WHERE public_id = 't2'")
    assert worker.deliver() == ["2 sent, done"]
    assert road.statuses(sent) == {S.ACCEPTED: 2, S.FAILED: 1}
    assert [delivery.attempts for delivery in road.deliveries(sent)] == [1, 0, 1]
    assert road.provider.doubled == 0


def test_many_rows_are_claimed_window_by_window(road: Road, worker: Worker) -> None:
    """They wait for their turn as `queued`, and a crash leaves them so."""
    road.send(targets=[f"t{number}" for number in range(9)])
    (ref,) = road.batches()
    with statements(road) as said:
        assert worker.deliver(ref) == ["9 sent, done"]
    assert any("claim_window" in statement for statement in said)


def test_an_account_that_closed_meanwhile_sends_nothing_and_spends_no_attempt(road: Road, worker: Worker) -> None:
    """It was open a moment ago, so the row was claimed: it waits again, and is sent at its first attempt."""
    sent = road.send(targets=["t1"])
    worker.pacer.closed = True
    (answer,) = worker.deliver()
    assert answer.startswith("0 sent, due again in")
    assert len(road.provider.received) == 1
    (delivery,) = road.deliveries(sent)
    assert (delivery.status, delivery.attempts) == (S.RETRYING, 0)
    worker.pacer.closed = False
    road.make_due()
    assert worker.deliver() == ["1 sent, done"]
    (delivery,) = road.deliveries(sent)
    assert (delivery.status, delivery.attempts) == (S.ACCEPTED, 1)


def test_after_that_it_is_asked_before_it_claims(road: Road, worker: Worker) -> None:
    """Rows of an account that is held up stay `queued`."""
    worker.pacer.closed = True
    road.send(targets=["t1"])
    worker.deliver()
    sent = road.send(targets=["t2"])
    worker.deliver(road.batches()[-1])
    (delivery,) = road.deliveries(sent)
    assert (delivery.status, delivery.attempts) == (S.QUEUED, 0)


def stopped(road: Road) -> None:
    """An operator, or an answer, stopped the account."""
    road.execute("UPDATE providers SET stopped_at = now(), stopped_reason = 'credit'")


def disabled(road: Road) -> None:
    """An operator switched it off."""
    road.execute("UPDATE providers SET enabled = false")


@pytest.mark.parametrize("change", [stopped, disabled])
def test_what_became_of_the_account_is_seen_at_once(road: Road, worker: Worker, change: Callable[[Road], None]) -> None:
    """It is remembered for as long as its row stays what it was."""
    sent = road.send(targets=["t1"])
    change(road)
    worker.deliver()
    assert len(road.provider.received) == 1
    (delivery,) = road.deliveries(sent)
    assert delivery.status in {S.QUEUED, S.RETRYING}
    assert delivery.attempts == 0


@pytest.mark.parametrize("fails", [ContentError("too long", "PayloadTooLarge"), RuntimeError("a fault of ours")])
def test_what_cannot_be_prepared_is_not_left_in_doubt(road: Road, worker: Worker, fails: Exception) -> None:
    """It was claimed and certainly not sent."""

    def prepare(_: object) -> object:
        raise fails

    sent = road.send(targets=["t1"])
    road.provider.prepare = prepare  # type: ignore[method-assign, assignment]
    if isinstance(fails, ContentError):
        assert worker.deliver()[0].startswith("1 failed")
    else:
        with pytest.raises(RuntimeError):
            worker.deliver()
    (delivery,) = road.deliveries(sent)
    assert delivery.status is (S.FAILED if isinstance(fails, ContentError) else S.RETRYING)
    assert delivery.attempts == 0


def test_a_worker_that_stops_gives_back_what_it_claimed(road: Road, worker: Worker) -> None:
    """Whoever comes next sends it."""
    sent = road.send(targets=["t1"])
    prepare = road.provider.prepare

    def stop(message: Any) -> object:
        worker.is_stopping = True
        return prepare(message)

    road.provider.prepare = stop  # type: ignore[method-assign, assignment]
    worker.deliver()
    assert len(road.provider.received) == 1
    road.provider.prepare = prepare  # type: ignore[method-assign]
    worker.is_stopping = False
    assert worker.deliver() == ["1 sent, done"]
    assert [(each.status, each.attempts) for each in road.deliveries(sent)] == [(S.ACCEPTED, 1)]


def test_a_message_that_was_cancelled_is_not_claimed(road: Road, worker: Worker) -> None:
    """Nothing is leased of what is not going out."""
    sent = road.send(targets=["t1"])
    road.execute("UPDATE messages SET state = (SELECT max(state) FROM messages) + 1 WHERE id = :id", id=sent.message_id)
    assert worker.deliver() == ["nothing to do"]
    assert road.statuses(sent) == {S.QUEUED: 1}


def test_who_wakes_too_late_ends_nothing(road: Road, worker: Worker) -> None:
    """Another has the batch by then: the answer is kept as evidence, and the row is whoever's who has it now."""
    sent = road.send(targets=["t1"])
    start = road.provider.prepare

    def lose(message: Any) -> object:
        road.execute("UPDATE batches SET claim = claim + 1, lease_until = now() + interval '1 minute' WHERE state = 1")
        return start(message)

    road.provider.prepare = lose  # type: ignore[method-assign, assignment]
    assert worker.deliver()[0].startswith("lease lost")
    assert road.statuses(sent) == {S.SENDING: 1}
