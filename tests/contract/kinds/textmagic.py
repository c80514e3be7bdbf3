"""The Textmagic adapter."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.textmagic import REFUSED_KEY, STAND_IN
from messaging.message import Email, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999400", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip


def _credentials(_: SandboxAddresses) -> dict[str, str]:
    made = STAND_IN.fields()
    return {name: made[name] for name in ("username", "apiKey")}


def _inbound(body: bytes) -> Inbound:
    headers = {"content-type": "application/json"}
    return Inbound(method="POST", url=RECEIPTS_URL, headers=headers, body=body, received_at=datetime.now(UTC))


def _genuine(_: Mapping[str, object]) -> Genuine:
    body = json.dumps({"id": 4471, "status": "d", "timestamp": 1795410000, "receiver": "447700900001", "text": "Hi"})
    return Genuine(inbound=_inbound(body.encode()), with_body=_inbound)


SUBJECT = Subject(
    kind="textmagic",
    content=Sms(content="Code: 1234"),
    unsendable=(
        Sms(content="x" * 919), Email(subject="Hello", content="there"), Sms(content=""),
        Sms(content="\ud800"),
    ),
    fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
    magic=lambda case: f"{_MAGIC[case]}{secrets.randbelow(10**5):05}",
    endpoint=lambda addresses: addresses.of("textmagic"),
    credentials=_credentials,
    wrong=lambda addresses: _credentials(addresses) | {"apiKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=json_answer(
        400, '{"code": 400, "message": "Validation Failed", "errors": {"fields": {"text": ["not that"]}}}'
    ),
    unreadable=(
        Answer(201, body=b"<html>"), Answer(201), json_answer(201, "[]"), Answer(204),
        json_answer(201, '{"id": null, "type": "message"}'), Answer(201, {"content-encoding": "gzip"}, b"<html>"),
        Answer(201, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options={"from": "+15005550006"},
    quota=json_answer(402, '{"code": 402, "message": "Low balance"}'),
    genuine=_genuine,
)  # fmt: skip
