"""F8, F9, F10: providers that throttle, fail, fall silent, lose their answers, and call addresses dead."""

from __future__ import annotations

import time
from dataclasses import replace

from messaging.channel import Channel
from messaging.status import DeliveryStatus
from tests.acceptance.accounts import apns_tokens, fcm_tokens, push_topic
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Audience, Field
from tests.chaos.oracle import Verdict, rows

_S = DeliveryStatus
HTTP = ("apns", "fcm", "sendgrid", "twilio")


def throttled(field: Field) -> Verdict:
    """A third of all requests is answered "too many", then every one: no attempt is spent, everybody gets it."""
    for protocol in HTTP:
        field.misbehave(protocol, rate_429=0.3, retry_after_s=0.2, seed=field.dice.randrange(1 << 30))
    sent = field.send()
    field.under_way(sent, 0.1)
    field.misbehave(*HTTP, rate_429=1.0, retry_after_s=1)
    time.sleep(4)  # how long they take nothing at all
    field.misbehave(*HTTP)
    field.blow()
    verdict = field.judge(sent, allowed=UNTOUCHED, may_double=False)
    spent = [row for row in rows(field.stack.runtime.database_url, sent.ids) if row.attempts > 1]
    return _with(verdict, spent, f"{len(spent)} rows spent an attempt on being throttled")


def failing(field: Field) -> Verdict:
    """A third of all requests fails for the provider's own reasons: tried again until it works."""
    for protocol in HTTP:
        field.misbehave(protocol, rate_500=0.2, rate_503=0.1, seed=field.dice.randrange(1 << 30))
    sent = field.send()
    field.under_way(sent, 0.7)
    field.misbehave(*HTTP)
    field.blow()
    # a 500 for a text message says nothing about whether it was sent: it stays unknown, and is not sent twice
    return field.judge(sent, allowed=UNTOUCHED | {_S.UNKNOWN}, may_double=False)


def resetting(field: Field) -> Verdict:
    """Streams are reset and connections end all the time, one stream at once is allowed meanwhile."""
    for protocol in ("apns", "fcm"):
        field.misbehave(protocol, reset_rate=0.1, goaway_after=100, seed=field.dice.randrange(1 << 30))
    sent = field.send()
    field.under_way(sent, 0.2)
    field.misbehave("apns", "fcm", max_concurrent_streams=1)
    time.sleep(2)  # how long that lasts
    field.misbehave("apns", "fcm", goaway_after=50, max_concurrent_streams=100)
    field.under_way(sent, 0.6)
    field.misbehave("apns", "fcm")
    field.blow()
    return field.judge(sent)


def silent(field: Field) -> Verdict:
    """APNs never answers a twentieth of what it gets; the other channels must not notice."""
    field.misbehave("apns", never_answer_rate=0.05, seed=field.dice.randrange(1 << 30))
    sent = field.send()
    others = replace(
        sent,
        ids=sent.ids[1:],
        audience=tuple(address for each in field.audiences[1:] for address in each.addresses),
    )
    started = time.monotonic()
    field.finish(others)
    note = f"the other channels were done after {time.monotonic() - started:.0f} s"
    field.misbehave("apns")
    field.blow()
    return replace(field.judge(sent), note=note)


def answers_lost(field: Field) -> Verdict:
    """A tenth is accepted and the answer lost: push and email go again under the same id, an SMS stays unknown."""
    for protocol in HTTP:
        field.misbehave(protocol, lost_answer_rate=0.1, seed=field.dice.randrange(1 << 30))
    sent = field.send()
    field.under_way(sent, 0.9)
    field.misbehave(*HTTP)
    field.blow()
    verdict = field.judge(sent)
    texts = [row for row in rows(field.stack.runtime.database_url, sent.ids[2:]) if row.attempts > 1]
    return _with(verdict, texts, f"{len(texts)} text messages were sent again though nobody could know")


def dead(field: Field) -> Verdict:
    """A fifth of the devices is gone: said once, never asked again, and nobody else is."""
    count = max(100, len(field.audiences[0].addresses) // 5)
    apns, fcm = apns_tokens(count // 2), fcm_tokens(count - count // 2)
    with field.stack.client() as client:
        audience = Audience(Channel.PUSH, push_topic(client, apns=apns, fcm=fcm), [*apns, *fcm])
    before, field.audiences = field.audiences, [audience]
    try:
        for protocol in ("apns", "fcm"):
            field.misbehave(protocol, rate_dead=0.2, seed=field.dice.randrange(1 << 30))
        first = field.send()
        field.finish(first)
        verdict = field.judge(first, allowed=UNTOUCHED | {_S.FAILED}, may_double=False)
        gone = {row.address for row in rows(field.stack.runtime.database_url, first.ids) if row.status is _S.FAILED}
        time.sleep(3)  # the grace after which a dead address expires, and a sweep
        again = field.send()
        again = replace(again, audience=tuple(address for address in again.audience if address not in gone))
        found = field.judge(again, allowed=UNTOUCHED | {_S.FAILED}, may_double=False)
        asked = gone & again.tape.accepted()[0].keys()
    finally:
        field.audiences = before
    share = f"{len(gone)} of {count} were dead"
    return _with(
        replace(found, faults=(*verdict.faults, *found.faults), note=share), asked, "dead ones were asked again"
    )


def _with(verdict: Verdict, wrong: object, text: str) -> Verdict:
    return replace(verdict, faults=(*verdict.faults, text)) if wrong else verdict


FAULTS = (
    Fault(number="F8a", title="429 storm", run=throttled),
    Fault(number="F8b", title="30 % of 5xx", run=failing),
    Fault(number="F8c", title="RST, GOAWAY, one stream at a time", run=resetting),
    Fault(number="F8d", title="a provider that never answers", run=silent),
    Fault(number="F9", title="answers lost after acceptance", run=answers_lost),
    Fault(number="F10", title="a fifth of the devices is gone", run=dead),
)
