"""Receipts move deliveries on, once, in whatever order they come, and forged ones change nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import Channel, OnUnknown
from messaging.message import Email
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError, Inbound, Receipt, ReceiptKeyMissingError
from messaging.status import DeliveryStatus, MessageState
from messaging.store import providers, receipt_effects, receipts, suppressions
from messaging.store.suppressions import Scope
from tests.integration.road import Road
from workers import receipts as applying
from workers.pacing import NoPacer
from workers.providers.base import Account, Fetch

S = DeliveryStatus
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LETTER = Email(subject="Hello", content="there")


class Readers:
    """A provider module whose receipts are made of what the test says."""

    def __init__(self) -> None:
        self.told: dict[bytes, Sequence[Receipt] | Exception] = {}

    async def read_receipts(self, inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG002
        found = self.told[inbound.body]
        if isinstance(found, Exception):
            raise found
        return found


class Told:
    """Tells receipts through the door's table, and applies them."""

    def __init__(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        self.road = road
        self.module = Readers()
        monkeypatch.setattr(applying, "module_of", lambda _: self.module)
        self.worker = applying.Receipts(road.engine, road.vault, road.settings, NoPacer())
        self._number = 0

    def keep(self, told: Sequence[Receipt] | Exception, provider: str = "grid") -> None:
        """A request came in."""
        self._number += 1
        body = str(self._number).encode()
        self.module.told[body] = told
        with self.road.engine.begin() as connection:
            key = providers.get(connection, self.road.vault, self.road.project_id, provider).receipt_key
            assert receipts.keep(connection, key, method="POST", url="https://x/y", headers={}, body=body)

    def apply(self) -> int:
        """Work on what waits."""
        done, more = asyncio.run(self.worker.apply_waiting())
        assert not more
        return done

    def tell(self, *told: Receipt) -> None:
        """One request each, applied."""
        for each in told:
            self.keep([each])
        self.apply()


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """An email account and three readers."""
    made = Road(postgres_url, valkey_url)
    made.add_provider("grid", "sendgrid")
    yield made
    made.close()


@pytest.fixture
def told(road: Road, monkeypatch: pytest.MonkeyPatch) -> Told:
    """The way receipts come."""
    return Told(road, monkeypatch)


def send(road: Road, *addresses: str, on_unknown: OnUnknown | None = None) -> tuple[str, list[str]]:
    """A message that has left; its id and the tags it carried."""
    road.provider.received.clear()
    accepted = road.send(LETTER, addresses=addresses, on_unknown=on_unknown)
    road.expand(accepted.message_id)
    road.deliver()
    road.sweep()
    return accepted.public_id, [received.tag for received in sorted(road.provider.received, key=lambda r: r.address)]


def receipt(event: Event, tag: str | None, *, key: str = "", minute: int = 0, **fields: Any) -> Receipt:
    """One event."""
    at = NOW + timedelta(minutes=minute)
    return Receipt(event=event, tag=tag, key=key or f"{event} {tag} {minute}", at=at, **fields)


def statuses(road: Road, message_id: str) -> list[DeliveryStatus]:
    """Of its deliveries, in target order."""
    return [delivery.status for delivery in road.deliveries(message_id)]


def assert_sums(road: Road, message_id: str) -> None:
    """The batches' counters say what the rows say."""
    view = road.view(message_id)
    counted: dict[DeliveryStatus, int] = {}
    for status in statuses(road, message_id):
        counted[status] = counted.get(status, 0) + 1
    assert dict(view.totals) == counted


def test_delivered_and_bounced_move_what_was_accepted(road: Road, told: Told) -> None:
    """And the message's totals and state follow, though it was finished."""
    message, (ada, bob, eve) = send(road, "ada@example.com", "bob@example.com", "eve@example.com")
    assert road.view(message).state is MessageState.SENT
    told.tell(
        receipt(Event.DELIVERED, ada),
        receipt(Event.BOUNCED_HARD, bob, action=Action.DISABLE_TARGET, code="550 5.1.1", reason="unknown user"),
        receipt(Event.DEFERRED, eve),
    )
    assert statuses(road, message) == [S.DELIVERED, S.FAILED, S.ACCEPTED]
    failed = road.deliveries(message)[1]
    assert (failed.error_code, failed.error) == ("550 5.1.1", "unknown user")
    assert road.view(message).state is MessageState.PARTIALLY_SENT
    assert_sums(road, message)


def test_every_order_and_every_repetition_ends_the_same(road: Road, told: Told) -> None:
    """Told twice and shuffled: once on record each, and the same end."""
    message, (tag,) = send(road, "ada@example.com")
    story = [
        receipt(Event.ACCEPTED, tag, minute=0),
        receipt(Event.DEFERRED, tag, minute=1),
        receipt(Event.DELIVERED, tag, minute=2),
        receipt(Event.OPENED, tag, minute=3),
        receipt(Event.CLICKED, tag, minute=4),
    ]
    shuffled = story * 3
    random.Random(5).shuffle(shuffled)
    told.tell(*shuffled)
    assert statuses(road, message) == [S.DELIVERED]
    with road.engine.connect() as connection:
        events = connection.execute(text("SELECT event FROM delivery_events ORDER BY at")).scalars().all()
    assert events == [each.event for each in story]
    assert_sums(road, message)


def test_a_late_bounce_does_not_take_back_a_delivery(road: Road, told: Told) -> None:
    """Moves are monotonic; the event is on record all the same."""
    message, (tag,) = send(road, "ada@example.com")
    told.tell(receipt(Event.DELIVERED, tag), receipt(Event.BOUNCED_SOFT, tag, minute=9))
    assert statuses(road, message) == [S.DELIVERED]


def test_an_unknown_is_settled_and_one_that_waits_to_be_repeated_is_not_sent_again(road: Road, told: Told) -> None:
    """The receipt of an attempt without an answer."""
    road.provider.answer = lambda _: Outcome(Action.AMBIGUOUS_RETRY, "timeout")
    held, (first,) = send(road, "ada@example.com", on_unknown=OnUnknown.HOLD)
    assert statuses(road, held) == [S.UNKNOWN]
    road.provider.received.clear()
    accepted = road.send(LETTER, addresses=["bob@example.com"], on_unknown=OnUnknown.RETRY)
    road.deliver()
    assert statuses(road, accepted.public_id) == [S.RETRYING]
    told.tell(receipt(Event.DELIVERED, first), receipt(Event.DELIVERED, road.provider.received[0].tag))
    assert statuses(road, held) == statuses(road, accepted.public_id) == [S.DELIVERED]
    sent = len(road.provider.received)
    road.make_due()
    road.deliver()
    road.sweep()
    assert len(road.provider.received) == sent
    assert road.view(accepted.public_id).state is MessageState.SENT
    assert_sums(road, held)
    assert_sums(road, accepted.public_id)


def test_a_receipt_may_overtake_our_own_record(road: Road, told: Told) -> None:
    """It comes while the request is still in flight; the answer that follows changes nothing."""
    road.provider.during = lambda received: told.tell(receipt(Event.DELIVERED, received.tag))
    message, _ = send(road, "ada@example.com")
    assert statuses(road, message) == [S.DELIVERED]
    assert road.view(message).state is MessageState.SENT
    assert_sums(road, message)


def test_a_forged_one_changes_nothing_and_says_why(road: Road, told: Told) -> None:
    """Refused, on record, and looked at again once the account's key is another."""
    message, (tag,) = send(road, "ada@example.com")
    told.keep(ForgedReceiptError("the signature is wrong"))
    told.keep(ReceiptKeyMissingError("set webhookKey"))
    told.keep(ValueError("a bug in a reader"))
    told.apply()
    assert statuses(road, message) == [S.ACCEPTED]
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "grid")
        sums = receipts.sums(connection, number)
        assert (sums.applied, sums.refused, sums.held) == (0, 2, 1)
    for body in told.module.told:
        told.module.told[body] = [receipt(Event.DELIVERED, tag)]
    assert told.apply() == 0
    with road.engine.begin() as connection:
        providers.update(connection, road.vault, road.project_id, "grid", credentials={"webhookKey": "another"})
    assert told.apply() == 3
    assert statuses(road, message) == [S.DELIVERED]


