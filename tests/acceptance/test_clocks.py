"""Clocks that are five minutes off, and set by ten while their processes run: PostgreSQL's decides."""

from __future__ import annotations

import pytest

from tests.acceptance.clocks import each_planned_message_comes_once_and_in_time, stack_out_of_step

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]  # `make test-system` does the same with libfaketime


def test_each_planned_message_comes_once_and_in_time() -> None:
    """With three beats, each with a time of its own, and workers, API and producers that disagree with all of them."""
    with stack_out_of_step() as stack:
        each_planned_message_comes_once_and_in_time(stack)
        assert "is followed" in stack.log("push-high"), "the clock of that worker was not off"
