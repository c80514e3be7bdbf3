"""F13: pause, resume and cancel in the middle of a send."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from messaging.errors import ConflictError
from messaging.status import DeliveryStatus
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field, Sent, wait_for
from tests.chaos.oracle import Verdict, rows

_STILL_S = 2.0


def paused(field: Field) -> Verdict:
    """Paused and resumed three times at random: nothing leaves while it is paused, everybody gets it once."""
    field.misbehave("apns", "fcm", "sendgrid", "twilio", delay_ms=30)
    sent = field.send()
    found: list[str] = []
    for share in (0.02, 0.2, 0.4):
        field.under_way(sent, share)
        time.sleep(field.dice.uniform(0, 0.3))  # anywhere in a window
        if not _each(field, sent.ids, "pause"):
            break
        found += _still(field, sent)
        _each(field, sent.ids, "resume")
        field.blow()
    return field.judge(sent, allowed=UNTOUCHED, may_double=False, more=found)


def cancelled(field: Field) -> Verdict:
    """Cancelled in the middle: what has not left by the end of the windows in flight never does."""
    field.misbehave("apns", "fcm", "sendgrid", "twilio", delay_ms=30)
    sent = field.send()
    field.under_way(sent, 0.1)
    time.sleep(field.dice.uniform(0, 0.3))  # anywhere in a window
    _each(field, sent.ids, "cancel")
    field.blow()
    found = _still(field, sent)
    field.finish(sent)
    expanded = rows(field.stack.runtime.database_url, sent.ids)
    verdict = field.judge(
        replace(sent, audience=tuple({row.address for row in expanded})),
        allowed=UNTOUCHED | {DeliveryStatus.CANCELLED},
        may_double=False,
        more=found,
    )
    ended = verdict.statuses.get(DeliveryStatus.CANCELLED, 0)
    return replace(verdict, note=f"{ended} of {len(expanded)} cancelled")


def _each(field: Field, ids: Sequence[str], what: str) -> int:
    """Do it to each message that is not finished; to how many that was done."""
    done = 0
    with field.stack.client() as client:
        for each in ids:
            try:
                getattr(client, what)(each)
                done += 1
            except ConflictError:
                continue  # it was over
    return done


def _still(field: Field, sent: Sent) -> list[str]:
    """What is wrong if anything leaves once nothing is in flight any more."""
    in_flight = """SELECT 1 FROM messages m JOIN deliveries d ON d.month = m.month AND d.message_id = m.id
                    WHERE m.public_id = ANY(%s) AND d.status = 1 LIMIT 1"""
    if not wait_for(lambda: not field.ask(in_flight, [*sent.ids]), 60):
        return ["what was in flight when it was stopped never ended"]
    before = sum(sent.tape.accepted()[0].values())
    time.sleep(_STILL_S)  # in which nothing may happen
    after = sum(sent.tape.accepted()[0].values())
    return [f"{after - before} left although it was stopped"] if after != before else []


FAULTS = (
    Fault(number="F13a", title="paused and resumed three times", run=paused),
    Fault(number="F13b", title="cancelled in the middle", run=cancelled),
)
