"""Resend's receipts from end to end: the adapter sends, the sandbox reports, the reader understands."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from svix.webhooks import Webhook

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.resend import SENDING_KEY_PREFIX, STAND_IN
from messaging.local.sandbox.webhooks import events_for
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import resend
from workers.providers.base import Account, Adapter, Context, Recipient

MAIL = Email(subject="s", content="b")


def account_of(**credentials: object) -> Account:
    """An account of the sandbox."""
    known = STAND_IN.fields() | credentials
    return Account(provider_id=1, public_id="mail", kind="resend", credentials=known, options=ENVELOPE)


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter."""
    return resend.open_adapter(account, Context(tokens=NoTokens(), endpoints={"resend": addresses.of("resend")}))


async def sent(
    addresses: SandboxAddresses, account: Account, to: Sequence[Recipient], email: Email = MAIL
) -> Sequence[Outcome]:
    """The outcomes of one call."""
    adapter = opened(addresses, account)
    try:
        return await adapter.send(adapter.prepare(outgoing(email)), to)
    finally:
        await adapter.aclose()


async def control(addresses: SandboxAddresses, path: str, **body: object) -> None:
    """POST to the sandbox's control address."""
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.post(f"{addresses.control}/{path}", json=body)).raise_for_status()


async def register(addresses: SandboxAddresses, account: Account, url: str) -> None:
    """Have the account's receipts sent to `url`."""
    key = STAND_IN.webhook_key(account.credentials)
    await control(addresses, "webhooks", kind="resend", url=url, key=key)


def test_every_email_is_reported_under_its_tag(tmp_path: Path) -> None:
    """Each address's own events, signed so that the library of Svix takes them, too."""
    names = ["a", "bounced", "soft-bounced", "late", "complained", "opened", "rejected", "no-receipt", "suppressed"]

    async def run() -> None:
        account = account_of()
        to = people(*(f"{name}+1@example.com" for name in names))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            outcomes = await sent(addresses, account, to)
            assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
            expected = {one.tag: list(events_for(one.address)) for one in to if events_for(one.address)}
            expected[to[-1].tag] = [Event.BOUNCED_HARD]
            requests = list(await catcher.until(sum(map(len, expected.values()))))
        ids = {one.tag: outcome.provider_message_id for one, outcome in zip(to, outcomes, strict=True)}
        told: dict[str, list[Event]] = defaultdict(list)
        for request in requests:
            Webhook(str(account.credentials["webhookKey"])).verify(request.body, dict(request.headers))
            for receipt in await resend.read_receipts(request, account, nothing):
                told[receipt.tag or ""].append(receipt.event)
                assert receipt.provider_message_id == ids[receipt.tag or ""]
                assert receipt.key == request.headers["svix-id"]
        assert {tag: sorted(events) for tag, events in told.items()} == {
            tag: sorted(events) for tag, events in expected.items()
        }

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """Any byte of it; another account's key is no better."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            await sent(addresses, account, people("a@example.com"))
            (request,) = await catcher.until(1)
        assert await resend.read_receipts(request, account, nothing)
        for place in range(len(request.body)):
            body = bytearray(request.body)
            body[place] ^= 1
            with pytest.raises(ForgedReceiptError):
                await resend.read_receipts(replace(request, body=bytes(body)), account, nothing)
        with pytest.raises(ForgedReceiptError):
            await resend.read_receipts(request, account_of(), nothing)

    asyncio.run(run())


def test_a_lost_answer_is_asked_for_again_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """With half of the answers lost, all but those lost twice are known; none has arrived twice."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await control(addresses, "faults", protocol="resend", lost_answer_rate=0.5, seed=3)
            account = account_of()
            calls = [people(f"u{n}@example.com", f"v{n}@example.com") for n in range(20)]
            outcomes = [await sent(addresses, account, to) for to in calls]
            entries = await arrived(addresses, "resend")
        assert {outcome.action for call in outcomes for outcome in call} == {Action.ACCEPTED}
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for to in calls for one in to)
        assert {entry["status"] for entry in entries} == {0, 200}  # some were lost
        ids = {entry["tag"]: entry["id"] for entry in entries}
        for to, call in zip(calls, outcomes, strict=True):
            assert [outcome.provider_message_id for outcome in call] == [ids[one.tag] for one in to]

    asyncio.run(run())


