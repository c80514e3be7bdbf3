"""What a run has in hand follows from its kind, the account's limit, and what an operator accepts to be in doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from messaging.catalog import KINDS, ProviderKind
from workers.in_hand import seats_wanted, window_size

ONE_BY_ONE = replace(KINDS["twilio"], request_size=1, concurrency=200, connections=100)
IN_BATCHES = replace(KINDS["sendgrid"], request_size=1000, concurrency=2, connections=1)
OVER_HTTP2 = replace(KINDS["apns"], request_size=1, concurrency=500, connections=1)


@pytest.mark.parametrize(
    ("kind", "rows", "wanted"),
    [
        (ONE_BY_ONE, 1_000, 100),
        (ONE_BY_ONE, 7, 7),
        (IN_BATCHES, 5_000, 2),
        (IN_BATCHES, 1_000, 1),
        (IN_BATCHES, 1, 1),
        (OVER_HTTP2, 1_000, 500),
        (replace(IN_BATCHES, request_size=50, concurrency=5, connections=20), 500, 5),
        (ONE_BY_ONE, 0, 1),
    ],
    ids=["connections", "rows", "calls", "one call", "one row", "many a connection", "idle connections", "none left"],
)
def test_a_run_takes_no_more_seats_than_it_can_use(kind: ProviderKind, rows: int, wanted: int) -> None:
    """A seat that waits for a connection is one that another worker could have used."""
    assert seats_wanted(kind, rows) == wanted


def test_with_half_of_the_seats_half_as_much_is_in_hand() -> None:
    """More than is in flight in either case: a row is in hand until its outcome is recorded."""
    assert window_size(ONE_BY_ONE, seats=None, most=500) == 100
    assert window_size(ONE_BY_ONE, seats=100, most=500) == 100
    assert window_size(ONE_BY_ONE, seats=50, most=500) == 50
    assert window_size(ONE_BY_ONE, seats=1, most=500) == 1


def test_what_an_operator_accepts_in_doubt_bounds_what_is_in_hand() -> None:
    """Two windows are."""
    assert window_size(OVER_HTTP2, seats=None, most=500) == 250
    assert window_size(OVER_HTTP2, seats=None, most=100) == 50
    assert window_size(OVER_HTTP2, seats=None, most=1) == 1


def test_a_batch_is_sent_whole_whatever_the_bound() -> None:
    """Two requests, then: the least with which one is claimed and recorded while the other is under way."""
    assert window_size(IN_BATCHES, seats=None, most=500) == 1_000
    assert window_size(IN_BATCHES, seats=1, most=500) == 1_000


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.request_size > 1], ids=lambda kind: kind.name)
def test_a_window_is_full_requests(kind: ProviderKind) -> None:
    """Half a request costs the provider's answer as much as a whole one."""
    assert window_size(kind, seats=None, most=500) % kind.request_size == 0


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_no_kind_has_less_in_hand_than_in_flight(kind: ProviderKind) -> None:
    """Its connections would stand idle."""
    assert kind.concurrency >= kind.calls_in_flight >= 1
