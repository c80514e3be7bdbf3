"""What came of every attempt stays known, whatever came after it."""

from __future__ import annotations

from sqlalchemy import text

from messaging.channel import OnUnknown
from messaging.message import Sms
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.producer import Accepted, expires_in_s
from messaging.status import DeliveryStatus
from messaging.store import batches, dead_targets, ledger, past_attempts
from messaging.store.past_attempts import AttemptView
from messaging.store.retry_failed import retry_failed
from tests.integration.road import Road

DOWN = Outcome(Action.RETRY, "503", "Service unavailable")
BUSY = Outcome(Action.RETRY_AFTER, "429", "Too many requests", retry_after_s=0.01)
BAD = Outcome(Action.REJECT_MESSAGE, "21211", "Invalid number")
SILENT = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "No answer")
ADA, BOB = "+15005550001", "+15005550002"


def past(road: Road, message: Accepted) -> list[list[AttemptView]]:
    """Those of each delivery of the message, in target order."""
    view = road.view(message)
    assert view.month is not None
    targets = [each.cursor for each in road.deliveries(message)]
    with road.engine.begin() as connection:
        found = past_attempts.of_deliveries(connection, view.month, view.number, targets)
    return [found.get(target, []) for target in targets]


def said(of_delivery: list[AttemptView]) -> list[tuple[int, str | None, str | None, int]]:
    """Number, provider and code of each, and how often it was so."""
    return [(each.attempt, each.provider_id, each.code, each.times) for each in of_delivery]


def sent(road: Road, *answers: Outcome, to: tuple[str, ...] = (ADA,)) -> Accepted:
    """A text message whose attempts are answered so, one after the other."""
    message = road.send(Sms(content="hello"), addresses=to, on_unknown=OnUnknown.RETRY)
    road.expand(message.message_id)
    for answer in answers:
        road.provider.answer = lambda _, answer=answer: answer  # type: ignore[misc]
        road.make_due()
        road.deliver()
    return message


def retry(road: Road, message: Accepted) -> int:
    """How many deliveries are sent again."""
    with road.engine.begin() as connection:
        view = road.view(message)
        lives_s = expires_in_s(road.settings, view.channel, view.lane)
        return retry_failed(connection, view, codes=(), expires_in_s=lives_s).deliveries


def test_every_attempt_before_the_last_is_told_with_its_reason(road: Road) -> None:
    """The last one stands in the ledger itself."""
    road.add_provider("twilio")
    message = sent(road, DOWN, SILENT, ACCEPTED)
    (found,) = past(road, message)
    assert said(found) == [(1, "twilio", "503", 1), (2, "twilio", "timeout", 1)]
    assert [each.reason for each in found] == ["Service unavailable", "No answer"]
    assert found[0].at <= found[1].at
    (row,) = road.deliveries(message)
    assert (row.status, row.attempts) == (DeliveryStatus.ACCEPTED, 3)


def test_who_is_accepted_at_once_costs_no_row(road: Road) -> None:
    """Nor does one that is refused for good."""
    road.add_provider("twilio")
    sent(road, ACCEPTED, to=(ADA, BOB))
    sent(road, BAD)
    with road.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM past_attempts")).scalar() == 0


def test_too_many_requests_are_counted_and_not_listed(road: Road) -> None:
    """They cost no attempt, and may be many."""
    road.add_provider("twilio")
    (found,) = past(road, sent(road, BUSY, BUSY, BUSY, DOWN, ACCEPTED))
    assert said(found) == [(1, "twilio", "429", 3), (1, "twilio", "503", 1)]
    assert found[0].first_at < found[0].at


