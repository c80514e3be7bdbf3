"""MSG91 over real sockets: many numbers in one request."""

import asyncio
from pathlib import Path

from messaging.message import Sms
from messaging.outcome import Action
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import account_of, sent


def test_a_bad_number_keeps_nobody_from_the_text(tmp_path: Path) -> None:
    """A hundred at once, three of them bad, and nothing says which."""

    async def run() -> None:
        good = [f"+91981234{n:04}" for n in range(97)]
        bad = [f"+1999400{n:04}" for n in range(3)]
        mixed = [*good[:10], bad[0], *good[10:70], bad[1], *good[70:], bad[2]]
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(addresses, account_of("msg91"), people(*mixed), Sms(content="Hello"))
            entries = await arrived(addresses, "msg91")
        by_action = {number: outcome.action for number, outcome in zip(mixed, outcomes, strict=True)}
        assert {number for number, action in by_action.items() if action is Action.DISABLE_TARGET} == set(bad)
        assert sorted(entry["recipient"] for entry in entries) == sorted(good)

    asyncio.run(run())


def test_a_hundred_numbers_are_one_request(tmp_path: Path) -> None:
    """As many as we put in one."""

    async def run() -> None:
        to = people(*(f"+91981234{n:04}" for n in range(100)))
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(addresses, account_of("msg91"), to, Sms(content="Hello"))
            entries = await arrived(addresses, "msg91")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert [entry["about"]["recipients"] for entry in entries] == [100] * 100

    asyncio.run(run())
