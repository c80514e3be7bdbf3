"""Beat's own schedule: seconds that pass, not the time of day."""

from __future__ import annotations

import pickle
from datetime import timedelta

from workers.every import Every


def test_it_is_due_again_after_its_seconds() -> None:
    """By the clock that it carries itself."""
    every = Every(60)
    now = every.now()
    assert not every.is_due(now).is_due
    assert every.is_due(now - timedelta(seconds=60)).is_due


def test_what_beat_remembers_from_a_clock_that_was_ahead_is_due_at_once() -> None:
    """Its file says when it last sent; a restart after the clock was set back must not wait for that time."""
    every = Every(60)
    assert every.is_due(every.now() + timedelta(minutes=5)).is_due


def test_it_can_be_kept_in_beats_file() -> None:
    """Which pickles it; it is read with the clock of the process that reads it."""
    kept = pickle.loads(pickle.dumps(Every(6 * 3600.0)))  # noqa: S301  our own
    assert kept.seconds == 6 * 3600
    assert abs(kept.now() - Every(1).now()) < timedelta(minutes=1)
