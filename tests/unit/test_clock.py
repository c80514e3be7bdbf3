"""The database's time, carried on by a clock that never steps."""

from __future__ import annotations

from datetime import UTC, datetime

from messaging.clock import Clock


class Machine:
    """A machine with a wall clock that can be set and a steady one that can't."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = 1_800_000_300.0, 50.0
        self.clock = Clock(steady_s=lambda: self.steady_s, wall_s=lambda: self.wall_s)

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_s += seconds
        self.steady_s += seconds


def test_until_the_database_was_heard_it_is_the_machines() -> None:
    """There is nothing better."""
    machine = Machine()
    assert machine.clock.now_s() == machine.wall_s
    assert machine.clock.age_s() == float("inf")


def test_then_it_is_the_databases_however_the_machines_clock_is_set() -> None:
    """Ahead by five minutes, then set back by ten: neither shows."""
    machine = Machine()
    assert machine.clock.hear(1_800_000_000.0, asked_s=50.0) == 300.0
    machine.passes(7)
    assert machine.clock.now_s() == 1_800_000_007.0
    machine.wall_s -= 600
    assert machine.clock.now() == datetime.fromtimestamp(1_800_000_007, UTC)
    assert machine.clock.age_s() == 7


def test_half_the_round_trip_is_taken_for_the_way_back() -> None:
    """The answer took four seconds: it was right about two seconds ago."""
    machine = Machine()
    machine.passes(4)
    machine.clock.hear(1_800_000_000.0, asked_s=50.0)
    assert machine.clock.now_s() == 1_800_000_002.0
