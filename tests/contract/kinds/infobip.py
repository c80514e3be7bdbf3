"""Infobip."""

from __future__ import annotations

import json
from collections.abc import Mapping

from messaging.local.sandbox.web.infobip import REFUSED_KEY
from messaging.message import Push, Sms
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


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
    return Genuine(inbound=posted(json.dumps({"results": results}).encode()), with_body=posted)


SUBJECT = web_subject(
    "infobip",
    dead="+1999052",
    not_now="+1999021",
    wrong={"apiKey": REFUSED_KEY},
    unsendable=(Sms(content="x" * 3826), Sms(content=""), Sms(content="\ud83d"), Push(title="Hello")),
    refused_content=json_answer(
        400, '{"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text": "Bad Request"}}}'
    ),
    unreadable=unreadable(
        200,
        json_answer(200, '{"messages": []}'),
        json_answer(200, '{"messages": [{"messageId": "another", "status": {"groupId": 1, "id": 26}}]}'),
    ),
    genuine=_genuine,
)
