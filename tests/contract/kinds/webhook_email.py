"""Email to a receiver of our webhook protocol."""

from __future__ import annotations

import secrets
from dataclasses import replace

from messaging.local.sandbox.web.webhook_email import STAND_IN
from messaging.message import Email, Push
from tests.contract.kinds import webhook_push
from tests.contract.subject import Magic

_MAGIC = {
    Magic.DEAD: "dead",
    Magic.SILENT: "timeout",
    Magic.DROPPED: "reset",
    Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "busy",
}

SUBJECT = replace(
    webhook_push.SUBJECT,
    kind="webhook_email",
    content=Email(subject="Hello", content="<p>there</p>", html=True),
    unsendable=(
        Push(title="x"),
        Email(subject="a\r\nb", content="c"),
        Email(subject="s", content="half a character: \ud83d"),
        Email(subject="s", content="b", headers={"To": "x"}),
    ),
    fresh=lambda: f"u{secrets.token_hex(8)}@example.com",
    magic=lambda case: f"{_MAGIC[case]}+{secrets.token_hex(8)}@example.com",
    endpoint=lambda addresses: addresses.of("webhook_email"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"secret": "another one"},
    options={"fromEmail": "news@example.org", "fromName": "News"},
)
