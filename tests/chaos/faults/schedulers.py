"""F11, F12: clocks that are off, and beats that are missing or three."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta

from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field, Sent
from tests.chaos.oracle import Verdict

AHEAD = timedelta(seconds=8)
OFF_S = 300.0
STEP_AFTER_S = 20.0
SHIFTS = {
    " beat ": (-OFF_S, OFF_S, STEP_AFTER_S),
    "-Q messaging.high,messaging ": (OFF_S, -OFF_S, STEP_AFTER_S),
    "-Q messaging.fanout": (OFF_S, -OFF_S, STEP_AFTER_S),
    "-Q messaging.push ": (-OFF_S, OFF_S, STEP_AFTER_S),
    "-Q messaging.email ": (OFF_S, OFF_S, 0.0),
}
"""A part of a command line: seconds ahead at first, later, and when that changes."""


def three_beats(field: Field) -> Verdict:
    """Two more beats beside the stack's own: what is planned goes out once, and not before its time."""
    with field.clone("beat"), field.clone("beat"):
        sent, due = _planned(field)
        return _in_time(field, sent, due)


def no_beat(field: Field) -> Verdict:
    """No beat runs when the time comes, nor for a while after; then one does."""
    with field.frozen("beat"):
        sent, due = _planned(field)
        time.sleep(max(0.0, due - time.time()) + 5)  # how long it is missing
        early = sent.tape.accepted()[0]
    return _in_time(field, sent, due, *(["something went out though no beat ran"] if early else []))


def clocks_off(field: Field) -> Verdict:
    """Workers and beat are five minutes fast or slow, and step by ten in the middle."""
    sent, due = _planned(field)
    return _in_time(field, sent, due)


def _planned(field: Field) -> tuple[Sent, float]:
    """Messages for a moment from now, by the database's clock; that moment in epoch seconds."""
    with field.stack.client() as client:
        at = client.now() + AHEAD
    return field.send(scheduled_at=at.isoformat()), at.timestamp()


def _in_time(field: Field, sent: Sent, due: float, *more: str) -> Verdict:
    field.finish(sent)
    verdict = field.judge(sent, allowed=UNTOUCHED, may_double=False, more=more)
    first = min((min(times) for times in sent.tape.times().values()), default=due)
    if first < due:
        verdict = replace(verdict, faults=(*verdict.faults, f"the first left {due - first:.1f} s before its time"))
    return replace(verdict, note=f"the first left {first - due:+.1f} s from its time")


FAULTS = (
    Fault(
        number="F11",
        title="clocks off by five minutes, and stepping",
        run=clocks_off,
        env={"SHIFTED_CLOCKS": json.dumps(SHIFTS)},
    ),
    Fault(number="F12a", title="three beats", run=three_beats),
    Fault(number="F12b", title="no beat for a while", run=no_beat),
)
