"""The Textmagic adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping

from messaging.local.sandbox.web.textmagic import REFUSED_KEY
from messaging.message import Email, Sms
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


def _genuine(_: Mapping[str, object]) -> Genuine:
    body = json.dumps({"id": 4471, "status": "d", "timestamp": 1795410000, "receiver": "447700900001", "text": "Hi"})
    return Genuine(inbound=posted(body.encode()), with_body=posted)


SUBJECT = web_subject(
    "textmagic",
    dead="+1999400",
    not_now="+1999503",
    wrong={"apiKey": REFUSED_KEY},
    unsendable=(
        Sms(content="x" * 919),
        Email(subject="Hello", content="there"),
        Sms(content=""),
        Sms(content="\ud800"),
    ),
    refused_content=json_answer(
        400, '{"code": 400, "message": "Validation Failed", "errors": {"fields": {"text": ["not that"]}}}'
    ),
    unreadable=unreadable(201, json_answer(201, '{"id": null, "type": "message"}')),
    quota=json_answer(402, '{"code": 402, "message": "Low balance"}'),
    genuine=_genuine,
)
