"""Sending again what failed: the failed only, over an account that can."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messaging.channel import Lane
from messaging.message import Sms
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.producer import Accepted, expires_in_s
from messaging.status import DeliveryStatus, MessageState
from messaging.store.retry_failed import Retried, retry_failed
from tests.integration.road import OneAdapter, Road, Scripted
from workers.deliver import Deliverer
from workers.pacing import NoPacer
from workers.providers.base import Outgoing, Recipient

S = DeliveryStatus
BAD = Outcome(Action.REJECT_MESSAGE, "Bad", "It is bad.")
LOST = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer")


def sent_to(road: Road, *numbers: str, **options: object) -> Accepted:
    """A text message to these numbers, delivered as far as its provider lets it."""
    accepted = road.send(Sms(content="hello"), addresses=numbers, **options)
    road.expand(accepted.message_id)
    road.deliver()
    road.sweep()
    return accepted


def retried(road: Road, message: Accepted, *codes: str) -> Retried:
    """What retrying it came to."""
    with road.engine.begin() as connection:
        lives_s = expires_in_s(road.settings, road.view(message).channel, road.view(message).lane)
        return retry_failed(connection, road.view(message), codes=codes, expires_in_s=lives_s)


def numbers(count: int) -> list[str]:
    """Telephone numbers."""
    return [f"+1500555{each:04}" for each in range(count)]


def test_nothing_changes_where_nothing_failed(road: Road) -> None:
    """Neither the expiry nor the state of a message that all have accepted."""
    road.add_provider("twilio")
    message = sent_to(road, *numbers(3))
    road.execute("UPDATE messages SET expires_at = now() - interval '1 hour'")
    before = road.view(message)
    assert retried(road, message) == Retried(0, 0, [])
    assert road.view(message) == before


def test_a_message_that_has_expired_lives_as_long_as_a_new_one(road: Road) -> None:
    """Not as long as a newsletter, where it is a code."""
    road.add_provider("twilio")
    road.provider.answer = lambda _: BAD
    message = sent_to(road, *numbers(3))
    road.execute("UPDATE messages SET expires_at = now() - interval '1 hour'")
    assert retried(road, message).deliveries == 3
    after = road.view(message)
    lives_s = (after.expires_at - datetime.now(UTC)).total_seconds()
    assert after.lane is Lane.HIGH
    assert 0.9 * road.settings.expires_after_high_sms_s < lives_s <= road.settings.expires_after_high_sms_s + 5


def test_the_provider_is_told_the_new_end_by_a_worker_that_told_it_the_old_one(road: Road) -> None:
    """What a process remembers of a message is not older than the message."""
    road.add_provider("twilio")
    told: list[datetime] = []

    class Told(Scripted):
        def prepare(self, outgoing: Outgoing) -> object:
            told.append(outgoing.expires_at)
            return outgoing

    provider = Told(answer=lambda _: BAD)
    one: Any = OneAdapter(provider)  # stands for Adapters
    message = road.send(Sms(content="hello"), addresses=numbers(3))

    async def scenario() -> None:
        worker = Deliverer(road.engine, road.vault, road.settings, NoPacer(), one, road.publisher.publish)
        (ref,) = road.batches()
        await worker.deliver(ref)
        road.execute("UPDATE messages SET expires_at = now() - interval '1 hour'")
        assert retried(road, message).deliveries == 3
        provider.answer = lambda _: ACCEPTED
        await worker.deliver(ref)

    asyncio.run(scenario())
    assert told[-1] == road.view(message).expires_at > told[0] - timedelta(hours=1)
    assert len(told) == 2
    assert road.statuses(message) == {S.ACCEPTED: 3}


def test_a_message_that_still_lives_keeps_its_time(road: Road) -> None:
    """A code that is good for ten minutes is not sent three days later."""
    road.add_provider("twilio")
    road.provider.answer = lambda _: BAD
    message = sent_to(road, *numbers(3))
    before = road.view(message).expires_at
    assert retried(road, message).deliveries == 3
    assert road.view(message).expires_at == before


@pytest.mark.parametrize("how", ["UPDATE providers SET enabled = false", "DELETE FROM providers"])
def test_what_failed_over_an_account_that_is_gone_goes_over_another(road: Road, how: str) -> None:
    """Only the failed, and their sums move with them."""
    road.add_provider("old")
    road.provider.answer = lambda r: BAD if r.address.endswith(("1", "3")) else ACCEPTED
    message = sent_to(road, *numbers(5))
    road.execute(f"{how} WHERE public_id = 'old'")
    road.add_provider("new")
    road.others["new"] = other = Scripted()
    assert (retried(road, message).deliveries, retried(road, message).deliveries) == (2, 0)
    assert road.view(message).state is MessageState.PROCESSING
    road.deliver()
    road.sweep()
    assert sorted(r.address[-1] for r in other.received) == ["1", "3"]
    view = road.view(message)
    assert (view.state, view.total, view.totals) == (MessageState.SENT, 5, {S.ACCEPTED: 5})


def test_what_nobody_serves_is_counted_and_stays_failed(road: Road) -> None:
    """No account is enabled: the answer says how many that concerns."""
    road.add_provider("old")
    road.provider.answer = lambda _: BAD
    message = sent_to(road, *numbers(4))
    road.execute("UPDATE providers SET enabled = false")
    before = road.view(message)
    assert retried(road, message) == Retried(0, 4, [])
    assert road.view(message) == before


def test_targets_that_had_no_provider_go_when_there_is_one(road: Road) -> None:
    """They failed when the message was fanned out, and no batch of theirs has a provider."""
    apns, fcm = road.add_provider("apns", "apns"), road.add_provider("fcm", "fcm")
    road.add_topic(
        "news", [*road.add_push_targets(12, provider=apns), *road.add_push_targets(8, provider=fcm, first=50)]
    )
    road.execute("UPDATE providers SET enabled = false WHERE public_id = 'apns'")
    message = road.send(topics=["news"])
    road.expand(message.message_id)
    road.deliver()
    assert road.statuses(message) == {S.FAILED: 12, S.ACCEPTED: 8}
    assert (retried(road, message, "no_enabled_provider").unserved, retried(road, message, "other").unserved) == (12, 0)
    road.execute("UPDATE providers SET enabled = true")
    assert retried(road, message, "no_enabled_provider").deliveries == 12
    road.deliver()
    road.sweep()
    assert road.provider.doubled == 0
    assert road.view(message).totals == {S.ACCEPTED: 20}


def test_what_may_have_been_sent_goes_over_no_other_account(road: Road) -> None:
    """It failed in the end, after a request that nobody answered: the account that knows it is gone."""
    road.add_provider("old")
    road.provider.answer = lambda r: LOST if r.address.endswith("1") else BAD
    message = sent_to(road, *numbers(3), on_unknown="retry")
    road.provider.answer = lambda _: BAD
    road.make_due()
    road.deliver()
    assert road.statuses(message) == {S.FAILED: 3}
    road.execute("UPDATE providers SET enabled = false")
    road.add_provider("new")
    came_to = retried(road, message)
    assert (came_to.deliveries, came_to.unserved) == (2, 1)


def test_a_worker_that_records_meanwhile_is_waited_for(road: Road) -> None:
    """Retrying while the rest of the batch is being sent loses neither."""
    road.add_provider("twilio")
    road.provider.answer = lambda r: BAD if r.address.endswith("0") else ACCEPTED
    message = road.send(Sms(content="hello"), addresses=numbers(9))
    road.expand(message.message_id)

    def meanwhile(_: Recipient) -> None:
        retried(road, message)

    road.provider.during = meanwhile
    road.deliver()
    road.provider.during, road.provider.answer = None, lambda _: ACCEPTED
    retried(road, message)
    road.make_due()
    road.deliver()
    road.sweep()
    assert road.view(message).totals == {S.ACCEPTED: 9}
