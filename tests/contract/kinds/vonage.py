"""Vonage."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from messaging.local.sandbox.web.vonage import REFUSED_SECRET, STAND_IN, signature
from messaging.message import Push, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999033", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999105",
}  # fmt: skip


def _credentials() -> dict[str, Any]:
    fields = STAND_IN.fields()
    return {name: fields[name] for name in ("apiKey", "apiSecret", "webhookKey")}


def _genuine(account: Mapping[str, object]) -> Genuine:
    now = datetime.now(UTC)
    fields = {
        "msisdn": "447700900001",
        "to": "447700900000",
        "network-code": "23410",
        "messageId": "0B00000127FDBC63",
        "price": "0.03330000",
        "status": "failed",
        "scts": "1810251310",
        "err-code": "3",
        "api-key": str(account["apiKey"]),
        "client-ref": "t1",
        "message-timestamp": f"{now:%Y-%m-%d %H:%M:%S}",
        "timestamp": str(int(now.timestamp())),
        "nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
    }
    sig = signature(fields, str(account["signatureMethod"]), str(account["webhookKey"]))
    return Genuine(
        inbound=Inbound(
            method="POST",
            url=RECEIPTS_URL,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(fields | {"sig": sig}).encode(),
            received_at=now,
        ),
        signature=sig,
    )


SUBJECT = Subject(
    kind="vonage",
    content=Sms(content="Code: 1234"),
    unsendable=(Sms(content="x" * 3201), Sms(content=""), Sms(content="\ud83d"), Push(title="Hello")),
    fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
    magic=lambda case: _MAGIC[case],
    endpoint=lambda addresses: addresses.of("vonage"),
    credentials=lambda _: _credentials(),
    wrong=lambda _: _credentials() | {"apiSecret": REFUSED_SECRET},
    serve=by_http1,
    refused_content=json_answer(
        200, '{"message-count": "1", "messages": [{"status": "12", "error-text": "too long"}]}'
    ),
    unreadable=(
        Answer(200, body=b"<html>"),
        Answer(200),
        Answer(204),
        json_answer(200, "[]"),
        json_answer(200, '{"message-count": "0", "messages": []}'),
        json_answer(200, '{"message-count": "1", "messages": [{"status": 0, "message-id": "1"}]}'),
        json_answer(200, '{"message-count": "1", "messages": [{"status": "0"}]}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"),
        Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=None,
    options={"from": "+447700900000", "signatureMethod": "sha256"},
    quota=json_answer(
        200, '{"message-count": "1", "messages": [{"status": "9", "error-text": "Partner quota exceeded"}]}'
    ),
    genuine=_genuine,
)
