"""F1, F2, F3: workers that die at every point of their work, and workers that are asked to leave."""

from __future__ import annotations

from functools import partial

from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field
from tests.chaos.oracle import Verdict

KILL_POINTS = {
    "before_claim": "before it claims",
    "after_claim": "with rows claimed and nothing sent",
    "request_left": "with requests at the provider",
    "after_answer": "with answers in hand",
    "before_commit": "before it commits what it was told",
    "after_commit": "after it committed what it was told",
}
INTAKE_POINTS = ("intake_before_commit", "intake_after_commit")
"""With a producer's task in hand: its message written and not committed, and committed and not acknowledged."""
FAN_OUT_POINTS = ("fanout_before_commit", "fanout_after_commit")
"""With a page written and not committed, and with one committed and not hinted at."""
_ANSWER_MS = 150
"""The stand-ins answer after this long, so that a request is still unanswered when its sender dies."""


def killed_at(field: Field, *, point: str) -> Verdict:
    """Some worker dies at this point, three times in one message where it is long enough for that."""
    field.misbehave("apns", "fcm", "sendgrid", "twilio", delay_ms=_ANSWER_MS)
    field.order(point)
    sent = field.send()
    died = field.dies(point, sent)
    for _ in range(2):
        field.order(point)
        died |= field.dies(point, sent)
    field.misbehave("apns", "fcm", "sendgrid", "twilio")
    more = () if died else (f"no worker came by '{point}': nothing was tried",)
    return field.judge(sent, more=more)


def killed_at_random(field: Field) -> Verdict:
    """Any worker, about one a second, until half of the recipients are reached."""
    sent = field.send()
    half, blows = len(sent.audience) // 2, 0
    while field.settled(sent) < half and blows < 15:
        field.kill(field.dice.choice(("push", "push-high", "email", "sms", "fanout", "intake")))
        blows += 1
    return field.judge(sent)


def killed_on_the_way(field: Field, *, points: tuple[str, ...]) -> Verdict:
    """The intake or the fan-out dies at these points, once at each, before anything of it could be sent twice."""
    for point in points:
        field.order(point)
    sent = field.send()
    died = [point for point in points if field.dies(point, sent)]
    more = () if died else ("nobody was ever killed: nothing was tried",)
    return field.judge(sent, allowed=UNTOUCHED, may_double=False, more=more)


def rolling_restart(field: Field) -> Verdict:
    """Every worker is asked to leave, one after the other, as in a deployment: nothing is in doubt."""
    field.misbehave("apns", "fcm", "sendgrid", "twilio", delay_ms=20)
    sent = field.send()
    field.under_way(sent, 0.02)
    for name in ("push", "email", "sms", "fanout", "intake", "push", "push-high", "email", "sms", "push"):
        field.terminate(name)
    return field.judge(sent, allowed=UNTOUCHED, may_double=False)


FAULTS = (
    *(
        Fault(number=f"F1{letter}", title=f"worker killed {where}", run=partial(killed_at, point=point))
        for letter, (point, where) in zip("abcdef", KILL_POINTS.items(), strict=True)
    ),
    Fault(number="F1g", title="workers killed at random", run=killed_at_random),
    Fault(
        number="F1h",
        title="intake killed with a task in hand",
        run=partial(killed_on_the_way, points=INTAKE_POINTS),
    ),
    Fault(number="F2", title="ten workers asked to leave in turn", run=rolling_restart),
    Fault(number="F3", title="fan-out killed at its pages", run=partial(killed_on_the_way, points=FAN_OUT_POINTS)),
)
