"""Email to a receiver of our webhook protocol."""

from __future__ import annotations

from dataclasses import replace

from messaging.local.sandbox.web.webhook_email import STAND_IN
from messaging.message import Email, Push
from tests.contract.kinds import webhook_push
from tests.contract.subject import fresh_mailbox, magic_mailboxes

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
    fresh=fresh_mailbox,
    magic=magic_mailboxes(dead="dead", not_now="busy"),
    endpoint=lambda addresses: addresses.of("webhook_email"),
    credentials=lambda _: STAND_IN.fields(),
    wrong=lambda _: STAND_IN.fields() | {"secret": "another one"},
    options={"fromEmail": "news@example.org", "fromName": "News"},
)