def test_another_accounts_receipt_moves_nothing(road: Road, told: Told) -> None:
    """Whoever knows the address of one account can't speak for another."""
    road.add_provider("other", "sendgrid", priority=5)
    message, (tag,) = send(road, "ada@example.com")
    told.keep([receipt(Event.BOUNCED_HARD, tag)], provider="other")
    told.apply()
    assert statuses(road, message) == [S.ACCEPTED]


@pytest.mark.parametrize(("event", "scope"), [(Event.UNSUBSCRIBED, Scope.BULK), (Event.COMPLAINED, Scope.EVERYTHING)])
def test_who_opts_out_is_suppressed_as_far_as_they_asked(road: Road, told: Told, event: Event, scope: Scope) -> None:
    """A newsletter's opt-out leaves password codes alone; a complaint means everything."""
    _, (tag,) = send(road, "ada@example.com")
    told.tell(receipt(event, tag, action=Action.SUPPRESS_TARGET))
    with road.engine.connect() as connection:
        entry = suppressions.find(
            connection, road.vault, road.project_id, channel=Channel.EMAIL, address="ada@example.com"
        )
    assert entry is not None
    assert entry.scope is scope


def test_who_comes_back_lifts_their_own_opt_out_and_no_complaint(road: Road, told: Told) -> None:
    """`resubscribed` undoes `unsubscribed`."""
    _, (ada, bob) = send(road, "ada@example.com", "bob@example.com")
    told.tell(
        receipt(Event.UNSUBSCRIBED, ada, action=Action.SUPPRESS_TARGET),
        receipt(Event.COMPLAINED, bob, action=Action.SUPPRESS_TARGET),
    )
    told.tell(
        receipt(Event.RESUBSCRIBED, ada, action=Action.UNSUPPRESS_TARGET),
        receipt(Event.RESUBSCRIBED, bob, action=Action.UNSUPPRESS_TARGET),
    )
    with road.engine.connect() as connection:
        (left,) = suppressions.page(connection, road.project_id)
    assert left.reason == "complained"


