"""F15: receipts that come twice, out of order, before our own record, and forged ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from messaging.channel import Channel
from messaging.status import DeliveryStatus
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field, Sent, wait_for
from tests.chaos.oracle import Verdict


def told_badly(field: Field) -> Verdict:
    """Each receipt twice, shuffled and at once; thousands of forged bounces between them."""
    _tell(field, delay_ms=0, twice=True, shuffled=True)
    try:
        sent = field.send(Channel.EMAIL, Channel.SMS)
        field.under_way(sent, 0.1)
        forged = _forge(field, sent.ids[0])
        field.blow()
        field.finish(sent)
        # each is held up by up to a second, and then the API may be busy: the last may not even have been told yet
        wait_for(lambda: _delivered(field, sent) >= len(sent.audience), field.patience_s)
        wait_for(lambda: not _webhooks(field)["waiting"], field.patience_s)
        wait_for(lambda: not field.ask("SELECT 1 FROM receipts WHERE state = 0 LIMIT 1"), field.patience_s)
        verdict = field.judge(sent, allowed=UNTOUCHED)
    finally:
        _tell(field)
    delivered = verdict.statuses.get(DeliveryStatus.DELIVERED, 0)
    repeated = field.ask(
        """SELECT count(*) FROM (SELECT 1 FROM messages m JOIN delivery_events e ON e.month = m.month
             AND e.message_id = m.id WHERE m.public_id = ANY(%s) AND e.event = 'delivered'
             GROUP BY e.message_id, e.target_id HAVING count(*) > 1) twice""",
        [*sent.ids],
    )[0][0]
    found = list(verdict.faults)
    if delivered < len(sent.audience):
        found.append(f"{len(sent.audience) - delivered} were reported delivered and are not on record so")
    if repeated:
        found.append(f"{repeated} are on record as delivered twice")
    return replace(verdict, faults=tuple(found), note=f"{delivered} delivered, {forged} forged receipts refused")


def _delivered(field: Field, sent: Sent) -> int:
    """How many receipts have come and been heeded."""
    rows = field.ask(
        """SELECT coalesce(sum(b.delivered), 0) FROM messages m JOIN batches b ON b.month = m.month
              AND b.message_id = m.id WHERE m.public_id = ANY(%s)""",
        [*sent.ids],
    )
    return int(rows[0][0])


def _tell(field: Field, **how: object) -> None:
    """How the stand-ins tell receipts from now on."""
    httpx.post(f"{field.control}/webhooks", json=how, trust_env=False, timeout=60).raise_for_status()


def _webhooks(field: Field) -> Mapping[str, Any]:
    """What the stand-ins say about their receipts."""
    answer = httpx.get(f"{field.control}/webhooks", trust_env=False, timeout=60).raise_for_status().json()
    assert isinstance(answer, dict)
    return answer


def _forge(field: Field, message_id: str) -> int:
    """Bounces for that message's recipients under a signature nobody made; how many were sent."""
    (key,) = field.ask("SELECT receipt_key FROM providers WHERE public_id = 'sendgrid'")[0]
    tags = field.ask("SELECT m.id, m.month FROM messages m WHERE m.public_id = %s", message_id)
    events = [{"event": "bounce", "type": "bounce", "email": "a@example.org", "tag": str(tags)}] * 100
    url = f"{field.stack.runtime.endpoint}/receipts/{key}"
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": "MEUCIQ" + "A" * 80,
        "X-Twilio-Email-Event-Webhook-Timestamp": "1700000000",
    }
    for _ in range(20):
        httpx.post(url, content=json.dumps(events), headers=headers, trust_env=False, timeout=60)
    return 20 * len(events)


FAULTS = (Fault(number="F15", title="receipts twice, shuffled, forged", run=told_badly),)
