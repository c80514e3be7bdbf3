"""Textmagic from end to end: the adapter sends, the sandbox reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.textmagic import REFUSED_KEY, STAND_IN
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import textmagic
from workers.providers.base import Account, Adapter, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_SOFT,),
    "+1888002": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.DEFERRED, Event.DELIVERED),
}
"""By number. Textmagic has no word for a number that is dead."""

ANSWERS: Mapping[str, Action] = {
    "+1999400": Action.DISABLE_TARGET,
    "+1999610": Action.SUPPRESS_TARGET,
    "+1999401": Action.STOP_PROVIDER,
    "+1999403": Action.STOP_PROVIDER,
    "+1999606": Action.STOP_PROVIDER,
    "+1999402": Action.QUOTA,
    "+1999413": Action.REJECT_MESSAGE,
    "+1999429": Action.RETRY_AFTER,
    "+1999500": Action.AMBIGUOUS_RETRY,
    "+1999503": Action.RETRY,
    "+1999001": Action.AMBIGUOUS_RETRY,
    "+1999004": Action.AMBIGUOUS_RETRY,
}


def account_of(**more: str) -> Account:
    """An account of the sandbox."""
    fields = STAND_IN.fields() | more
    return Account(provider_id=1, public_id="sms", kind="textmagic", credentials=fields, options=fields)


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter."""
    endpoints = {"textmagic": addresses.of("textmagic")}
    return textmagic.open_adapter(account, Context(tokens=NoTokens(), endpoints=endpoints, concurrency=10))


async def sent(adapter: Adapter, to: Sequence[Recipient], text: str = "Grüße & 😀 + 1%") -> Sequence[Outcome]:
    """The outcomes of one call; the adapter is closed."""
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content=text))), to)
    await adapter.aclose()
    return outcomes


async def register(addresses: SandboxAddresses, url: str) -> None:
    """Reports go there."""
    async with httpx.AsyncClient(trust_env=False) as client:
        body = {"kind": "textmagic", "url": url}
        (await client.post(f"{addresses.control}/webhooks", json=body)).raise_for_status()


def test_every_text_is_reported_under_its_id(tmp_path: Path) -> None:
    """Which the answer had told."""

    async def run() -> None:
        account = account_of()
        to = people(*(f"{prefix}{place:04}" for place, prefix in enumerate(REPORTED)), "+18880060000")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, catcher.url)
            outcomes = await sent(opened(addresses, account), to)
            requests = list(await catcher.until(sum(map(len, REPORTED.values()))))
            entries = await arrived(addresses, "textmagic")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert {entry["payload"]["text"] for entry in entries} == {"Grüße & 😀 + 1%"}
        ids = [outcome.provider_message_id for outcome in outcomes]
        assert len(set(ids)) == len(to)
        told: dict[str | None, list[Event]] = defaultdict(list)
        for request in requests:
            for receipt in await textmagic.read_receipts(request, account, nothing):
                told[receipt.provider_message_id].append(receipt.event)
        assert {id_: sorted(events) for id_, events in told.items()} == dict(
            zip(ids, map(sorted, REPORTED.values()), strict=False)
        )

    asyncio.run(run())


def test_somebody_who_answers_stop_is_named_by_number(tmp_path: Path) -> None:
    """It comes as a message of its own."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, catcher.url)
            await sent(opened(addresses, account), people("+18880031234"))
            (request,) = await catcher.until(1)
        (receipt,) = await textmagic.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
        assert (receipt.address, receipt.tag, receipt.provider_message_id) == ("+18880031234", None, None)

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
            entries = await arrived(addresses, "textmagic")
        assert found == ANSWERS
        assert {ANSWERS[entry["recipient"][:8]] for entry in entries} == {Action.AMBIGUOUS_RETRY}

    asyncio.run(run())


def test_a_check_tells_the_balance_and_sends_nothing(tmp_path: Path) -> None:
    """Of good credentials; bad ones stop the account."""

    async def run() -> list[Outcome]:
        outcomes = []
        async with sandbox(tmp_path) as addresses:
            for account in (account_of(), account_of(apiKey=REFUSED_KEY)):
                adapter = opened(addresses, account)
                outcomes.append(await adapter.check())
                await adapter.aclose()
            assert await arrived(addresses, "textmagic") == []
        return outcomes

    good, bad = asyncio.run(run())
    assert good == Outcome(Action.ACCEPTED, reason="balance: 100.5 USD")
    assert bad.action is Action.STOP_PROVIDER
