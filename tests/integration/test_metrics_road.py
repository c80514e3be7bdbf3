"""What workers count along the road is what became of the deliveries, and names nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from messaging.channel import OnUnknown
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.store import batches, ledger, messages
from messaging.wire import TaskName
from tests.integration.road import Road
from workers import intake
from workers.intake import IntakeTask, RefusedError
from workers.metrics import REGISTRY
from workers.pace import Pace
from workers.pacing import RedisPacer
from workers.providers.base import Recipient

PUSH = {"channel": "push", "kind": "apns"}


class Counts:
    """What was counted since the test began."""

    def __init__(self) -> None:
        self._before = self._all()

    @staticmethod
    def _all() -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        """By how much a sample grew."""
        key = (f"heliograph_{name}", frozenset(labels.items()))
        return self._all().get(key, 0.0) - self._before.get(key, 0.0)


@pytest.fixture
def counts(road: Road) -> Counts:
    """Before anything is sent to a topic of forty."""
    road.add_topic("news", road.add_push_targets(40, provider=road.add_provider("apns", "apns")))
    return Counts()


def sent(road: Road, **more: Any) -> Any:
    """A message to the topic, expanded."""
    accepted = road.send(topics=["news"], **more)
    road.expand(accepted.message_id)
    return accepted


def answers(recipient: Recipient) -> Outcome:
    """By the last digit of the token."""
    return {
        "1": Outcome(Action.DISABLE_TARGET, "Unregistered", f"{recipient.address} is gone"),
        "2": Outcome(Action.REJECT_MESSAGE, "PayloadEmpty", "empty"),
        "3": Outcome(Action.SUPPRESS_TARGET, "21610", "opted out"),
        "4": Outcome(Action.RETRY, "InternalServerError", "try again"),
        "5": Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer"),
    }.get(recipient.address[-1], ACCEPTED)


def test_outcomes_are_counted_by_status_and_reason(road: Road, counts: Counts) -> None:
    """40 tokens, whose last digits are spread over sixteen: each kind of answer as often as it was given."""
    road.provider.answer = answers
    sent(road, on_unknown=OnUnknown.HOLD)
    road.deliver()
    assert counts.of("deliveries_expanded_total", channel="push", lane="bulk") == 40
    by_status = {
        status: counts.of("deliveries_total", **PUSH, status=status)
        for status in ("accepted", "failed", "suppressed", "unknown")
    }
    assert by_status == {"accepted": 40 - 3 * 5, "failed": 6, "suppressed": 3, "unknown": 3}
    for reason in ("disable_target", "reject_message", "suppress_target", "ambiguous_retry"):
        assert counts.of("delivery_failures_total", **PUSH, reason=reason) == 3, reason
    assert counts.of("delivery_retries_total", **PUSH, reason="retry") == 3


def test_nothing_is_in_hand_when_nothing_is_under_way(road: Road, counts: Counts) -> None:
    """While requests are in flight their rows are; when a run breaks in the middle they are let go of."""
    seen: list[float] = []
    road.provider.during = lambda _: seen.append(counts.of("deliveries_in_hand", **PUSH))
    sent(road)
    road.deliver()
    assert max(seen) == 40
    assert counts.of("deliveries_in_hand", **PUSH) == 0


def test_time_in_queue_is_told_once_per_batch_and_time_at_the_provider_of_a_sample(road: Road, counts: Counts) -> None:
    """By lane, and by kind."""
    sent(road)
    road.execute("UPDATE messages SET created_at = now() - interval '20 seconds'")
    road.deliver()
    assert counts.of("queue_seconds_count", channel="push", lane="bulk") == 1
    assert 20 <= counts.of("queue_seconds_sum", channel="push", lane="bulk") < 80
    assert counts.of("provider_request_seconds_count", kind="apns") == 1


def test_a_draft_waits_from_when_it_was_told_to_go(road: Road, counts: Counts) -> None:
    """Not for the week it lay about."""
    sent(road)
    road.execute("UPDATE messages SET created_at = now() - interval '7 days', begun_at = now()")
    road.deliver()
    assert counts.of("queue_seconds_sum", channel="push", lane="bulk") < 3600


def test_what_a_lost_worker_left_is_counted_where_it_is_taken_over(road: Road, counts: Counts) -> None:
    """The batch, and who was in flight."""
    sent(road)
    (ref,) = road.batches()
    with road.engine.begin() as connection:
        owned = batches.lease(connection, ref, lease_s=60)
        assert owned is not None
        assert ledger.claim(connection, owned, after=0, window=5, bulk=True, lease_s=60)
    road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
    road.deliver(ref)
    assert counts.of("batches_taken_over_total", channel="push") == 1
    assert counts.of("deliveries_in_doubt_total", channel="push") == 5
    assert counts.of("queue_seconds_count", channel="push", lane="bulk") == 0


def test_who_is_skipped_at_the_claim_is_counted_too(road: Road, counts: Counts) -> None:
    """A target that was reported dead meanwhile."""
    sent(road)
    road.execute("UPDATE targets SET dead_at = now() WHERE id % 4 = 0")
    road.deliver()
    assert counts.of("delivery_failures_total", **PUSH, reason="target_expired") == 10
    assert counts.of("deliveries_total", **PUSH, status="failed") == 10
    assert counts.of("deliveries_total", **PUSH, status="accepted") == 30


def test_an_account_that_is_stopped_is_counted_once(road: Road, counts: Counts) -> None:
    """However many of its answers say so."""
    road.provider.answer = lambda _: Outcome(Action.STOP_PROVIDER, "InvalidProviderToken", "refused")
    sent(road)
    road.deliver()
    assert counts.of("provider_stops_total", kind="apns", why="stop_provider") == 1


def test_sweeps_and_what_they_close_are_counted(road: Road, counts: Counts) -> None:
    """A cancelled message's deliveries end as that."""
    accepted = sent(road)
    with road.engine.begin() as connection:
        messages.cancel(connection, road.project_id, accepted.public_id)
    road.sweep()
    assert counts.of("sweeps_total") == 1
    assert counts.of("swept_total", what="closed") == 1
    assert counts.of("deliveries_total", **PUSH, status="cancelled") == 40
    assert counts.of("delivery_failures_total", **PUSH, reason="cancelled") == 0


