"""SendGrid's stand-in where something is wrong with its webhook or with itself."""

import asyncio
from pathlib import Path

from messaging.message import Email
from messaging.outcome import Action
from tests.integration.mail_sandbox import people, sandbox
from tests.integration.receipt_catcher import account_of, catching, checked, control, register, sent

MAIL = Email(subject="s", content="b")


def test_mail_is_taken_without_a_webhook_and_with_a_broken_one(tmp_path: Path) -> None:
    """A key it can't sign with is said at the control address."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            account = account_of("sendgrid")
            (without,) = await sent(addresses, account, people("a@example.com"), MAIL)
            await register(addresses, account, catcher.url, "nonsense")
            (broken,) = await sent(addresses, account, people("b@example.com"), MAIL)
            state = await control(addresses, "webhooks", delay_ms=50)
        assert (without.action, broken.action) == (Action.ACCEPTED, Action.ACCEPTED)
        assert "P-256" in str(state["last_error"])
        assert catcher.caught == []

    asyncio.run(run())


def test_a_check_during_an_outage_says_so(tmp_path: Path) -> None:
    """As sends would fare."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await control(addresses, "faults", protocol="sendgrid", rate_503=1.0)
            outcome = await checked(addresses, account_of("sendgrid"))
        assert (outcome.action, outcome.outage) == (Action.RETRY, True)

    asyncio.run(run())
