"""The MSG91 adapter."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.msg91 import REFUSED_KEY, STAND_IN
from messaging.message import Email, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999400", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip


def _inbound(body: bytes) -> Inbound:
    headers = {"content-type": "application/json"}
    return Inbound(method="POST", url=RECEIPTS_URL, headers=headers, body=body, received_at=datetime.now(UTC))


def _genuine(_: Mapping[str, object]) -> Genuine:
    reports = [
        {"date": "2026-11-23 10:06:20", "number": "919812345678", "status": status, "CRQID": tag, "desc": ""}
        for status, tag in (("1", "t1"), ("9", "t2"), ("2", "t3"))
    ]
    body = json.dumps([{"senderId": "ABCDEF", "requestId": "346b6b", "report": reports}])
    return Genuine(inbound=_inbound(body.encode()), with_body=_inbound)


SUBJECT = Subject(
    kind="msg91",
    content=Sms(content="Code: 1234"),
    unsendable=(
        Sms(content="x" * 1601), Email(subject="Hello", content="there"), Sms(content=""),
        Sms(content="\ud800"),
    ),
    fresh=lambda: f"+9198{secrets.randbelow(10**8):08}",
    magic=lambda case: f"{_MAGIC[case]}{secrets.randbelow(10**5):05}",
    endpoint=lambda addresses: addresses.of("msg91"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"authKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=json_answer(200, '{"message": "SMS is too long", "type": "error", "code": "310"}'),
    unreadable=(
        Answer(200, body=b"<html>"), Answer(200), json_answer(200, "[]"), Answer(204),
        json_answer(200, '{"type": "success"}'), json_answer(200, '{"message": "5134842646923e183d000075"}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"), Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    quota=json_answer(200, '{"message": "Insufficient balance", "type": "error", "code": "301"}'),
    genuine=_genuine,
)  # fmt: skip
