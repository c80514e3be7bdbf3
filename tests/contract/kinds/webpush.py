"""Web Push, at the sandbox's push service."""

from __future__ import annotations

import secrets

from messaging.local.sandbox.web.webpush import REFUSED_SUBJECT, STAND_IN
from messaging.local.sandbox.web_push_subscriptions import subscription
from messaging.message import Email, Push
from messaging.outcome import Action
from tests.contract.servers import Answer
from tests.contract.subject import Magic, Subject, by_http1, json_answer

_MAGIC = {
    Magic.DEAD: "magic-gone",
    Magic.SILENT: "magic-timeout",
    Magic.DROPPED: "magic-drop",
    Magic.LOST: "magic-lost-answer",
    Magic.NOT_NOW: "magic-unavailable",
}

SUBJECT = Subject(
    kind="webpush",
    content=Push(title="Hello", body="there", data={"order": "1"}),
    unsendable=(
        Push(title="x", body="y" * 4000),
        Email(subject="Hello", content="there"),
        Push(title="half a character: \ud83d"),
    ),
    fresh=lambda: subscription(f"b{secrets.token_hex(16)}"),
    magic=lambda case: subscription(f"{_MAGIC[case]}-{secrets.token_hex(8)}"),
    endpoint=lambda addresses: addresses.of("webpush"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"subject": REFUSED_SUBJECT},
    serve=by_http1,
    refused_content=json_answer(413, '{"reason": "PayloadTooLarge"}'),
    unreadable=(Answer(200), Answer(200, body=b"<html>"), Answer(204), Answer(206), Answer(201, cut=True)),
    throttled=Action.RETRY_AFTER,
    delay_s=(7, 7),
    check_asks=False,
)
