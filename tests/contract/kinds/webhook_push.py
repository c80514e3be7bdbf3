"""Push messages to a receiver of our webhook protocol."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from messaging.local.sandbox.web.webhook_push import STAND_IN
from messaging.local.sandbox.webhook_receiver import sign
from messaging.message import Push, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import Genuine, Magic, Subject, by_http1, json_answer, posted

_MAGIC = {
    Magic.DEAD: "magic-dead",
    Magic.SILENT: "magic-timeout",
    Magic.DROPPED: "magic-reset",
    Magic.LOST: "magic-lost-answer",
    Magic.NOT_NOW: "magic-busy",
}


def _genuine(fields: Mapping[str, object]) -> Genuine:
    """Two events of one delivery and an opt-out, signed with the account's secret."""
    events = [
        {"id": "e1", "delivery": "t1", "event": "delivered", "at": "2030-01-31T12:00:00Z"},
        {"id": "e2", "delivery": "t1", "event": "complained", "code": "FBL", "reason": "reported", "suppress": True},
        {"id": "e3", "to": "token-1", "event": "unsubscribed"},
    ]

    def signed(body: bytes) -> Inbound:
        now = datetime.now(UTC)
        headers = sign(str(fields["secret"]), "evt_1", int(now.timestamp()), body)
        return posted(body, headers)

    inbound = signed(json.dumps({"events": events}).encode())
    return Genuine(inbound=inbound, signature=inbound.headers["webhook-signature"], with_body=signed)


SUBJECT = Subject(
    kind="webhook_push",
    content=Push(title="Hello", body="there", data={"order": "1"}),
    unsendable=(Sms(content="x"), Push(title="half a character: \ud83d")),
    fresh=lambda: f"token-{secrets.token_hex(16)}",
    magic=lambda case: f"{_MAGIC[case]}-{secrets.token_hex(8)}",
    endpoint=lambda addresses: addresses.of("webhook_push"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"secret": "whsec_" + "A" * 32},
    serve=by_http1,
    refused_content=json_answer(422, '{"code": "unprocessable"}'),
    unreadable=(
        Answer(200, body=b"<html>"),
        json_answer(200, "[]"),
        json_answer(202, '{"results": []}'),
        json_answer(200, '{"results": [{"status": "accepted"}]}'),
        json_answer(200, '{"results": null}'),
        Answer(206, body=b"<html>"),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"),
        Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    quota=json_answer(402, '{"code": "no-credit"}'),
    genuine=_genuine,
)