def test_stop_and_start_by_text_message_are_about_a_number_and_no_message(road: Road, told: Told) -> None:
    """STOP suppresses everything to it, whatever the provider's word for it; START lifts that."""
    road.add_provider("texts", "twilio")
    stop = Receipt(
        event=Event.UNSUBSCRIBED, key="1", address="+14155550100", code="STOP", action=Action.SUPPRESS_TARGET
    )
    told.keep([stop], provider="texts")
    told.apply()
    with road.engine.connect() as connection:
        (entry,) = suppressions.page(connection, road.project_id)
    assert (entry.channel, entry.scope, entry.reason) == (Channel.SMS, Scope.EVERYTHING, "unsubscribed STOP")
    start = Receipt(
        event=Event.RESUBSCRIBED, key="2", address="+14155550100", code="START", action=Action.UNSUPPRESS_TARGET
    )
    told.keep([start], provider="texts")
    told.apply()
    with road.engine.connect() as connection:
        assert suppressions.page(connection, road.project_id) == []


def test_a_mailbox_that_is_gone_is_suppressed_once_the_verdict_has_stood(road: Road, told: Told) -> None:
    """The target expires, and the address stays on the list."""
    message, (tag,) = send(road, "ada@example.com")
    told.tell(receipt(Event.BOUNCED_HARD, tag, action=Action.DISABLE_TARGET, code="5.1.1"))
    again, _ = send(road, "ada@example.com")
    assert road.view(again).state is MessageState.FAILED
    road.settings = road.settings.model_copy(update={"dead_grace_s": 0.0})
    road.sweep()
    with road.engine.connect() as connection:
        (entry,) = suppressions.page(connection, road.project_id)
    assert (entry.reason, entry.scope) == ("bounced_hard", Scope.EVERYTHING)
    assert statuses(road, message) == [S.FAILED]


def test_receipts_that_call_most_addresses_dead_stop_the_account_instead(road: Road, told: Told) -> None:
    """A sender that lost its reputation bounces everywhere: nobody is retired for it."""
    message, tags = send(road, *(f"reader{number:03}@example.com" for number in range(80)))
    told.keep([receipt(Event.BOUNCED_HARD, tag, action=Action.DISABLE_TARGET) for tag in tags])
    told.apply()
    assert set(statuses(road, message)) == {S.FAILED}
    with road.engine.connect() as connection:
        dead = connection.execute(text("SELECT count(*) FROM targets WHERE dead_at IS NOT NULL")).scalar_one()
        view = providers.get(connection, road.vault, road.project_id, "grid")
    assert dead == 0
    assert view.stopped_reason is not None
    assert "most addresses dead" in view.stopped_reason


