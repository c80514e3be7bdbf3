"""Vonage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from messaging.local.sandbox.web.vonage import REFUSED_SECRET, signature
from messaging.message import Push, Sms
from tests.contract.subject import Genuine, json_answer, posted, unreadable, web_subject


def _genuine(account: Mapping[str, object]) -> Genuine:
    now = datetime.now(UTC)
    fields = {
        "msisdn": "447700900001",
        "to": "447700900000",
        "network-code": "23410",
        "messageId": "0B00000127FDBC63",
        "price": "0.03330000",
        "status": "failed",
        "scts": "1810251310",
        "err-code": "3",
        "api-key": str(account["apiKey"]),
        "client-ref": "t1",
        "message-timestamp": f"{now:%Y-%m-%d %H:%M:%S}",
        "timestamp": str(int(now.timestamp())),
        "nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
    }
    sig = signature(fields, str(account["signatureMethod"]), str(account["webhookKey"]))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Genuine(inbound=posted(urlencode(fields | {"sig": sig}).encode(), headers), signature=sig)


SUBJECT = web_subject(
    "vonage",
    dead="+1999033",
    not_now="+1999105",
    wrong={"apiSecret": REFUSED_SECRET},
    unsendable=(Sms(content="x" * 3201), Sms(content=""), Sms(content="\ud83d"), Push(title="Hello")),
    refused_content=json_answer(
        200, '{"message-count": "1", "messages": [{"status": "12", "error-text": "too long"}]}'
    ),
    unreadable=unreadable(
        200,
        json_answer(200, '{"message-count": "0", "messages": []}'),
        json_answer(200, '{"message-count": "1", "messages": [{"status": 0, "message-id": "1"}]}'),
        json_answer(200, '{"message-count": "1", "messages": [{"status": "0"}]}'),
    ),
    delay_s=None,
    quota=json_answer(
        200, '{"message-count": "1", "messages": [{"status": "9", "error-text": "Partner quota exceeded"}]}'
    ),
    genuine=_genuine,
)
