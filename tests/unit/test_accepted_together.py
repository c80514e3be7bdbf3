"""Accepted rows are written together: by target, each with the id its own answer brought."""

from __future__ import annotations

from datetime import UTC, date, datetime

from messaging.channel import Lane
from messaging.status import DeliveryStatus
from messaging.store.batches import BatchRef, Lease
from messaging.store.ledger import Verdict, said_of_accepted

OWNED = Lease(
    ref=BatchRef(date(2026, 11, 1), 7),
    claim=1,
    message_id=2,
    provider_id=3,
    first_target=1,
    last_target=9,
    open=3,
    deaths=0,
    suspect_target=None,
    lane=Lane.BULK,
    expires_at=datetime(2026, 11, 2, tzinfo=UTC),
)


def said(*answers: tuple[int, str | None]) -> tuple[object, object]:
    """(targets, ids) of what is written for answers in that order."""
    verdicts = [Verdict(target, DeliveryStatus.ACCEPTED, provider_message_id=name) for target, name in answers]
    found = said_of_accepted(OWNED, verdicts, lease_s=60.0)
    return found["targets"], found["provider_ids"]


def test_answers_in_any_order_are_written_in_that_of_the_targets() -> None:
    """The function finds an id by its target's place."""
    assert said((9, "c"), (1, "a"), (4, None)) == ([1, 4, 9], "a\x1f\x1fc")


def test_an_id_that_holds_the_separator_moves_no_other() -> None:
    """It is the provider's to choose."""
    assert said((1, "a\x1fb"), (2, "c")) == ([1, 2], "a b\x1fc")


def test_without_any_id_none_are_sent() -> None:
    """APNs names none."""
    assert said((2, None), (1, None)) == ([1, 2], None)
