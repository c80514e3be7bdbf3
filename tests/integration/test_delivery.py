"""Delivery: what a batch's rows become, and what a lost worker can and can't do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import OnUnknown
from messaging.errors import ContentError
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.status import DeliveryStatus, MessageState
from messaging.store import batches, ledger
from messaging.store.batches import BatchRef, LeaseLostError
from messaging.store.ledger import Verdict
from tests.integration.road import Road
from workers.providers.base import Outgoing, Recipient

S = DeliveryStatus
DEAD = Outcome(Action.DISABLE_TARGET, "Unregistered", "The device token is no longer active.")


def topic_of(road: Road, count: int, *, kind: str = "apns") -> None:
    """A topic `news` with `count` push targets."""
    road.add_topic("news", road.add_push_targets(count, provider=road.add_provider(kind, kind)))


@pytest.mark.parametrize("task_size", [None, 1, 7])
def test_every_target_of_a_topic_receives_once(postgres_url: str, valkey_url: str, task_size: int | None) -> None:
    """Whatever the size of a batch, one task per target included; the message ends with true totals."""
    road = Road(postgres_url, valkey_url, task_size=task_size)
    topic_of(road, 230)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    assert road.provider.doubled == 0
    assert len(road.provider.received) == 230
    assert road.sweep().finished == 1
    view = road.view(sent)
    assert (view.state, view.total, view.totals) == (MessageState.SENT, 230, {S.ACCEPTED: 230})
    road.close()


@pytest.mark.parametrize("count", [3, 60])
def test_each_row_keeps_the_id_its_own_answer_brought(road: Road, count: int) -> None:
    """Where some bring none, and whatever an id holds; in batches of few and of many."""
    topic_of(road, count)

    def id_of(number: int) -> str | None:
        return (None, f"id-{number}", f'o\'dd\x1f"{number}",{{}}')[number % 3]

    road.provider.answer = lambda recipient: replace(ACCEPTED, provider_message_id=id_of(int(recipient.address, 16)))
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    kept = {int(str(each.identifier), 16): each.provider_message_id for each in road.deliveries(sent)}
    assert len(kept) == count
    for number, name in kept.items():
        own = id_of(number)
        if own is None:
            assert name is not None
            assert len(name) == len("00000000-0000-0000-0000-000000000000")  # the delivery's own
        else:
            assert name == own.replace("\x1f", " ")


def test_each_answer_ends_where_the_table_says(road: Road) -> None:
    """Accepted, failed, suppressed, retried then accepted; the sums equal the total."""
    topic_of(road, 40)
    answers = {
        "1": DEAD,
        "2": Outcome(Action.REJECT_MESSAGE, "PayloadEmpty", "empty"),
        "3": Outcome(Action.SUPPRESS_TARGET, "21610", "opted out"),
        "4": Outcome(Action.RETRY, "InternalServerError", "try again"),
    }
    first: set[str] = set()

    def answer(recipient: Recipient) -> Outcome:
        outcome = answers.get(recipient.address[-1], ACCEPTED)
        if outcome.action is Action.RETRY and recipient.attempt > 1:
            return ACCEPTED
        first.add(recipient.tag)
        return outcome

    road.provider.answer = answer
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    assert road.deliver() == ["40 sent, due again in 0.0 s"] or road.statuses(sent)[S.RETRYING]
    road.make_due()
    road.deliver()
    road.sweep()
    counted = road.statuses(sent)
    assert counted == {S.ACCEPTED: 40 - 9, S.FAILED: 6, S.SUPPRESSED: 3}
    view = road.view(sent)
    assert view.totals == counted
    assert (view.state, view.total) == (MessageState.PARTIALLY_SENT, 40)


def test_a_retry_waits_longer_each_time_and_gives_up_after_the_last_attempt(road: Road) -> None:
    """Eight attempts, each row with its own count, then failed with the provider's reason."""
    topic_of(road, 12)
    road.provider.answer = lambda _: Outcome(Action.RETRY, "InternalServerError", "server error")
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    for _ in range(road.settings.max_attempts):
        road.make_due()
        road.deliver()
    assert road.statuses(sent) == {S.FAILED: 12}
    assert {(d.attempts, d.error_code) for d in road.deliveries(sent)} == {(8, "InternalServerError")}
    assert len(road.provider.received) == 12 * 8


