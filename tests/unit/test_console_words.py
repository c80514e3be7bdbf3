"""How times, shares and rates read on the console's pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging.channel import Channel, Lane, OnUnknown
from messaging.clock import Clock
from messaging.console.rendering import number, percent, rate, spoken, when
from messaging.status import DeliveryStatus, MessageState
from messaging.store.messages import MessageView

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.console.rendering.clock", Clock(wall_s=NOW.timestamp))


def message(state: MessageState, *, began_s: float | None, accepted: int) -> MessageView:
    """A message that began so many seconds ago."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return MessageView(
        id="m",
        channel=Channel.SMS,
        lane=Lane.BULK,
        state=state,
        content={},
        audience={},
        on_unknown=OnUnknown.HOLD,
        scheduled_at=None,
        expires_at=at,
        created_at=at,
        updated_at=at,
        started_at=None if began_s is None else NOW - timedelta(seconds=began_s),
        finished_at=None,
        expanded=True,
        estimate=None,
        total=10_000,
        totals={DeliveryStatus.ACCEPTED: accepted},
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (90, "1.5 min"), (3600, "1 h"), (86_400 * 45, "45 d"), (-90, "-1.5 min")],
)
def test_a_time_span_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    """Short ones to the second, long ones roughly."""
    assert spoken(seconds) == said


def test_a_point_in_time_is_relative_with_the_whole_of_it_at_hand() -> None:
    """And what never was is said to be so."""
    said = when(NOW - timedelta(minutes=5))
    assert "5 min ago" in said
    assert "UTC" in said
    assert "in 2 h" in when(NOW + timedelta(hours=2))
    assert "never" in when(None)


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "0 %"), (1, 4, "25 %"), (1, 1_000_000, "< 0.1 %"), (999_999, 1_000_000, "> 99.9 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, whole: int, said: str) -> None:
    """One failure in a million is not none."""
    assert percent(part, whole) == said


def test_a_message_that_goes_out_says_how_fast() -> None:
    """One that does not, or has only just begun, says nothing."""
    assert rate(message(MessageState.PROCESSING, began_s=10, accepted=5_000)) == "500 a second"
    assert rate(message(MessageState.PROCESSING, began_s=0.1, accepted=50)) == ""
    assert rate(message(MessageState.PAUSED, began_s=10, accepted=5_000)) == ""
    assert rate(message(MessageState.PROCESSING, began_s=None, accepted=0)) == ""


def test_numbers_have_separators_and_none_a_dash() -> None:
    """Every table uses it."""
    assert (number(1_234_567), number(None)) == ("1,234,567", "-")
