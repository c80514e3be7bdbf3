"""Plivo."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from messaging.local.sandbox.web.plivo import REFUSED_TOKEN, signatures
from messaging.message import Push, Sms
from messaging.receipt import Inbound
from tests.contract.subject import RECEIPTS_URL, Genuine, json_answer, posted, unreadable, web_subject


def _genuine(account: Mapping[str, object]) -> Genuine:
    url = f"{RECEIPTS_URL}?delivery=t1"

    def inbound(body: bytes) -> Inbound:
        form = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        headers |= signatures(url, form, str(account["authToken"]))
        return posted(body, headers, url=url)

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


SUBJECT = web_subject(
    "plivo",
    dead="+1999050",
    not_now="+1999503",
    wrong={"authToken": REFUSED_TOKEN},
    unsendable=(
        Sms(content="x" * 1601),
        Sms(content="ж" * 738),
        Sms(content=""),
        Sms(content="\ud83d"),
        Push(title="Hello"),
    ),
    refused_content=json_answer(400, '{"api_id": "1", "error": "text is not valid"}'),
    unreadable=unreadable(
        202,
        json_answer(202, '{"message_uuid": []}'),
        json_answer(200, '{"message_uuid": [null]}'),
    ),
    quota=json_answer(400, '{"api_id": "1", "error": "Insufficient Credit"}'),
    genuine=_genuine,
)