def test_tasks_of_producers_are_counted_by_what_became_of_them(road: Road, counts: Counts) -> None:
    """One that became a message, and one that names somebody else's project."""
    said = {"title": "Hi", "topics": ["news"]}
    ours = IntakeTask(task_id="t-1", name=TaskName.SEND_PUSH, kwargs=said)
    nobodys = IntakeTask(task_id="t-2", name=TaskName.SEND_PUSH, kwargs=said, queue="messaging.nobody")
    intake.take(road.engine, road.vault, road.settings, ours)
    with pytest.raises(RefusedError):
        intake.take(road.engine, road.vault, road.settings, nobodys)
    assert counts.of("intake_tasks_total", task="messaging.send_push", outcome="accepted") == 1
    assert counts.of("intake_tasks_total", task="messaging.send_push", outcome="refused") == 1


def test_a_window_that_waits_for_its_accounts_pace_is_counted(road: Road, counts: Counts, valkey_url: str) -> None:
    """By the limit that held it up, with the time it was told."""

    async def reserve() -> None:
        pacer = RedisPacer(valkey_url, prefix="test:metrics")
        pace = Pace(per_second=10.0)
        try:
            while (await pacer.reserve(1, 10, pace=pace, high=True)).granted:
                pass
        finally:
            await pacer.aclose()

    assert road.project_id
    asyncio.run(reserve())
    assert counts.of("pacing_waits_total", limit="second") == 1
    assert counts.of("pacing_wait_seconds_total", limit="second") > 0


def test_no_address_and_no_text_of_a_provider_is_exported(road: Road, counts: Counts) -> None:
    """Whatever is answered."""
    road.provider.answer = answers
    sent(road)
    road.deliver()
    assert counts.of("deliveries_total", **PUSH, status="failed")
    text = generate_latest(REGISTRY).decode()
    addresses = {recipient.address for recipient in road.provider.received}
    assert addresses
    assert not [word for word in (*addresses, "Unregistered", "21610", "is gone") if word in text]
