"""The MSG91 adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping

from messaging.local.sandbox.web.msg91 import REFUSED_KEY
from messaging.message import Email, Sms
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


def _genuine(_: Mapping[str, object]) -> Genuine:
    reports = [
        {"date": "2026-11-23 10:06:20", "number": "919812345678", "status": status, "CRQID": tag, "desc": ""}
        for status, tag in (("1", "t1"), ("9", "t2"), ("2", "t3"))
    ]
    body = json.dumps([{"senderId": "ABCDEF", "requestId": "346b6b", "report": reports}])
    return Genuine(inbound=posted(body.encode()), with_body=posted)


SUBJECT = web_subject(
    "msg91",
    dead="+1999400",
    not_now="+1999503",
    wrong={"authKey": REFUSED_KEY},
    unsendable=(
        Sms(content="x" * 1601),
        Email(subject="Hello", content="there"),
        Sms(content=""),
        Sms(content="\ud800"),
    ),
    refused_content=json_answer(200, '{"message": "SMS is too long", "type": "error", "code": "310"}'),
    unreadable=unreadable(
        200,
        json_answer(200, '{"type": "success"}'),
        json_answer(200, '{"message": "5134842646923e183d000075"}'),
    ),
    quota=json_answer(200, '{"message": "Insufficient balance", "type": "error", "code": "301"}'),
    genuine=_genuine,
)