def test_a_throttled_account_costs_no_attempt(road: Road) -> None:
    """Twenty 429s in a row, then accepted on the first counted attempt."""
    topic_of(road, 12)
    road.provider.answer = lambda _: Outcome(Action.RETRY_AFTER, "429", "slow down", retry_after_s=0.01)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    for _ in range(20):
        road.make_due()
        road.deliver()
    road.provider.answer = lambda _: ACCEPTED
    road.make_due()
    road.deliver()
    assert {(d.status, d.attempts) for d in road.deliveries(sent)} == {(S.ACCEPTED, 1)}


def test_an_unknown_outcome_is_retried_or_held_as_the_message_says(road: Road) -> None:
    """Retry counts the doubt; hold ends as unknown, and is never sent again."""
    topic_of(road, 12)
    lost = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer")
    for policy, status, doubts in ((OnUnknown.RETRY, S.ACCEPTED, 1), (OnUnknown.HOLD, S.UNKNOWN, 1)):
        road.provider.answer = lambda _: lost
        sent = road.send(topics=["news"], on_unknown=policy)
        road.expand(sent.message_id)
        road.deliver()
        road.provider.answer = lambda _: ACCEPTED
        road.make_due()
        road.deliver()
        road.sweep()
        assert {(d.status, d.doubts) for d in road.deliveries(sent)} == {(status, doubts)}
        assert road.view(sent).doubtful == (12 if policy is OnUnknown.RETRY else 0)
        assert road.view(sent).state is MessageState.SENT


class TestALostWorker:
    """Killed between claim and record, or asleep past its lease."""

    def in_flight(self, road: Road, *, on_unknown: OnUnknown | None = None) -> BatchRef:
        """A batch that a worker has leased and claimed, and then nothing."""
        topic_of(road, 12)
        sent = road.send(topics=["news"], on_unknown=on_unknown)
        road.expand(sent.message_id)
        (ref,) = road.batches()
        with road.engine.begin() as connection:
            owned = batches.lease(connection, ref, lease_s=60)
            assert owned is not None
            claimed = ledger.claim(connection, owned, after=0, window=5, bulk=True, lease_s=60)
        assert claimed is not None
        assert len(claimed.claimed) == 5
        self.owned, self.sent, self.claimed = owned, sent, claimed.claimed
        return ref

    def test_nobody_else_touches_its_batch_while_the_lease_runs(self, road: Road) -> None:
        """A doubled hint finds nothing to do."""
        ref = self.in_flight(road)
        assert road.deliver(ref) == ["nothing to do"]
        assert road.provider.received == []

    def test_after_the_lease_another_worker_sends_the_rest_and_what_was_in_doubt(self, road: Road) -> None:
        """With retry each in-doubt row is sent again and counted as possibly doubled; none is lost."""
        ref = self.in_flight(road)
        road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
        assert road.sweep().hinted == 1
        assert "12 sent, done" in road.deliver(ref)[0]
        assert road.statuses(self.sent) == {S.ACCEPTED: 12}
        assert road.view(self.sent).doubtful == 5

    def test_with_hold_what_was_in_doubt_stays_unknown(self, road: Road) -> None:
        """No second code on a guess: the rest is sent, the window in doubt is not."""
        ref = self.in_flight(road, on_unknown=OnUnknown.HOLD)
        road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
        road.deliver(ref)
        assert road.statuses(self.sent) == {S.ACCEPTED: 7, S.UNKNOWN: 5}
        assert len(road.provider.received) == 7

    def test_its_late_answers_settle_what_is_unknown_and_nothing_else(self, road: Road) -> None:
        """The stale worker can't write; its evidence can."""
        ref = self.in_flight(road, on_unknown=OnUnknown.HOLD)
        road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
        road.deliver(ref)
        verdicts = [Verdict(c.target_id, S.ACCEPTED) for c in self.claimed[:3]]
        verdicts.append(Verdict(self.claimed[-1].target_id + 3, S.FAILED, error_code="late"))
        with road.engine.begin() as connection, pytest.raises(LeaseLostError):
            batches.hold(connection, self.owned, lease_s=60)
        with road.engine.begin() as connection, pytest.raises(LeaseLostError):
            ledger.record(connection, self.owned, verdicts, lease_s=60)
        with road.engine.begin() as connection:
            assert ledger.keep_late(connection, self.owned, verdicts) == 3
        assert road.statuses(self.sent) == {S.ACCEPTED: 10, S.UNKNOWN: 2}
        assert road.view(self.sent).totals == road.statuses(self.sent)

    def test_a_cancelled_message_ends_what_was_in_flight_as_unknown(self, road: Road) -> None:
        """It may have been sent: calling it cancelled would be a lie."""
        self.in_flight(road)
        road.execute("UPDATE messages SET state = 7")
        assert road.sweep().closed == 0, "the lease still runs"
        road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
        road.sweep()
        assert road.statuses(self.sent) == {S.UNKNOWN: 5, S.CANCELLED: 7}
        assert road.sweep().finished + (road.view(self.sent).finished_at is not None) >= 1
        assert road.view(self.sent).state is MessageState.CANCELLED


