"""The table of permitted moves is complete and monotonic."""

from __future__ import annotations

import pytest

from messaging.status import MOVES, OPEN, WIRE_STATUS, DeliveryStatus, MessageState, finished_state
from messaging.store import receipt_effects

S = DeliveryStatus


def test_every_status_says_where_it_may_go() -> None:
    """No status is missing from the table, so no move is undefined by accident."""
    assert set(MOVES) == set(DeliveryStatus)


@pytest.mark.parametrize("start", sorted(set(DeliveryStatus) - OPEN))
def test_a_settled_delivery_is_never_sent_again_but_by_somebody_who_asks(start: DeliveryStatus) -> None:
    """What failed is retried; what may have been sent is replayed from quarantine. There is no other way back."""
    back = {move for move in MOVES[start] if move in OPEN}
    assert back == ({S.RETRYING} if start in {S.FAILED, S.UNKNOWN} else set())


def test_a_delivered_message_stays_delivered() -> None:
    """A late bounce or a doubled receipt changes nothing."""
    assert MOVES[S.DELIVERED] == frozenset()


def test_what_receipts_may_do_is_in_the_table() -> None:
    """Their own list names from where; the table names where to."""
    for end, starts in receipt_effects._PERMITTED.items():
        assert all(end in MOVES[start] for start in starts), end


def test_stored_codes_never_change() -> None:
    """The ledger stores these numbers: they may be added to, not renumbered."""
    assert [status.code for status in DeliveryStatus] == list(range(10))
    assert [DeliveryStatus.of(status.code) for status in DeliveryStatus] == list(DeliveryStatus)
    assert [state.code for state in MessageState] == list(range(8))
    assert [MessageState.of(state.code) for state in MessageState] == list(MessageState)


def test_only_the_five_words_of_the_sdks_leave_on_the_wire() -> None:
    """Appwrite's SDKs refuse any other word in `status`."""
    assert set(WIRE_STATUS) == set(MessageState)
    assert set(WIRE_STATUS.values()) == {"draft", "processing", "scheduled", "sent", "failed"}


@pytest.mark.parametrize(
    ("totals", "state"),
    [
        ({S.ACCEPTED: 3}, MessageState.SENT),
        ({S.ACCEPTED: 1, S.DELIVERED: 2}, MessageState.SENT),
        ({S.UNKNOWN: 1}, MessageState.SENT),
        ({S.ACCEPTED: 2, S.FAILED: 1}, MessageState.PARTIALLY_SENT),
        ({S.UNKNOWN: 1, S.EXPIRED: 1}, MessageState.PARTIALLY_SENT),
        ({S.FAILED: 2}, MessageState.FAILED),
        ({S.EXPIRED: 1, S.SUPPRESSED: 1}, MessageState.FAILED),
        ({S.CANCELLED: 4}, MessageState.CANCELLED),
        ({}, MessageState.FAILED),
    ],
)
def test_a_message_failed_only_if_certainly_nothing_was_taken(
    totals: dict[DeliveryStatus, int], state: MessageState
) -> None:
    """`sent`, `partially_sent`, `failed` follow from where the deliveries ended."""
    assert finished_state(totals) is state
