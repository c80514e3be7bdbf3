"""Vonage over real sockets: texts of several parts, second attempts, and its stand-in's rules."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from messaging.local.sandbox.web.vonage import REFUSED_SECRET, STAND_IN
from messaging.message import Sms
from messaging.outcome import Action
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import account_of, catching, register, sent


def test_a_long_text_is_reported_part_by_part(tmp_path: Path) -> None:
    """One id each; the first is that of the delivery. Letters outside GSM-7 stand on the phone as they were written."""

    async def run() -> None:
        account = account_of("vonage")
        (one,) = people("+15551000000")
        text = "Привет " * 20
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            (outcome,) = await sent(addresses, account, [one], Sms(content=text), receipts_url=catcher.url)
            receipts = await catcher.receipts(account, 3)
            (entry,) = await arrived(addresses, "vonage")
        assert len({receipt.key for receipt in receipts if receipt.tag == one.tag}) == 3
        assert outcome.provider_message_id in {receipt.provider_message_id for receipt in receipts}
        assert STAND_IN.view(entry["payload"])["text"] == text

    asyncio.run(run())


@pytest.mark.parametrize("number", ["+1998101", "+1998105", "+1998503"])
def test_what_was_refused_once_arrives_the_next_time(number: str, tmp_path: Path) -> None:
    """The refusal was certain."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, to = account_of("vonage"), people(number)
            found = [(await sent(addresses, account, to, Sms(content="Hi")))[0].action for _ in range(2)]
            assert len(await arrived(addresses, "vonage")) == 1
        assert found[0] in {Action.RETRY, Action.RETRY_AFTER}
        assert found[1] is Action.ACCEPTED

    asyncio.run(run())


def test_the_stand_in_keeps_vonages_rules(tmp_path: Path) -> None:
    """What is missing, wrong or too long is refused with Vonage's own status."""
    good = {"api_key": "k", "api_secret": "s", "to": "15551000000", "from": "Acme", "text": "Hi"}
    wrong: Sequence[tuple[dict[str, str], str]] = (
        ({"text": ""}, "2"),
        ({"to": "+15551000000"}, "3"),
        ({"ttl": "19999"}, "3"),
        ({"type": "smoke"}, "3"),
        ({"client-ref": "x" * 101}, "3"),
        ({"callback": "https://example.org/" + "x" * 81}, "23"),
        ({"from": "much too long a name"}, "15"),
        ({"text": "x" * 3201}, "12"),
        ({"api_secret": REFUSED_SECRET}, "4"),
        ({}, "0"),
    )

    async def run() -> None:
        async with sandbox(tmp_path) as addresses, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            for change, status in wrong:
                answer = await client.post(f"{addresses.of('vonage')}/sms/json", data=good | change)
                assert (answer.status_code, answer.json()["messages"][0]["status"]) == (200, status), change

    asyncio.run(run())
