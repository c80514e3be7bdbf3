"""How fast an account may send follows from its kind, what its operator set, and its age."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from messaging.catalog import KINDS, kind_of
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.limits import FASTEST, FIRST_DAY, WARM_AFTER_DAYS, Limits, warm_up_quota
from workers.pace import UNLIMITED, Pace

MADE = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)
MAIL = kind_of("sendgrid")
FIXED = replace(MAIL, rate_per_s=30.0)
TRIED = replace(MAIL, rate_per_s=14.0, adapts_rate=True)


@pytest.mark.parametrize(
    ("limits", "pace"),
    [
        (Limits(), Pace(per_second=30.0)),
        (Limits(per_second=5.0), Pace(per_second=5.0)),
        (Limits(per_second=500.0), Pace(per_second=500.0)),
        (Limits(per_minute=600), Pace(per_second=30.0, per_minute=600)),
        (Limits(concurrency=5), Pace(per_second=30.0)),
    ],
)
def test_what_the_operator_set_goes_before_the_kinds_own(limits: Limits, pace: Pace) -> None:
    """It may be faster too: quotas are raised."""
    assert Pace.of(FIXED, limits, created_at=MADE, now=MADE) == pace


def test_a_kind_that_tells_no_rate_is_not_limited() -> None:
    """And nothing is counted for it."""
    assert Pace.of(MAIL, Limits(), created_at=MADE, now=MADE) == UNLIMITED
    assert not UNLIMITED.is_limited
    assert Pace(per_day=1).is_limited


@pytest.mark.parametrize(
    ("limits", "begins_at", "fastest"),
    [(Limits(), 14.0, None), (Limits(per_second=50.0), 14.0, 50.0), (Limits(per_second=2.0), 2.0, 2.0)],
)
def test_a_rate_found_by_trying_begins_at_the_kinds(limits: Limits, begins_at: float, fastest: float | None) -> None:
    """What the operator set is the fastest that is tried."""
    pace = Pace.of(TRIED, limits, created_at=MADE, now=MADE)
    assert (pace.begins_at, pace.per_second) == (begins_at, fastest)
    assert pace.is_adaptive
    assert pace.is_limited


@pytest.mark.parametrize(
    ("passed", "quota"),
    [
        (timedelta(0), FIRST_DAY),
        (timedelta(hours=1), FIRST_DAY),
        (timedelta(hours=2), 2 * FIRST_DAY),
        (timedelta(days=1), 2 * FIRST_DAY),
        (timedelta(days=3), 8 * FIRST_DAY),
        (timedelta(days=-1), FIRST_DAY),
        (timedelta(days=WARM_AFTER_DAYS), None),
    ],
)
def test_an_account_that_warms_up_may_send_twice_as_many_each_day(passed: timedelta, quota: int | None) -> None:
    """Days are those of UTC, wherever the worker's clock hangs; a clock that goes behind finds the first day."""
    now = (MADE + passed).astimezone(timezone(timedelta(hours=9)))
    assert Pace.of(MAIL, Limits(warm_up=True), created_at=MADE, now=now).per_day == quota


def test_only_email_accounts_are_warmed_up() -> None:
    """Elsewhere it is refused where it is set, and has no effect."""
    assert Pace.of(kind_of("twilio"), Limits(warm_up=True), created_at=MADE, now=MADE).per_day is None
    assert Limits(warm_up=True).of_channel(Channel.EMAIL) == Limits(warm_up=True)
    with pytest.raises(InvalidArgumentError, match="only email"):
        Limits(warm_up=True).of_channel(Channel.SMS)


def test_the_quota_ends_after_three_weeks() -> None:
    """By then it is beyond what anybody sends."""
    assert warm_up_quota(WARM_AFTER_DAYS - 1) == FIRST_DAY * 2 ** (WARM_AFTER_DAYS - 1)
    assert warm_up_quota(WARM_AFTER_DAYS) is None


@pytest.mark.parametrize(
    "values",
    [
        {"per_second": 0},
        {"per_second": -1.0},
        {"per_second": float("nan")},
        {"per_second": FASTEST + 1},
        {"per_minute": 0},
        {"per_minute": 1.5},
        {"concurrency": -1},
        {"concurrency": 2.5},
    ],
)
def test_a_limit_is_a_number_above_nothing(values: dict[str, Any]) -> None:
    """Whole, where it counts messages or requests."""
    with pytest.raises(InvalidArgumentError):
        Limits(**values)


def test_limits_are_kept_as_they_were() -> None:
    """What is not set is not kept."""
    limits = Limits(per_second=0.5, concurrency=3, warm_up=True)
    assert limits.as_json() == {"per_second": 0.5, "concurrency": 3, "warm_up": True}
    assert Limits.of(limits.as_json()) == limits
    assert Limits.of({}) == Limits()


def test_every_kind_whose_rate_is_found_by_trying_says_where_to_begin() -> None:
    """Without that it would never be limited."""
    tried = [kind for kind in KINDS.values() if kind.adapts_rate]
    assert tried
    assert all(kind.rate_per_s for kind in tried)