def test_what_is_put_back_unsent_made_no_attempt(road: Road) -> None:
    """A batch that stops half-way leaves rows that nobody tried."""
    road.add_provider("twilio")
    message = road.send(Sms(content="hello"), addresses=[ADA])
    road.expand(message.message_id)
    (ref,) = road.batches()
    with road.engine.begin() as connection:
        owned = batches.lease(connection, ref, lease_s=30)
        assert owned is not None
        window = ledger.claim(connection, owned, after=0, window=9, bulk=False, lease_s=30)
        assert window is not None
        (claimed,) = window.claimed
        verdict = ledger.Verdict(claimed.target_id, DeliveryStatus.RETRYING, refund=1, error_code=ledger.UNSENT)
        assert ledger.record(connection, owned, [verdict], lease_s=30) == 1
    assert past(road, message) == [[]]


def test_an_attempt_that_died_with_its_worker_is_among_them(road: Road) -> None:
    """It may have been sent, and is sent again."""
    road.add_provider("twilio")
    message = road.send(Sms(content="hello"), addresses=[ADA], on_unknown=OnUnknown.RETRY)
    road.expand(message.message_id)
    (ref,) = road.batches()
    with road.engine.begin() as connection:
        owned = batches.lease(connection, ref, lease_s=30)
        assert owned is not None
        assert ledger.claim(connection, owned, after=0, window=9, bulk=False, lease_s=30) is not None
    road.execute("UPDATE batches SET lease_until = now() - interval '1 second'")
    road.deliver(ref)
    (found,) = past(road, message)
    assert said(found) == [(1, "twilio", "worker_lost", 1)]
    assert "may have been sent" in str(found[0].reason)


def test_a_failure_that_somebody_sends_again_is_not_forgotten(road: Road) -> None:
    """Not when it goes over another account, either."""
    road.add_provider("twilio")
    message = sent(road, DOWN, BAD)
    assert retry(road, message) == 1
    sent_again = [(1, "twilio", "503", 1), (2, "twilio", "21211", 1)]
    assert [said(each) for each in past(road, message)] == [sent_again]
    road.provider.answer = lambda _: BAD
    road.make_due()
    road.deliver()
    road.add_provider("other")
    road.execute("UPDATE providers SET enabled = false WHERE public_id = 'twilio'")
    assert retry(road, message) == 1
    assert [said(each) for each in past(road, message)] == [[*sent_again, (1, "twilio", "21211", 1)]]


def test_what_failed_before_anybody_tried_it_made_no_attempt(road: Road) -> None:
    """An address that died while its message waited, sent again by hand."""
    provider = road.add_provider("apple", "apns")
    road.add_topic("news", road.add_push_targets(3, provider=provider))
    message = road.send(topics=["news"])
    road.expand(message.message_id)
    road.execute("UPDATE targets SET expired_at = now()")
    road.deliver()
    assert road.statuses(message) == {DeliveryStatus.FAILED: 3}
    assert retry(road, message) == 3
    assert past(road, message) == [[], [], []]


def test_a_verdict_that_is_withdrawn_is_told(road: Road) -> None:
    """The provider called the address dead, and was not believed."""
    provider = road.add_provider("apple", "apns")
    road.add_topic("news", road.add_push_targets(3, provider=provider))
    road.provider.answer = lambda _: Outcome(Action.DISABLE_TARGET, "Unregistered", "The device token is not active.")
    message = road.send(topics=["news"])
    road.expand(message.message_id)
    road.deliver()
    with road.engine.begin() as connection:
        dead_targets.withdraw(connection, provider, reason="most were dead")
    assert [said(each) for each in past(road, message)] == [[(1, "apple", "Unregistered", 1)]] * 3


def test_a_month_of_before_has_its_place_for_them(road: Road) -> None:
    """A delivery of last month may be tried again in this one."""
    with road.engine.begin() as connection:
        partitions = {
            table: connection.execute(
                text("SELECT count(*) FROM pg_inherits WHERE inhparent = CAST(:name AS regclass)"), {"name": table}
            ).scalar_one()
            for table in ("deliveries", "past_attempts")
        }
    assert partitions["deliveries"] == partitions["past_attempts"] > 0