def test_a_receipt_without_our_tag_is_somebody_elses(road: Road, told: Told) -> None:
    """An account shared with another application."""
    message, _ = send(road, "ada@example.com")
    told.tell(receipt(Event.BOUNCED_HARD, None), receipt(Event.DELIVERED, "d999-1-1"), receipt(Event.DELIVERED, "hm"))
    assert statuses(road, message) == [S.ACCEPTED]
    with road.engine.connect() as connection:
        waiting = connection.execute(text("SELECT count(*) FROM receipts WHERE state <> 1")).scalar_one()
    assert waiting == 0


def test_a_signature_that_came_with_another_body_before_is_forged(road: Road, told: Told) -> None:
    """Where a provider signs a token and not the request; the same request told again is no forgery."""
    message, (tag,) = send(road, "ada@example.com")
    told.keep([receipt(Event.OPENED, tag, once="token")])
    told.keep([receipt(Event.BOUNCED_HARD, tag, once="token")])
    told.apply()
    assert statuses(road, message) == [S.ACCEPTED]
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "grid")
        sums = receipts.sums(connection, number)
        assert (sums.applied, sums.refused) == (1, 1)
        assert sums.last_refusal is not None
        assert "another request" in sums.last_refusal
        receipts.release_held(connection, number)
        connection.execute(text("UPDATE receipts SET state = 0"))
    told.apply()
    with road.engine.begin() as connection:
        assert receipts.sums(connection, number).applied == 1


def test_one_that_cannot_be_applied_keeps_no_other_waiting(
    road: Road, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put aside with the reason; its neighbours, before and after it, take effect."""
    message, (ada, bob, eve) = send(road, "ada@example.com", "bob@example.com", "eve@example.com")
    apply = receipt_effects.apply

    def stumbling(*arguments: Any) -> Any:
        if any(each.key == "poison" for each in arguments[-1]):
            raise ValueError("a bug")
        return apply(*arguments)

    monkeypatch.setattr(receipt_effects, "apply", stumbling)
    told.tell(receipt(Event.DELIVERED, ada), receipt(Event.DELIVERED, bob, key="poison"), receipt(Event.DELIVERED, eve))
    assert statuses(road, message) == [S.DELIVERED, S.ACCEPTED, S.DELIVERED]
    with road.engine.connect() as connection:
        sums = receipts.sums(connection, providers.find(connection, road.project_id, "grid"))
    assert (sums.applied, sums.refused, sums.waiting) == (2, 1, 0)
    assert sums.last_refusal == "It can't be applied (ValueError); the log has more."


def test_words_postgresql_does_not_take_are_cleaned(road: Road, told: Told) -> None:
    """A NUL or half a character in a provider's reason loses nobody's receipt."""
    message, (tag,) = send(road, "ada@example.com")
    told.tell(receipt(Event.REJECTED, tag, code="5\0", reason="half \ud800 of it" * 100))
    (failed,) = road.deliveries(message)
    assert (failed.status, failed.error_code) == (S.FAILED, "5")
    assert failed.error is not None
    assert failed.error.startswith("half ? of it")


@pytest.mark.parametrize("when", ["before it is sent", "while it waits"])
def test_an_opt_out_of_newsletters_holds_for_the_smallest_topic(road: Road, told: Told, when: str) -> None:
    """Its message takes the lane of password codes; those still come."""
    _, (tag,) = send(road, "ada@example.com")
    with road.engine.begin() as connection:
        target = connection.execute(text("SELECT id FROM targets")).scalar_one()
    road.add_topic("letter", [target])
    if when == "while it waits":
        letter = road.send(LETTER, topics=["letter"])
    told.tell(receipt(Event.UNSUBSCRIBED, tag, action=Action.SUPPRESS_TARGET))
    if when == "before it is sent":
        letter = road.send(LETTER, topics=["letter"])
    road.deliver()
    assert statuses(road, letter.public_id) == [S.SUPPRESSED]
    code, _ = send(road, "ada@example.com")
    assert statuses(road, code) == [S.ACCEPTED]
