"""When an account's breaker opens: after a while of nothing but failures, and not for one bad moment."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from workers.health import Health


@dataclass
class Clock:
    """A clock that is set."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


def test_five_failures_over_three_seconds_open_it(clock: Clock) -> None:
    """With no success between them."""
    health = Health(clock)
    opened = []
    for _ in range(5):
        opened.append(health.note(outage=True))
        clock.at += 0.8
    assert opened == [False, False, False, False, True]


def test_a_connection_that_breaks_under_five_hundred_calls_is_one_event(clock: Clock) -> None:
    """All of them fail in the same moment, and the next ones come through."""
    health = Health(clock)
    assert not any(health.note(outage=True) for _ in range(500))
    clock.at += 1
    assert not health.note(outage=False)
    clock.at += 4
    assert not health.note(outage=True)


def test_a_success_ends_the_streak(clock: Clock) -> None:
    """Four failures, one success, four failures: it works, badly."""
    health = Health(clock)
    for outage in (*[True] * 4, False, *[True] * 4):
        assert not health.note(outage=outage)
        clock.at += 0.5


def test_more_than_half_of_many_over_ten_seconds_open_it(clock: Clock) -> None:
    """Though some come through."""
    health = Health(clock)
    opened = False
    for number in range(60):
        opened = opened or health.note(outage=number % 3 != 0)
        clock.at += 0.25
    assert opened


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_less_than_half_never_opens_it(clock: Clock, share: float) -> None:
    """A third of 5xx is retried, and no reason to leave."""
    health = Health(clock)
    for number in range(2000):
        assert not health.note(outage=(number * 7 % 100) < share * 100)
        clock.at += 0.01


def test_what_is_long_past_does_not_count(clock: Clock) -> None:
    """Half a minute later it begins anew."""
    health = Health(clock)
    for _ in range(15):
        health.note(outage=True)
    clock.at += 0.5
    health.note(outage=False)
    clock.at += 60
    for number in range(18):
        assert not health.note(outage=number % 2 == 1)
        clock.at += 0.1


def test_after_opening_it_begins_anew(clock: Clock) -> None:
    """The trial after the pause is judged by itself."""
    health = Health(clock)
    while not health.note(outage=True):
        clock.at += 1
    assert not health.note(outage=True)
