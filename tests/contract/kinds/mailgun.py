"""Mailgun, held to the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.mailgun import REFUSED_KEY, sign
from messaging.message import Email, Push
from messaging.receipt import Inbound
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


def _genuine(account: Mapping[str, object]) -> Genuine:
    now = datetime.now(UTC)
    event = {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "timestamp": now.timestamp(),
        "recipient": "ann@example.com",
        "message": {"headers": {"message-id": "20260301.1@mg.example.org"}},
        "delivery-status": {"code": 550, "enhanced-code": "5.1.1", "message": "5.1.1 unknown", "attempt-no": 1},
        "user-variables": {"delivery": "t1"},
    }
    signature = sign(str(account["webhookKey"]), int(now.timestamp()))

    def with_body(body: bytes) -> Inbound:
        """The body's event-data under a signature that holds."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return posted(body)
        data = document.get("event-data") if isinstance(document, dict) else document
        return posted(json.dumps({"signature": signature, "event-data": data}).encode())

    body = json.dumps({"signature": signature, "event-data": event}).encode()
    return Genuine(inbound=posted(body), signature=signature["signature"], covers_body=False, with_body=with_body)


SUBJECT = web_subject(
    "mailgun",
    dead="invalid",
    not_now="unavailable",
    wrong={"apiKey": REFUSED_KEY},
    unsendable=(
        Email(subject="", content="b"),
        Push(title="x"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="s", content="b", headers={"X-Mailgun-Variables": "{}"}),
        Email(subject="s", content="b", headers={"X-Long": "x " * 9000}),
    ),
    refused_content=json_answer(400, "{\"message\": \"Only one parameters 'html' or 'template' is allowed.\"}"),
    unreadable=unreadable(200, json_answer(200, '{"message": "Queued."}')),
    genuine=_genuine,
)
