"""F3: the fan-out dies between and inside its pages."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field
from tests.chaos.oracle import Verdict

POINTS = ("fanout_before_commit", "fanout_after_commit")


def fan_out_killed(field: Field) -> Verdict:
    """It dies with a page written and not committed, and with one committed and not hinted at: one row a target."""
    for point in POINTS:
        (field.controls / f"kill.{point}").touch()
    sent = field.send()
    died = [point for point in POINTS if field.gone(point)]
    field.blow()
    more = () if died else ("the fan-out was never killed: nothing was tried",)
    return field.judge(sent, allowed=UNTOUCHED, may_double=False, more=more)


FAULTS = (Fault(number="F3", title="fan-out killed at its pages", run=fan_out_killed),)
