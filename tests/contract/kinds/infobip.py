"""Infobip."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from messaging.local.sandbox.web.infobip import REFUSED_KEY, STAND_IN
from messaging.message import Push, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999052", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999021",
}  # fmt: skip


def _credentials() -> dict[str, Any]:
    fields = STAND_IN.fields()
    return {name: fields[name] for name in ("baseUrl", "apiKey")}


def _inbound(body: bytes) -> Inbound:
    headers = {"content-type": "application/json"}
    return Inbound(method="POST", url=RECEIPTS_URL, headers=headers, body=body, received_at=datetime.now(UTC))


def _genuine(_: Mapping[str, object]) -> Genuine:
    results = [
        {
            "bulkId": "BULK-1",
            "messageId": tag,
            "to": "41793026727",
            "sender": "Acme",
            "sentAt": "2026-11-23T10:06:20.000+0000",
            "doneAt": "2026-11-23T10:06:23.000+0000",
            "messageCount": 1,
            "mccMnc": "22801",
            "callbackData": tag,
            "price": {"pricePerMessage": 0.01, "currency": "EUR"},
            "status": {"groupId": group, "groupName": "", "id": status, "name": "", "description": ""},
            "error": {"groupId": 0, "groupName": "", "id": error, "name": "", "description": "", "permanent": True},
        }
        for tag, group, status, error in (("t1", 3, 5, 0), ("t2", 2, 9, 1), ("t3", 2, 9, 573), ("t4", 5, 12, 0))
    ]
    return Genuine(inbound=_inbound(json.dumps({"results": results}).encode()), with_body=_inbound)


SUBJECT = Subject(
    kind="infobip",
    content=Sms(content="Code: 1234"),
    unsendable=(Sms(content="x" * 3826), Sms(content=""), Sms(content="\ud83d"), Push(title="Hello")),
    fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
    magic=lambda case: _MAGIC[case],
    endpoint=lambda addresses: addresses.of("infobip"),
    credentials=lambda _: _credentials(),
    wrong=lambda _: _credentials() | {"apiKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=json_answer(
        400, '{"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text": "Bad Request"}}}'
    ),
    unreadable=(
        Answer(200, body=b"<html>"),
        Answer(200),
        Answer(204),
        json_answer(200, "[]"),
        json_answer(200, '{"messages": []}'),
        json_answer(200, '{"messages": [{"messageId": "another", "status": {"groupId": 1, "id": 26}}]}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"),
        Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options={"from": "Acme"},
    genuine=_genuine,
)
