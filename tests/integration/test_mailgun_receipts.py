"""Mailgun's receipts from end to end: the adapter sends, the sandbox reports, the reader understands."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.mailgun import SENDING_KEY_PREFIX, STAND_IN, UNKNOWN_DOMAIN, UNVERIFIED_DOMAIN
from messaging.local.sandbox.webhooks import events_for
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import mailgun
from workers.providers.base import Account, Adapter, Context, Recipient

MAIL = Email(subject="s", content="b")


def account_of(**credentials: object) -> Account:
    """An account of the sandbox."""
    known = STAND_IN.fields() | credentials
    return Account(provider_id=1, public_id="mail", kind="mailgun", credentials=known, options=ENVELOPE)


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter."""
    return mailgun.open_adapter(account, Context(tokens=NoTokens(), endpoints={"mailgun": addresses.of("mailgun")}))


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
    await control(addresses, "webhooks", kind="mailgun", url=url, key=key)


def test_every_copy_is_reported_under_its_tag(tmp_path: Path) -> None:
    """Each address's own events; what Mailgun takes and doesn't send, too."""
    names = ["a", "bounced", "soft-bounced", "late", "complained", "unsubscribed", "opened", "rejected", "no-receipt"]

    async def run() -> None:
        account = account_of()
        to = people(*(f"{name}+1@example.com" for name in [*names, "suppressed-bounce", "suppressed-unsubscribe"]))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            outcomes = await sent(addresses, account, to)
            assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
            expected = {one.tag: list(events_for(one.address)) for one in to if events_for(one.address)}
            expected[to[-2].tag] = [Event.BOUNCED_HARD]
            expected[to[-1].tag] = [Event.REJECTED, Event.UNSUBSCRIBED]
            requests = list(await catcher.until(sum(map(len, expected.values())) - 1))
        told: dict[str, list[Event]] = defaultdict(list)
        keys = set()
        for request in requests:
            receipts = await mailgun.read_receipts(request, account, nothing)
            keys |= {receipt.key for receipt in receipts}
            for receipt in receipts:
                told[receipt.tag or ""].append(receipt.event)
        assert {tag: sorted(events) for tag, events in told.items()} == {
            tag: sorted(events) for tag, events in expected.items()
        }
        assert len(keys) == len(requests)

    asyncio.run(run())


def test_a_request_that_is_caught_is_forged_once_its_signature_is_changed(tmp_path: Path) -> None:
    """Any byte of it; another account's key is no better."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            await sent(addresses, account, people("a@example.com"))
            (request,) = await catcher.until(1)
        assert await mailgun.read_receipts(request, account, nothing)
        block = json.dumps(json.loads(request.body)["signature"]).encode()
        start = request.body.index(block)
        for place in range(start, start + len(block)):
            body = bytearray(request.body)
            body[place] ^= 1
            with pytest.raises(ForgedReceiptError):
                await mailgun.read_receipts(replace(request, body=bytes(body)), account, nothing)
        with pytest.raises(ForgedReceiptError):
            await mailgun.read_receipts(request, account_of(), nothing)

    asyncio.run(run())


def test_an_answer_that_was_lost_is_made_up_for_by_a_receipt(tmp_path: Path) -> None:
    """The sender does not know; the provider has the mail and says so."""

    async def run() -> None:
        account = account_of()
        (lost,) = people("lost-answer@example.com")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            (outcome,) = await sent(addresses, account, [lost])
            assert outcome.action is Action.AMBIGUOUS_RETRY
            (request,) = await catcher.until(1)
        (receipt,) = await mailgun.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


def test_a_thousand_get_their_copies_with_a_file_in_one_request(tmp_path: Path) -> None:
    """Each with its own tag and its own way out."""

    async def run() -> None:
        to = [
            replace(one, unsubscribe_url=f"https://example.org/u/{one.target_id}")
            for one in people(*(f"u{n}@example.com" for n in range(1000)))
        ]
        file = Attachment(filename="a.txt", content_type="text/plain", content=b"x" * 1000)
        email = Email(subject="s", content="for %recipient%", attachments=(file,))
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(addresses, account_of(), to, email)
            entries = await arrived(addresses, "mailgun")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert [(entry["recipient"], entry["tag"]) for entry in entries] == [(one.address, one.tag) for one in to]
        assert {entry["about"]["recipients"] for entry in entries} == {1000}
        for entry, one in zip(entries, to, strict=True):
            assert entry["payload"]["text"] == "for %recipient%"
            assert entry["payload"]["headers"]["List-Unsubscribe"] == f"<{one.unsubscribe_url}>"
            assert entry["payload"]["attachments"] == [{"filename": "a.txt", "type": "text/plain", "bytes": 1000}]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "action", "outage"),
    [
        ("a", Action.ACCEPTED, False),
        ("invalid", Action.DISABLE_TARGET, False),
        ("bad-parameter", Action.REJECT_MESSAGE, False),
        ("unverified", Action.STOP_PROVIDER, False),
        ("bad-key", Action.STOP_PROVIDER, False),
        ("failed", Action.REJECT_MESSAGE, False),
        ("no-batches", Action.STOP_PROVIDER, False),
        ("bad-ip", Action.STOP_PROVIDER, False),
        ("no-domain", Action.STOP_PROVIDER, False),
        ("too-big", Action.REJECT_MESSAGE, False),
        ("rate-limit", Action.RETRY_AFTER, False),
        ("quota", Action.RETRY_AFTER, False),
        ("server-error", Action.AMBIGUOUS_RETRY, True),
        ("bad-gateway", Action.AMBIGUOUS_RETRY, True),
        ("unavailable", Action.RETRY, True),
        ("gateway-timeout", Action.AMBIGUOUS_RETRY, True),
        ("reset", Action.AMBIGUOUS_RETRY, True),
    ],
)
def test_each_class_of_answer_leads_to_its_action(name: str, action: Action, outage: bool, tmp_path: Path) -> None:
    """Only what is reported as accepted has arrived."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            (outcome,) = await sent(addresses, account_of(), people(f"{name}@example.com"))
            entries = await arrived(addresses, "mailgun")
        assert (outcome.action, outcome.outage) == (action, outage), outcome
        assert (outcome.retry_after_s is not None) is (action is Action.RETRY_AFTER)
        assert len(entries) == (1 if action is Action.ACCEPTED else 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changed", "action"),
    [
        ({}, Action.ACCEPTED),
        ({"apiKey": f"{SENDING_KEY_PREFIX}1"}, Action.ACCEPTED),
        ({"domain": UNVERIFIED_DOMAIN}, Action.STOP_PROVIDER),
        ({"domain": UNKNOWN_DOMAIN}, Action.STOP_PROVIDER),
        ({"apiKey": f"{SENDING_KEY_PREFIX}1", "domain": UNVERIFIED_DOMAIN}, Action.STOP_PROVIDER),
    ],
)
def test_a_check_tells_a_domain_that_may_send_from_others(
    changed: dict[str, str], action: Action, tmp_path: Path
) -> None:
    """And no mail is on record."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(**changed))
            outcome = await adapter.check()
            await adapter.aclose()
            entries = await arrived(addresses, "mailgun")
        assert outcome.action is action
        assert outcome.reason
        assert entries == []

    asyncio.run(run())