def test_two_workers_on_one_batch_send_nothing_twice(road: Road) -> None:
    """The hint delivered three times at once leads to one send per target."""
    topic_of(road, 60)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    refs = road.batches() * 3

    async def at_once() -> list[str]:
        from tests.integration.road import OneAdapter  # noqa: PLC0415
        from workers.deliver import Deliverer  # noqa: PLC0415
        from workers.pacing import NoPacer  # noqa: PLC0415

        one: Any = OneAdapter(road.provider)  # stands for Adapters
        workers = [
            Deliverer(road.engine, road.vault, road.settings, NoPacer(), one, road.publisher.publish) for _ in refs
        ]
        return list(await asyncio.gather(*(w.deliver(ref) for w, ref in zip(workers, refs, strict=True))))

    assert sorted(asyncio.run(at_once())) == ["60 sent, done", "nothing to do", "nothing to do"]
    assert road.provider.doubled == 0


class TestControl:
    """Cancel, pause and expiry, in flight."""

    def test_cancelled_midway_it_sends_no_further_window(self, postgres_url: str, valkey_url: str) -> None:
        """What was in flight is recorded; the rest is cancelled, row by row."""
        road = Road(postgres_url, valkey_url, window_max=20)
        topic_of(road, 300)
        sent = road.send(topics=["news"])
        road.expand(sent.message_id)
        road.provider.during = lambda _: road.execute("UPDATE messages SET state = 7, failure = 'Cancelled.'")
        road.deliver()
        for _ in range(2):
            road.sweep()
        counted = road.statuses(sent)
        assert counted[S.ACCEPTED] == len(road.provider.received) <= 40
        assert counted[S.CANCELLED] == 300 - counted[S.ACCEPTED]
        assert road.view(sent).state is MessageState.CANCELLED
        road.close()

    def test_paused_and_resumed_it_sends_exactly_the_rest(self, postgres_url: str, valkey_url: str) -> None:
        """Nobody receives twice and nobody is left out."""
        road = Road(postgres_url, valkey_url, window_max=20)
        topic_of(road, 300)
        sent = road.send(topics=["news"])
        road.expand(sent.message_id)
        road.provider.during = lambda _: road.execute("UPDATE messages SET state = 3 WHERE state = 2")
        road.deliver()
        received = len(road.provider.received)
        assert 0 < received <= 40
        assert set(road.deliver()) == {"nothing to do"}
        assert road.sweep().hinted == 0
        road.provider.during = None
        road.execute("UPDATE messages SET state = 2")
        road.deliver()
        assert road.provider.doubled == 0
        assert road.statuses(sent) == {S.ACCEPTED: 300}
        road.close()

    def test_a_cancelled_fanout_inserts_no_more_rows(self, road: Road) -> None:
        """The total is what has been expanded."""
        topic_of(road, 250)
        sent = road.send(topics=["news"])
        road.execute("UPDATE messages SET state = 7, failure = 'Cancelled.'")
        road.expand(sent.message_id)
        road.sweep()
        assert (road.view(sent).total, road.view(sent).state) == (0, MessageState.CANCELLED)

    def test_what_expires_says_so_and_what_may_have_been_sent_does_not(self, road: Road) -> None:
        """Queued rows expire; a row with an unknown attempt behind it ends as unknown."""
        topic_of(road, 20)
        lost = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer")
        again = Outcome(Action.RETRY, "503", "later")
        road.provider.answer = lambda r: lost if r.address.endswith("1") else again
        sent = road.send(topics=["news"])
        road.expand(sent.message_id)
        road.deliver()
        road.execute("UPDATE messages SET expires_at = now()")
        for _ in range(2):
            road.sweep()
        assert road.statuses(sent) == {S.UNKNOWN: 2, S.EXPIRED: 18}
        assert road.view(sent).state is MessageState.PARTIALLY_SENT


