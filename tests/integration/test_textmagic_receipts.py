"""What Textmagic alone tells."""

import asyncio
from pathlib import Path

from messaging.message import Sms
from messaging.outcome import Action
from messaging.receipt import Event
from tests.integration.mail_sandbox import people, sandbox
from tests.integration.receipt_catcher import account_of, catching, register, sent


def test_somebody_who_answers_stop_is_named_by_number(tmp_path: Path) -> None:
    """It comes as a message of its own."""

    async def run() -> None:
        account = account_of("textmagic")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            await sent(addresses, account, people("+18880031234"), Sms(content="Hello"))
            (receipt,) = await catcher.receipts(account, 1)
        assert (receipt.event, receipt.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
        assert (receipt.address, receipt.tag, receipt.provider_message_id) == ("+18880031234", None, None)

    asyncio.run(run())
