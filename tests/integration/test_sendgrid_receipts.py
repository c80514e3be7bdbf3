"""SendGrid's receipts from end to end: the adapter sends, the sandbox reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import sendgrid_credentials, sendgrid_webhook_keys
from messaging.local.sandbox.webhooks import events_for
from messaging.message import Email
from messaging.outcome import Action
from messaging.receipt import Event, ForgedReceiptError
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import sendgrid
from workers.providers.base import Account, Adapter, Context

MAIL = Email(subject="s", content="b")


def account_of(**credentials: str) -> Account:
    """An account of the sandbox."""
    known = sendgrid_credentials() | credentials
    return Account(provider_id=1, public_id="mail", kind="sendgrid", credentials=known, options=ENVELOPE)


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter."""
    return sendgrid.open_adapter(account, Context(tokens=NoTokens(), endpoints={"sendgrid": addresses.sendgrid}))


async def control(addresses: SandboxAddresses, path: str, **body: object) -> Mapping[str, object]:
    """What the sandbox's control address answers to a POST."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = (await client.post(f"{addresses.control}/{path}", json=body)).raise_for_status()
    found: Mapping[str, object] = answer.json()
    return found


def test_every_copy_is_reported_under_its_tag(tmp_path: Path) -> None:
    """Each address's own events, in order; many in one request, signed so that SendGrid's library takes them, too."""
    names = ["a", "bounced", "soft-bounced", "late", "complained", "unsubscribed", "opened", "rejected", "no-receipt"]

    async def run() -> None:
        private, public = sendgrid_webhook_keys()
        account = account_of(webhookKey=public)
        to = people(*(f"{name}+1@example.com" for name in names))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await control(addresses, "webhooks", kind="sendgrid", url=catcher.url, key=private)
            adapter = opened(addresses, account)
            outcomes = await adapter.send(adapter.prepare(outgoing(MAIL)), to)
            await adapter.aclose()
            assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
            rounds = max(len(events_for(one.address)) for one in to)
            requests = list(await catcher.until(rounds))
        told: dict[str, list[Event]] = defaultdict(list)
        for request in requests:
            headers = request.headers
            assert EventWebhook(public).verify_signature(
                request.body.decode(),
                headers["x-twilio-email-event-webhook-signature"],
                headers["x-twilio-email-event-webhook-timestamp"],
            )
            for receipt in await sendgrid.read_receipts(request, account, nothing):
                told[receipt.tag or ""].append(receipt.event)
                assert receipt.provider_message_id == outcomes[0].provider_message_id
        assert told == {one.tag: list(events_for(one.address)) for one in to if events_for(one.address)}

    asyncio.run(run())


def test_an_answer_that_was_lost_is_made_up_for_by_a_receipt(tmp_path: Path) -> None:
    """The sender does not know; the provider has the mail and says so."""

    async def run() -> None:
        private, public = sendgrid_webhook_keys()
        account = account_of(webhookKey=public)
        (lost,) = people("lost-answer@example.com")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await control(addresses, "webhooks", kind="sendgrid", url=catcher.url, key=private)
            adapter = opened(addresses, account)
            (outcome,) = await adapter.send(adapter.prepare(outgoing(MAIL)), [lost])
            await adapter.aclose()
            assert outcome.action is Action.AMBIGUOUS_RETRY
            (request,) = await catcher.until(1)
        (receipt,) = await sendgrid.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """A byte of the body or of the time, or another account's key."""

    async def run() -> None:
        private, public = sendgrid_webhook_keys()
        account = account_of(webhookKey=public)
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await control(addresses, "webhooks", kind="sendgrid", url=catcher.url, key=private)
            adapter = opened(addresses, account)
            await adapter.send(adapter.prepare(outgoing(MAIL)), people("a@example.com"))
            await adapter.aclose()
            (request,) = await catcher.until(1)
        assert await sendgrid.read_receipts(request, account, nothing)
        time = "x-twilio-email-event-webhook-timestamp"
        later = str(int(request.headers[time]) + 1)
        for forged, reader in (
            (replace(request, body=request.body.replace(b"delivered", b"delivereD", 1)), account),
            (replace(request, headers={**request.headers, time: later}), account),
            (request, account_of(webhookKey=sendgrid_webhook_keys()[1])),
        ):
            with pytest.raises(ForgedReceiptError):
                await sendgrid.read_receipts(forged, reader, nothing)

    asyncio.run(run())


def test_mail_is_taken_without_a_webhook_and_with_a_broken_one(tmp_path: Path) -> None:
    """A key it can't sign with is said at the control address."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            adapter = opened(addresses, account_of())
            prepared = adapter.prepare(outgoing(MAIL))
            (without,) = await adapter.send(prepared, people("a@example.com"))
            await control(addresses, "webhooks", kind="sendgrid", url=catcher.url, key="nonsense")
            (broken,) = await adapter.send(prepared, people("b@example.com"))
            await adapter.aclose()
            state = await control(addresses, "webhooks", delay_ms=50)
        assert (without.action, broken.action) == (Action.ACCEPTED, Action.ACCEPTED)
        assert "P-256" in str(state["last_error"])
        assert catcher.caught == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("key", "action"),
    [("SG.any", Action.ACCEPTED), ("SG.forbidden", Action.STOP_PROVIDER), ("SG.revoked", Action.STOP_PROVIDER)],
)
def test_a_check_tells_a_key_that_may_send_from_others(key: str, action: Action, tmp_path: Path) -> None:
    """And no mail is on record."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(apiKey=key))
            outcome = await adapter.check()
            await adapter.aclose()
            entries = await arrived(addresses, "sendgrid")
        assert (outcome.action, outcome.outage) == (action, False)
        assert outcome.reason
        assert entries == []

    asyncio.run(run())


def test_a_check_during_an_outage_says_so(tmp_path: Path) -> None:
    """As sends would fare."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await control(addresses, "faults", protocol="sendgrid", rate_503=1.0)
            adapter = opened(addresses, account_of())
            outcome = await adapter.check()
            await adapter.aclose()
        assert (outcome.action, outcome.outage) == (Action.RETRY, True)

    asyncio.run(run())