class TestDeadAddresses:
    """Skipped at once, expired a little later, unless the provider is wrong about most of them."""

    def test_a_dead_address_is_skipped_at_once_and_expired_after_the_grace(self, road: Road) -> None:
        """The next message does not reach for it, and a minute later it is expired."""
        topic_of(road, 40)
        road.provider.answer = lambda r: DEAD if r.address.endswith("7") else ACCEPTED
        sent = road.send(topics=["news"])
        road.expand(sent.message_id)
        road.deliver()
        again = road.send(topics=["news"])
        road.expand(again.message_id)
        assert road.view(again).total == 37
        assert road.sweep().expired_targets == 0
        road.execute("UPDATE dead_verdicts SET created_at = now() - interval '2 minutes'")
        assert road.sweep().expired_targets == 3
        assert road.statuses(sent)[S.FAILED] == 3

    def test_a_target_registered_after_the_verdict_lives(self, road: Road) -> None:
        """APNs says since when a token is dead; one that came back later is not retired."""
        topic_of(road, 20)
        with road.engine.begin() as connection:
            before = connection.execute(text("SELECT min(registered_at) - interval '1 day' FROM targets")).scalar()
        road.provider.answer = lambda _: replace(DEAD, dead_since=before)
        sent = road.send(targets=["t1"])
        road.deliver()
        assert road.statuses(sent) == {S.FAILED: 1}
        with road.engine.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM targets WHERE dead_at IS NOT NULL")).scalar() == 0

    def test_a_provider_that_calls_most_addresses_dead_is_stopped_and_nobody_is_expired(self, road: Road) -> None:
        """A wrong certificate must not retire every device: the deliveries wait for the operator."""
        topic_of(road, 200)
        road.provider.answer = lambda _: replace(DEAD, code="BadDeviceToken")
        sent = road.send(topics=["news"])
        road.expand(sent.message_id)
        road.deliver()
        road.sweep()
        assert set(road.statuses(sent)) <= {S.QUEUED, S.RETRYING}
        assert road.statuses(sent).total() == 200
        with road.engine.begin() as connection:
            reason = connection.execute(text("SELECT stopped_reason FROM providers")).scalar()
            assert connection.execute(text("SELECT count(*) FROM targets WHERE dead_at IS NOT NULL")).scalar() == 0
        assert "most addresses dead" in str(reason)
        # mended: the operator starts it again, and everybody is reached
        road.provider.answer = lambda _: ACCEPTED
        road.execute("UPDATE providers SET stopped_at = NULL, stopped_reason = NULL")
        for _ in range(2):
            road.make_due()
            road.deliver()
        road.sweep()
        assert road.statuses(sent) == {S.ACCEPTED: 200}
        assert road.view(sent).state is MessageState.SENT


def test_a_stopped_provider_keeps_its_deliveries_waiting(road: Road) -> None:
    """No attempt is burnt, no hint is sent, and the message says what it waits for."""
    topic_of(road, 20)
    road.provider.answer = lambda _: Outcome(Action.STOP_PROVIDER, "InvalidProviderToken", "The key is refused.")
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    assert {(d.status, d.attempts) for d in road.deliveries(sent)} <= {(S.RETRYING, 0), (S.QUEUED, 0)}
    assert "InvalidProviderToken" in (road.view(sent).waiting_for or "")
    road.make_due()
    assert road.sweep().hinted == 0


def test_content_a_provider_cannot_express_fails_with_its_reason(road: Road) -> None:
    """The message ends; nothing stays `processing`."""
    topic_of(road, 12)

    def refuse(outgoing: Outgoing) -> object:
        raise ContentError(f"{outgoing.message_id} has too many bytes.", "PayloadTooLarge")

    road.provider.prepare = refuse  # type: ignore[method-assign]
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    road.sweep()
    assert {(d.status, d.error_code) for d in road.deliveries(sent)} == {(S.FAILED, "PayloadTooLarge")}
    assert road.view(sent).state is MessageState.FAILED


def test_a_target_deleted_meanwhile_ends_as_failed(road: Road) -> None:
    """Its row stays in the ledger and says why."""
    topic_of(road, 12)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.execute("DELETE FROM targets WHERE public_id = 't3'")
    road.deliver()
    road.sweep()
    assert road.statuses(sent) == {S.ACCEPTED: 11, S.FAILED: 1}
    assert {d.error_code for d in road.deliveries(sent)} == {None, "target_deleted"}


def test_the_ledger_refuses_moves_that_are_not_in_the_table(road: Road) -> None:
    """Nothing moves from sending to cancelled or queued."""
    topic_of(road, 12)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    (ref,) = road.batches()
    with road.engine.begin() as connection:
        owned = batches.lease(connection, ref, lease_s=60)
        assert owned is not None
        for status in (S.CANCELLED, S.QUEUED, S.DELIVERED):
            with pytest.raises(ValueError, match="No delivery moves"):
                ledger.record(connection, owned, [Verdict(1, status)], lease_s=60)
