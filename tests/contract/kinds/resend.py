"""Resend, held to the contract."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.resend import REFUSED_KEY, STAND_IN, sign
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
        "type": "email.bounced",
        "created_at": now.isoformat(),
        "data": {
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "to": ["ann@example.com"],
            "tags": {"delivery": "t1"},
            "bounce": {"type": "Permanent", "subType": "General", "message": "gone", "diagnosticCode": ["550 5.1.1"]},
        },
    }

    def with_body(body: bytes) -> Inbound:
        headers = sign(str(account["webhookKey"]), "msg_1", int(now.timestamp()), body)
        return Inbound(method="POST", url=RECEIPTS_URL, headers=headers, body=body, received_at=now)

    inbound = with_body(json.dumps(event).encode())
    return Genuine(inbound=inbound, signature=inbound.headers["svix-signature"].partition(",")[2], with_body=with_body)


SUBJECT = Subject(
    kind="resend",
    content=Email(subject="Hello", content="there"),
    unsendable=(
        Email(subject="", content="b"),
        Push(title="x"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="a\r\nb", content="c"),
        Email(subject="s", content="b", headers={"X-A": "b\r\nBcc: c"}),
    ),
    fresh=lambda: f"u{secrets.token_hex(8)}@example.com",
    magic=lambda case: f"{_MAGIC[case]}+{secrets.token_hex(8)}@example.com",
    endpoint=lambda addresses: addresses.of("resend"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"apiKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=json_answer(422, '{"statusCode": 422, "name": "invalid_parameter", "message": "Bad."}'),
    unreadable=(
        Answer(200, body=b"<html>"), Answer(204), json_answer(200, "[]"), json_answer(200, '{"data": []}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"), Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options={"fromEmail": "news@example.org", "fromName": "News"},
    quota=json_answer(
        429, '{"statusCode": 429, "name": "daily_quota_exceeded", "message": "You have reached your daily quota."}'
    ),
    genuine=_genuine,
)  # fmt: skip
