"""Sweeps that piled up cost next to nothing."""

from __future__ import annotations

import pytest

from workers.seldom import Seldom


def test_what_piled_up_is_done_once() -> None:
    """And again as soon as the pause is over, counted from the end of the work."""
    now_s, done = 0.0, []

    def work() -> None:
        nonlocal now_s
        done.append(now_s)
        now_s += 2.0

    seldom = Seldom(0.5, clock_s=lambda: now_s)
    assert [seldom.do(work) for _ in range(1000)].count(True) == 1
    now_s += 0.5
    assert seldom.do(work)
    assert done == [0.0, 2.5]


def test_work_that_fails_is_no_reason_to_do_it_at_once_again() -> None:
    """The error is the caller's; the next time is as if it had succeeded."""
    seldom = Seldom(0.5, clock_s=lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        seldom.do(lambda: 1 / 0)
    assert not seldom.do(lambda: None)
