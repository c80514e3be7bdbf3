"""What Twilio alone tells."""

import asyncio
from pathlib import Path

import pytest

from messaging.local.sandbox.twilio import SUSPENDED
from messaging.message import Sms
from messaging.outcome import Action
from messaging.receipt import Event
from tests.integration.mail_sandbox import people, sandbox
from tests.integration.receipt_catcher import account_of, catching, receipts_in, register, sent

TEXT = Sms(content="Code: 1234")


@pytest.mark.parametrize("registered", [False, True])
def test_somebody_who_answers_stop_is_named_by_number(registered: bool, tmp_path: Path) -> None:
    """To where the number's incoming messages go, or, with nothing registered, to the same address without a tag."""

    async def run() -> None:
        account = account_of("twilio")
        (reader,) = people("+18880035555")
        async with sandbox(tmp_path) as addresses, catching() as catcher, catching() as other:
            if registered:
                await register(addresses, account, other.url)
            await sent(addresses, account, [reader], TEXT, receipts_url=catcher.url)
            (request,) = await (other if registered else catcher).until(1)
        assert "delivery" not in request.url
        (receipt,) = await receipts_in([request], account)
        assert (receipt.event, receipt.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
        assert (receipt.address, receipt.tag) == (reader.address, None)

    asyncio.run(run())


def test_a_suspended_account_sends_nothing(tmp_path: Path) -> None:
    """20005: as a quota, until somebody looks."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            (outcome,) = await sent(addresses, account_of("twilio", accountSid=SUSPENDED), people("+15551000000"), TEXT)
        assert (outcome.action, outcome.code) == (Action.QUOTA, "20005")

    asyncio.run(run())
