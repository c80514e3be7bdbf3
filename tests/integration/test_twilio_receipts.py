"""Twilio's receipts from end to end: the adapter sends, the sandbox reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest
from twilio.request_validator import RequestValidator

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import twilio_credentials
from messaging.local.sandbox.twilio import SUSPENDED
from messaging.message import Sms
from messaging.outcome import Action
from messaging.receipt import Event, ForgedReceiptError, Receipt
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import Catcher, catching, nothing
from workers.providers import twilio
from workers.providers.base import Account, Adapter, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.ACCEPTED, Event.BOUNCED_SOFT),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.ACCEPTED, Event.DELIVERED),
}
"""By number. Twilio has no word for a message it goes on trying: it says once more that it was sent."""


def account_of(**credentials: str) -> Account:
    """An account of the sandbox."""
    known = twilio_credentials() | credentials
    return Account(provider_id=1, public_id="sms", kind="twilio", credentials=known, options={"from": "+15005550006"})


def opened(addresses: SandboxAddresses, account: Account, receipts_url: str | None = None) -> Adapter:
    """Its adapter."""
    context = Context(
        tokens=NoTokens(), endpoints={"twilio": addresses.twilio}, concurrency=10, receipts_url=receipts_url
    )
    return twilio.open_adapter(account, context)


async def sent(addresses: SandboxAddresses, account: Account, catcher: Catcher, to: Sequence[Recipient]) -> None:
    """Send one text to each, to be reported to the catcher."""
    adapter = opened(addresses, account, catcher.url)
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content="Code: 1234"))), to)
    await adapter.aclose()
    assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}


def numbers(*prefixes: str) -> list[str]:
    """A number for each."""
    return [f"{prefix}{place:04}" for place, prefix in enumerate(prefixes)]


def test_every_text_is_reported_under_its_tag(tmp_path: Path) -> None:
    """To the account's own receipt address, which the adapter handed over; Twilio's validator takes the signatures."""

    async def run() -> None:
        account = account_of()
        to = people(*numbers(*REPORTED))
        validator = RequestValidator(str(account.credentials["authToken"]))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await sent(addresses, account, catcher, to)
            requests = list(await catcher.until(sum(map(len, REPORTED.values()))))
            entries = await arrived(addresses, "twilio")
        told: dict[str, list[Receipt]] = defaultdict(list)
        for request in requests:
            form = dict(parse_qsl(request.body.decode()))
            assert validator.validate(request.url, form, request.headers["x-twilio-signature"])
            (receipt,) = await twilio.read_receipts(request, account, nothing)
            told[receipt.tag or ""].append(receipt)
        for one, expected in zip(to, REPORTED.values(), strict=True):
            assert [receipt.event for receipt in told[one.tag]] == list(expected)
        sids = {entry["tag"]: entry["id"] for entry in entries}
        assert {tag: {r.provider_message_id for r in told[tag]} for tag in told} == {t: {s} for t, s in sids.items()}

    asyncio.run(run())


@pytest.mark.parametrize("registered", [False, True])
def test_somebody_who_answers_stop_is_named_by_number(registered: bool, tmp_path: Path) -> None:
    """To where the number's incoming messages go, or, with nothing registered, to the same address without a tag."""

    async def run() -> None:
        account = account_of()
        (reader,) = people("+18880035555")
        async with sandbox(tmp_path) as addresses, catching() as catcher, catching() as other:
            if registered:
                async with httpx.AsyncClient(trust_env=False) as client:
                    hook = {"kind": "twilio", "url": other.url}
                    (await client.post(f"{addresses.control}/webhooks", json=hook)).raise_for_status()
            await sent(addresses, account, catcher, [reader])
            (request,) = await (other if registered else catcher).until(1)
        assert "delivery" not in request.url
        (receipt,) = await twilio.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
        assert (receipt.address, receipt.tag) == (reader.address, None)

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """A byte of the body, the tag in the address, or another account's token."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await sent(addresses, account, catcher, people("+15551000000"))
            (request,) = await catcher.until(1)
        assert await twilio.read_receipts(request, account, nothing)
        for forged, reader in (
            (replace(request, body=request.body.replace(b"delivered", b"Delivered", 1)), account),
            (replace(request, url=f"{request.url}x"), account),
            (request, account_of()),
        ):
            with pytest.raises(ForgedReceiptError):
                await twilio.read_receipts(forged, reader, nothing)

    asyncio.run(run())


def test_an_answer_that_was_lost_is_made_up_for_by_a_receipt(tmp_path: Path) -> None:
    """The sender does not know; the provider has the text and says so."""

    async def run() -> None:
        account = account_of()
        (lost,) = people("+19990041234")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            adapter = opened(addresses, account, catcher.url)
            (outcome,) = await adapter.send(adapter.prepare(outgoing(Sms(content="x"))), [lost])
            await adapter.aclose()
            assert outcome.action is Action.AMBIGUOUS_RETRY
            (request,) = await catcher.until(1)
        (receipt,) = await twilio.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sid", "action"),
    [("AC" + "1" * 32, Action.ACCEPTED), (SUSPENDED, Action.STOP_PROVIDER), ("nonsense", Action.STOP_PROVIDER)],
)
def test_a_check_tells_an_active_account_from_others(sid: str, action: Action, tmp_path: Path) -> None:
    """And no text is on record."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(accountSid=sid))
            outcome = await adapter.check()
            await adapter.aclose()
            entries = await arrived(addresses, "twilio")
        assert (outcome.action, outcome.outage) == (action, False)
        assert outcome.reason
        assert entries == []

    asyncio.run(run())


def test_a_suspended_account_sends_nothing(tmp_path: Path) -> None:
    """20005: as a quota, until somebody looks."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(accountSid=SUSPENDED))
            (outcome,) = await adapter.send(adapter.prepare(outgoing(Sms(content="x"))), people("+15551000000"))
            await adapter.aclose()
        assert (outcome.action, outcome.code) == (Action.QUOTA, "20005")

    asyncio.run(run())
