"""Plivo."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from messaging.local.sandbox.web.plivo import REFUSED_TOKEN, STAND_IN, signatures
from messaging.message import Push, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "+1999050", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip


def _credentials() -> dict[str, Any]:
    fields = STAND_IN.fields()
    return {name: fields[name] for name in ("authId", "authToken")}


def _genuine(account: Mapping[str, object]) -> Genuine:
    url = f"{RECEIPTS_URL}?delivery=t1"

    def inbound(body: bytes) -> Inbound:
        form = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        headers |= signatures(url, form, str(account["authToken"]))
        return Inbound(method="POST", url=url, headers=headers, body=body, received_at=datetime.now(UTC))

    fields = {
        "From": "14155550100",
        "To": "14155550101",
        "MessageUUID": "db3ce55a-7f1d-11e1-8ea7-1231380bc196",
        "Status": "undelivered",
        "ErrorCode": "200",
        "Units": "1",
    }
    whole = inbound(urlencode(fields).encode())
    return Genuine(inbound=whole, signature=whole.headers["x-plivo-signature-v3"], with_body=inbound)


SUBJECT = Subject(
    kind="plivo",
    content=Sms(content="Code: 1234"),
    unsendable=(
        Sms(content="x" * 1601),
        Sms(content="ж" * 738),
        Sms(content=""),
        Sms(content="\ud83d"),
        Push(title="Hello"),
    ),
    fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
    magic=lambda case: _MAGIC[case],
    endpoint=lambda addresses: addresses.of("plivo"),
    credentials=lambda _: _credentials(),
    wrong=lambda _: _credentials() | {"authToken": REFUSED_TOKEN},
    serve=by_http1,
    refused_content=json_answer(400, '{"api_id": "1", "error": "text is not valid"}'),
    unreadable=(
        Answer(202, body=b"<html>"),
        Answer(202),
        Answer(204),
        json_answer(202, "[]"),
        json_answer(202, '{"message_uuid": []}'),
        json_answer(200, '{"message_uuid": [null]}'),
        Answer(202, {"content-encoding": "gzip"}, b"<html>"),
        Answer(202, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    options={"from": "+14155550100"},
    quota=json_answer(400, '{"api_id": "1", "error": "Insufficient Credit"}'),
    genuine=_genuine,
)
