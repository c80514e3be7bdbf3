"""Telesign from end to end: the adapter sends, the sandbox calls back, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.telesign import REFUSED_CUSTOMER, STAND_IN, api_key_of
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import telesign
from workers.providers.base import Account, Adapter, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.DEFERRED, Event.DELIVERED),
}
CALLBACKS = 8
"""For one message to each; a recipient's block is one callback and two events."""

ANSWERS: Mapping[str, Action] = {
    "+1999400": Action.DISABLE_TARGET,
    "+1999222": Action.DISABLE_TARGET,
    "+1999230": Action.SUPPRESS_TARGET,
    "+1999401": Action.STOP_PROVIDER,
    "+1999403": Action.STOP_PROVIDER,
    "+1999033": Action.STOP_PROVIDER,
    "+1999402": Action.QUOTA,
    "+1999413": Action.REJECT_MESSAGE,
    "+1999429": Action.RETRY_AFTER,
    "+1999500": Action.RETRY,
    "+1999503": Action.RETRY,
    "+1999001": Action.AMBIGUOUS_RETRY,
    "+1999004": Action.AMBIGUOUS_RETRY,
}


def account_of(**more: str) -> Account:
    """An account of the sandbox."""
    fields = STAND_IN.fields() | more
    return Account(provider_id=1, public_id="sms", kind="telesign", credentials=fields, options=fields)


def opened(addresses: SandboxAddresses, account: Account, receipts_url: str | None = None) -> Adapter:
    """Its adapter."""
    endpoints = {"telesign": addresses.of("telesign")}
    context = Context(tokens=NoTokens(), endpoints=endpoints, concurrency=10, receipts_url=receipts_url)
    return telesign.open_adapter(account, context)


async def sent(adapter: Adapter, to: Sequence[Recipient], text: str = "Grüße & 😀 + 1%") -> Sequence[Outcome]:
    """The outcomes of one call; the adapter is closed."""
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content=text))), to)
    await adapter.aclose()
    return outcomes


def numbers(*prefixes: str) -> list[str]:
    """A number for each."""
    return [f"{prefix}{place:04}" for place, prefix in enumerate(prefixes)]


def test_every_text_is_reported_under_its_tag(tmp_path: Path) -> None:
    """To the account's own receipt address; Telesign's library takes the signatures."""

    async def run() -> None:
        account = account_of()
        to = people(*numbers(*REPORTED, "+1888006"))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            outcomes = await sent(opened(addresses, account, catcher.url), to)
            requests = list(await catcher.until(CALLBACKS))
            entries = await arrived(addresses, "telesign")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert {entry["payload"]["message"] for entry in entries} == {"Grüße & 😀 + 1%"}
        assert {entry["tag"]: entry["id"] for entry in entries} == {
            one.tag: outcome.provider_message_id for one, outcome in zip(to, outcomes, strict=True)
        }
        check = import_module("telesign.util").verify_telesign_callback_signature
        told: dict[str, list[Event]] = defaultdict(list)
        for request in requests:
            signature = request.headers["x-ts-authorization"]
            assert request.headers["authorization"].endswith(f":{signature}")
            assert check(account.credentials["apiKey"], signature, request.body.decode())
            for receipt in await telesign.read_receipts(request, account, nothing):
                told[receipt.tag or ""].append(receipt.event)
        expected = dict(zip((one.tag for one in to), REPORTED.values(), strict=False))
        assert {tag: sorted(events) for tag, events in told.items()} == {
            tag: sorted(events) for tag, events in expected.items()
        }

    asyncio.run(run())


def test_an_answer_that_was_lost_is_made_up_for_by_a_callback(tmp_path: Path) -> None:
    """The sender does not know; Telesign has the message and says so."""

    async def run() -> None:
        account = account_of()
        (lost,) = people("+19990040000")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            (outcome,) = await sent(opened(addresses, account, catcher.url), [lost])
            (request,) = await catcher.until(1)
        assert outcome.action is Action.AMBIGUOUS_RETRY
        (receipt,) = await telesign.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """A byte of the body or of the signature, no signature, or another account's key."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await sent(opened(addresses, account, catcher.url), people("+15551000000"))
            (request,) = await catcher.until(1)
        assert await telesign.read_receipts(request, account, nothing)
        signature = request.headers["x-ts-authorization"]
        wrong = ("B" if signature[0] == "A" else "A") + signature[1:]
        bent = {name: value.replace(signature, wrong) for name, value in request.headers.items()}
        bare = {name: value for name, value in request.headers.items() if "authorization" not in name}
        for forged in (
            replace(request, body=request.body.replace(b'"code": 200', b'"code": 203')),
            replace(request, headers=bent),
            replace(request, headers=bare),
        ):
            assert forged != request
            with pytest.raises(ForgedReceiptError):
                await telesign.read_receipts(forged, account, nothing)
        with pytest.raises(ForgedReceiptError):
            await telesign.read_receipts(request, account_of(), nothing)

    asyncio.run(run())


def test_each_class_of_answer_leads_to_its_action(tmp_path: Path) -> None:
    """Only what is reported as accepted, or as unknown, can have arrived."""

    async def run() -> None:
        found: dict[str, Action] = {}
        async with sandbox(tmp_path) as addresses:
            for prefix in ANSWERS:
                number = f"{prefix}0000"
                (outcome,) = await sent(opened(addresses, account_of()), people(number))
                assert number[1:] not in outcome.reason
                found[prefix] = outcome.action
            entries = await arrived(addresses, "telesign")
        assert found == ANSWERS
        assert {ANSWERS[entry["recipient"][:8]] for entry in entries} == {Action.AMBIGUOUS_RETRY}

    asyncio.run(run())


def test_a_check_sends_nothing_and_tells_good_credentials_from_bad_ones(tmp_path: Path) -> None:
    """The sandbox verifies the signature as Telesign does."""

    async def run() -> list[Outcome]:
        accounts = (account_of(), account_of(apiKey=api_key_of("another")), account_of(customerId=REFUSED_CUSTOMER))
        outcomes = []
        async with sandbox(tmp_path) as addresses:
            for account in accounts:
                adapter = opened(addresses, account)
                outcomes.append(await adapter.check())
                await adapter.aclose()
            assert await arrived(addresses, "telesign") == []
        return outcomes

    good, *bad = asyncio.run(run())
    assert good.action is Action.ACCEPTED
    assert good.reason
    assert {outcome.action for outcome in bad} == {Action.STOP_PROVIDER}
