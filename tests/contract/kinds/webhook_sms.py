"""Text messages to a receiver of our webhook protocol."""

from __future__ import annotations

import secrets
from dataclasses import replace

from messaging.local.sandbox.web.webhook_sms import STAND_IN
from messaging.message import Push, Sms
from tests.contract.kinds import webhook_push
from tests.contract.subject import Magic, fresh_number

_MAGIC = {
    Magic.DEAD: "+19000404",
    Magic.SILENT: "+19009000",
    Magic.DROPPED: "+19009001",
    Magic.LOST: "+19009004",
    Magic.NOT_NOW: "+19000503",
}

SUBJECT = replace(
    webhook_push.SUBJECT,
    kind="webhook_sms",
    content=Sms(content="Code: 1234"),
    unsendable=(Push(title="x"), Sms(content=""), Sms(content="half a character: \ud83d")),
    fresh=fresh_number,
    magic=lambda case: f"{_MAGIC[case]}{secrets.randbelow(10**5):05}",
    endpoint=lambda addresses: addresses.of("webhook_sms"),
    credentials=lambda _: STAND_IN.fields(),
)