def test_the_same_emails_told_again_are_sent_once(tmp_path: Path) -> None:
    """As after a crash; in other company they are another request."""

    async def run() -> None:
        account, to = account_of(), people("a@example.com", "b@example.com")
        message = outgoing(MAIL)
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account)
            prepared = adapter.prepare(message)
            first = await adapter.send(prepared, to)
            again = await adapter.send(prepared, [replace(one, attempt=2) for one in reversed(to)])
            entries = await arrived(addresses, "resend")
            await adapter.aclose()
        assert list(first) == list(reversed(again))
        assert len(entries) == 2

    asyncio.run(run())


def test_files_arrive_with_each_email(tmp_path: Path) -> None:
    """One request each, and what one refuses harms no other."""

    async def run() -> None:
        file = Attachment(filename="ü.txt", content_type="text/plain", content=b"x" * 1000)
        to = people("a@example.com", "invalid@example.com", "b@example.com")
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(addresses, account_of(), to, Email(subject="s", content="b", attachments=(file,)))
            entries = await arrived(addresses, "resend")
        assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED]
        assert {entry["about"]["emails"] for entry in entries} == {1}
        for entry in entries:
            assert entry["payload"]["attachments"] == [{"filename": "ü.txt", "type": "text/plain", "bytes": 1000}]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "action", "outage"),
    [
        ("a", Action.ACCEPTED, False),
        ("invalid", Action.DISABLE_TARGET, False),
        ("missing-field", Action.REJECT_MESSAGE, False),
        ("bad-parameter", Action.REJECT_MESSAGE, False),
        ("bad-attachment", Action.REJECT_MESSAGE, False),
        ("bad-sender", Action.STOP_PROVIDER, False),
        ("bad-key", Action.STOP_PROVIDER, False),
        ("testing-only", Action.STOP_PROVIDER, False),
        ("held-back", Action.STOP_PROVIDER, False),
        ("busy-once", Action.RETRY, False),
        ("rate-limit", Action.RETRY_AFTER, False),
        ("daily-quota", Action.QUOTA, False),
        ("monthly-quota", Action.QUOTA, False),
        ("server-error", Action.RETRY, True),
        ("server-error-once", Action.ACCEPTED, False),
        ("bad-gateway", Action.AMBIGUOUS_RETRY, True),
        ("unavailable", Action.RETRY, True),
        ("reset", Action.AMBIGUOUS_RETRY, True),
    ],
)
def test_each_class_of_answer_leads_to_its_action(name: str, action: Action, outage: bool, tmp_path: Path) -> None:
    """Only what is reported as accepted has arrived."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            (outcome,) = await sent(addresses, account_of(), people(f"{name}@example.com"))
            entries = await arrived(addresses, "resend")
        assert (outcome.action, outcome.outage) == (action, outage), outcome
        assert action is not Action.RETRY_AFTER or outcome.retry_after_s is not None
        assert len(entries) == (1 if action is Action.ACCEPTED else 0)

    asyncio.run(run())


def test_a_check_takes_a_key_that_may_only_send(tmp_path: Path) -> None:
    """It may not look at domains, and nothing is on record."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(apiKey=f"{SENDING_KEY_PREFIX}_1"))
            outcome = await adapter.check()
            await adapter.aclose()
            entries = await arrived(addresses, "resend")
        assert outcome.action is Action.ACCEPTED
        assert "send" in outcome.reason
        assert entries == []

    asyncio.run(run())
