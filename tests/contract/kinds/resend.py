"""Resend, held to the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.resend import REFUSED_KEY, sign
from messaging.message import Email, Push
from messaging.receipt import Inbound
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


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
        return posted(body, headers)

    inbound = with_body(json.dumps(event).encode())
    return Genuine(inbound=inbound, signature=inbound.headers["svix-signature"].partition(",")[2], with_body=with_body)


SUBJECT = web_subject(
    "resend",
    dead="invalid",
    not_now="unavailable",
    wrong={"apiKey": REFUSED_KEY},
    unsendable=(
        Email(subject="", content="b"),
        Push(title="x"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="a\r\nb", content="c"),
        Email(subject="s", content="b", headers={"X-A": "b\r\nBcc: c"}),
    ),
    refused_content=json_answer(422, '{"statusCode": 422, "name": "invalid_parameter", "message": "Bad."}'),
    unreadable=unreadable(200, json_answer(200, '{"data": []}')),
    quota=json_answer(
        429, '{"statusCode": 429, "name": "daily_quota_exceeded", "message": "You have reached your daily quota."}'
    ),
    genuine=_genuine,
)
