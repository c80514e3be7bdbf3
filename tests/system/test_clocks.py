"""The same as `tests/acceptance/test_clocks.py`, with the clock as the C library tells it off as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.clocks import each_planned_message_comes_once_and_in_time, stack_out_of_step
from tests.system.programs import program

pytestmark = pytest.mark.timeout(900)


def library() -> str:
    """Where Debian keeps libfaketime, which is not where programs are."""
    program("faketime")
    return str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")))


def test_each_planned_message_comes_once_and_in_time() -> None:
    """Certificates, tokens and signatures included: whatever in a process asks for the time gets a wrong one."""
    with stack_out_of_step(library()) as stack:
        each_planned_message_comes_once_and_in_time(stack, library())
        assert "is followed" in stack.log("push-high"), "the clock of that worker was not off"
