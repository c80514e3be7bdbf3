"""The Telesign adapter."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.telesign import STAND_IN, api_key_of
from messaging.message import Email, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999400", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip
_OPTIONS = {"from": "+15005550006"}


def _credentials(_: SandboxAddresses) -> dict[str, str]:
    made = STAND_IN.fields()
    return {name: made[name] for name in ("customerId", "apiKey")}


def _signed(key: str, body: bytes) -> tuple[Inbound, str]:
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), body, "sha256")).decode()
    headers = {"content-type": "application/json", "authorization": f"TSA ID:{signature}"}
    headers |= {"x-ts-authorization": signature}
    at = datetime.now(UTC)
    return Inbound(
        method="POST", url=f"{RECEIPTS_URL}?delivery=t", headers=headers, body=body, received_at=at
    ), signature


def _genuine(fields: Mapping[str, object]) -> Genuine:
    key = str(fields["apiKey"])
    status = {"code": 510, "description": "Blocked", "updated_on": "2026-11-23T05:00:00.181346Z"}
    body = json.dumps({"reference_id": "B56259E45884010488343BAA15FB0002", "status": status, "external_id": "t"})
    inbound, signature = _signed(key, body.encode())
    return Genuine(inbound=inbound, signature=signature, with_body=lambda other: _signed(key, other)[0])


SUBJECT = Subject(
    kind="telesign",
    content=Sms(content="Code: 1234"),
    unsendable=(
        Sms(content="x" * 1601), Email(subject="Hello", content="there"), Sms(content=""),
        Sms(content="\ud800"),
    ),
    fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
    magic=lambda case: f"{_MAGIC[case]}{secrets.randbelow(10**5):05}",
    endpoint=lambda addresses: addresses.of("telesign"),
    credentials=_credentials,
    wrong=lambda addresses: _credentials(addresses) | {"apiKey": api_key_of("somebody else")},
    serve=by_http1,
    refused_content=json_answer(400, '{"status": {"code": 11009, "description": "Invalid value for parameter"}}'),
    unreadable=(
        Answer(200, body=b"<html>"), Answer(200), json_answer(200, "[]"), Answer(204),
        json_answer(200, '{"status": {"code": 290}}'), json_answer(200, '{"reference_id": "A"}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"), Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options=_OPTIONS,
    quota=json_answer(400, '{"status": {"code": 10030, "description": "Insufficient funds in prepaid wallet."}}'),
    genuine=_genuine,
)  # fmt: skip
