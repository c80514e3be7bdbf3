"""The Telesign adapter."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping

from messaging.local.sandbox.web.telesign import api_key_of
from messaging.message import Email, Sms
from messaging.receipt import Inbound
from tests.contract.subject import RECEIPTS_URL, Genuine, json_answer, posted, unreadable, web_subject


def _signed(key: str, body: bytes) -> tuple[Inbound, str]:
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), body, "sha256")).decode()
    headers = {"content-type": "application/json", "authorization": f"TSA ID:{signature}"}
    headers |= {"x-ts-authorization": signature}
    return posted(body, headers, url=f"{RECEIPTS_URL}?delivery=t"), signature


def _genuine(fields: Mapping[str, object]) -> Genuine:
    key = str(fields["apiKey"])
    status = {"code": 510, "description": "Blocked", "updated_on": "2026-11-23T05:00:00.181346Z"}
    body = json.dumps({"reference_id": "B56259E45884010488343BAA15FB0002", "status": status, "external_id": "t"})
    inbound, signature = _signed(key, body.encode())
    return Genuine(inbound=inbound, signature=signature, with_body=lambda other: _signed(key, other)[0])


SUBJECT = web_subject(
    "telesign",
    dead="+1999400",
    not_now="+1999503",
    wrong={"apiKey": api_key_of("somebody else")},
    unsendable=(
        Sms(content="x" * 1601),
        Email(subject="Hello", content="there"),
        Sms(content=""),
        Sms(content="\ud800"),
    ),
    refused_content=json_answer(400, '{"status": {"code": 11009, "description": "Invalid value for parameter"}}'),
    unreadable=unreadable(
        200,
        json_answer(200, '{"status": {"code": 290}}'),
        json_answer(200, '{"reference_id": "A"}'),
    ),
    quota=json_answer(400, '{"status": {"code": 10030, "description": "Insufficient funds in prepaid wallet."}}'),
    genuine=_genuine,
)
