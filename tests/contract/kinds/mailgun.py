"""Mailgun, held to the contract."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.mailgun import REFUSED_KEY, STAND_IN, sign
from messaging.message import Email, Push
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "invalid", Magic.SILENT: "timeout", Magic.DROPPED: "reset", Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "unavailable",
}  # fmt: skip


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

    def inbound(body: bytes) -> Inbound:
        headers = {"content-type": "application/json"}
        return Inbound(method="POST", url=RECEIPTS_URL, headers=headers, body=body, received_at=now)

    def with_body(body: bytes) -> Inbound:
        """The body's event-data under a signature that holds."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return inbound(body)
        data = document.get("event-data") if isinstance(document, dict) else document
        return inbound(json.dumps({"signature": signature, "event-data": data}).encode())

    body = json.dumps({"signature": signature, "event-data": event}).encode()
    return Genuine(inbound=inbound(body), signature=signature["signature"], covers_body=False, with_body=with_body)


SUBJECT = Subject(
    kind="mailgun",
    content=Email(subject="Hello", content="there"),
    unsendable=(
        Email(subject="", content="b"),
        Push(title="x"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="s", content="b", headers={"X-Mailgun-Variables": "{}"}),
        Email(subject="s", content="b", headers={"X-Long": "x " * 9000}),
    ),
    fresh=lambda: f"u{secrets.token_hex(8)}@example.com",
    magic=lambda case: f"{_MAGIC[case]}+{secrets.token_hex(8)}@example.com",
    endpoint=lambda addresses: addresses.of("mailgun"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"apiKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=json_answer(400, '{"message": "Only one parameters \'html\' or \'template\' is allowed."}'),
    unreadable=(
        Answer(200, body=b"<html>"), Answer(204), json_answer(200, "[]"), json_answer(200, '{"message": "Queued."}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"), Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options={"fromEmail": "news@mg.example.org", "fromName": "News"},
    genuine=_genuine,
)  # fmt: skip
