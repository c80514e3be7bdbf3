"""F7: recipients that end every worker that sends to them, and tasks that are none."""

from __future__ import annotations

import secrets
from dataclasses import replace

from messaging.channel import Channel
from messaging.status import DeliveryStatus
from tests.acceptance import bare
from tests.acceptance.accounts import email_topic, emails
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Audience, Field
from tests.chaos.oracle import Verdict

_S = DeliveryStatus


def poisonous(field: Field) -> Verdict:
    """One mailbox in a thousand kills the process that sends to it; garbage lies in the intake's queue."""
    count = max(400, len(field.audiences[1].addresses))
    poison = [f"poison-{secrets.token_hex(4)}@example.org" for _ in range(max(1, count // 4000))]
    addresses = emails(count) + poison
    field.dice.shuffle(addresses)
    with field.stack.client() as client:
        audience = Audience(Channel.EMAIL, email_topic(client, addresses), addresses)
    before, field.audiences = field.audiences, [audience]
    try:
        for body in ("not a task", "[]", "{", "[1,2,3]"):
            bare.publish(field.stack.runtime.broker_url, body, task=bare.EMAIL, id=secrets.token_hex(8))
        sent = field.send()
        field.finish(sent)
        verdict = field.judge(sent, allowed=UNTOUCHED | {_S.UNKNOWN, _S.FAILED})
        with field.stack.client() as client:
            aside = [entry for entry in client.quarantine.list(limit=100) if entry.message_id in sent.ids]
    finally:
        field.audiences = before
    hit = sum(by for status, by in verdict.statuses.items() if status not in UNTOUCHED)
    found = list(verdict.faults)
    if hit > len(poison):
        found.append(f"{hit} did not get it, of whom only {len(poison)} are poisonous")
    if not aside:
        found.append("nothing is shown in the quarantine")
    return replace(verdict, faults=tuple(found), note=f"{len(poison)} poisonous, {hit} put aside")


FAULTS = (Fault(number="F7", title="recipients that end their worker", run=poisonous),)
