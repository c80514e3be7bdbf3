"""Vonage from end to end: the adapter sends, the sandbox answers and reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.vonage import REFUSED_SECRET, STAND_IN
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError, Inbound, Receipt, ReceiptKeyMissingError
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import vonage
from workers.providers.base import Account, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.DEFERRED, Event.DELIVERED),
}
"""By number; an opt-out is one receipt that is a failure as well."""


def account_of(**credentials: str) -> Account:
    """An account of the sandbox."""
    fields = STAND_IN.fields() | credentials
    options = {name: fields.pop(name) for name in ("from", "signatureMethod")}
    return Account(provider_id=1, public_id="sms", kind="vonage", credentials=fields, options=options)


async def sent(
    addresses: SandboxAddresses, account: Account, to: Sequence[Recipient], *, url: str | None = None, text: str = "Hi"
) -> Sequence[Outcome]:
    """The outcomes of one call."""
    context = Context(tokens=NoTokens(), endpoints={"vonage": addresses.of("vonage")}, concurrency=10, receipts_url=url)
    adapter = vonage.open_adapter(account, context)
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content=text))), to)
    await adapter.aclose()
    return outcomes


async def register(addresses: SandboxAddresses, account: Account, url: str) -> None:
    """Tell the sandbox where the account's receipts go, and how it signs them."""
    key = STAND_IN.webhook_key({**account.credentials, **account.options})
    async with httpx.AsyncClient(trust_env=False) as client:
        hook = {"kind": "vonage", "url": url, "key": key}
        (await client.post(f"{addresses.control}/webhooks", json=hook)).raise_for_status()


async def by_tag(requests: Sequence[Inbound], account: Account) -> Mapping[str, Sequence[Receipt]]:
    """What the reader makes of the requests, by the deliveries' tags."""
    told: dict[str, list[Receipt]] = defaultdict(list)
    for request in requests:
        for receipt in await vonage.read_receipts(request, account, nothing):
            told[receipt.tag or ""].append(receipt)
    return told


@pytest.mark.parametrize("with_callback", [True, False], ids=["callback of the message", "webhook of the account"])
def test_every_text_is_reported_under_its_tag(with_callback: bool, tmp_path: Path) -> None:
    """Signed with the account's secret; the ids are those of the answers."""

    async def run() -> None:
        account = account_of()
        to = people(*(f"{prefix}{place:04}" for place, prefix in enumerate(REPORTED)))
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            outcomes = await sent(addresses, account, to, url=catcher.url if with_callback else None)
            told = await by_tag(await catcher.until(8), account)
            entries = await arrived(addresses, "vonage")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert [entry["payload"].get("callback") for entry in entries] == [catcher.url if with_callback else None] * 6
        for one, outcome, expected in zip(to, outcomes, REPORTED.values(), strict=True):
            assert {receipt.event for receipt in told[one.tag]} == set(expected)
            assert len(told[one.tag]) == len(expected)
            assert {receipt.provider_message_id for receipt in told[one.tag]} == {outcome.provider_message_id}

    asyncio.run(run())


def test_a_long_text_is_reported_part_by_part(tmp_path: Path) -> None:
    """One id each; the first is that of the delivery. Letters outside GSM-7 stand on the phone as they were written."""

    async def run() -> None:
        account = account_of()
        (one,) = people("+15551000000")
        text = "Привет " * 20
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            (outcome,) = await sent(addresses, account, [one], url=catcher.url, text=text)
            told = await by_tag(await catcher.until(3), account)
            (entry,) = await arrived(addresses, "vonage")
        assert len({receipt.key for receipt in told[one.tag]}) == 3
        assert outcome.provider_message_id in {receipt.provider_message_id for receipt in told[one.tag]}
        assert STAND_IN.view(entry["payload"])["text"] == text

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """Any byte of the body, or another account's secret; without a secret it waits for one."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url)
            await sent(addresses, account, people("+15551000000"), url=catcher.url)
            (request,) = await catcher.until(1)
        assert await vonage.read_receipts(request, account, nothing)
        for place in range(len(request.body)):
            flipped = request.body[:place] + bytes([request.body[place] ^ 1]) + request.body[place + 1 :]
            with pytest.raises(ForgedReceiptError):
                await vonage.read_receipts(replace(request, body=flipped), account, nothing)
        with pytest.raises(ForgedReceiptError):
            await vonage.read_receipts(request, account_of(), nothing)
        with pytest.raises(ReceiptKeyMissingError):
            await vonage.read_receipts(request, account_of(webhookKey=""), nothing)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999033", Action.DISABLE_TARGET),
        ("+1999003", Action.DISABLE_TARGET),
        ("+1999006", Action.REJECT_MESSAGE),
        ("+1999007", Action.SUPPRESS_TARGET),
        ("+1999009", Action.QUOTA),
        ("+1999008", Action.STOP_PROVIDER),
        ("+1999015", Action.STOP_PROVIDER),
        ("+1999101", Action.RETRY_AFTER),
        ("+1999105", Action.RETRY),
        ("+1999401", Action.STOP_PROVIDER),
        ("+1999429", Action.RETRY_AFTER),
        ("+1999500", Action.AMBIGUOUS_RETRY),
        ("+1999503", Action.RETRY),
        ("+1999001", Action.AMBIGUOUS_RETRY),
    ],
)
def test_each_class_of_answer_leads_to_its_action(number: str, action: Action, tmp_path: Path) -> None:
    """And nothing arrives."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            (outcome,) = await sent(addresses, account_of(), people(number))
            assert await arrived(addresses, "vonage") == []
        assert outcome.action is action, outcome

    asyncio.run(run())


@pytest.mark.parametrize("number", ["+1998101", "+1998105", "+1998503"])
def test_what_was_refused_once_arrives_the_next_time(number: str, tmp_path: Path) -> None:
    """The refusal was certain."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, to = account_of(), people(number)
            found = [(await sent(addresses, account, to))[0].action for _ in range(2)]
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
        async with sandbox(tmp_path) as addresses, httpx.AsyncClient(trust_env=False) as client:
            for change, status in wrong:
                answer = await client.post(f"{addresses.of('vonage')}/sms/json", data=good | change)
                assert (answer.status_code, answer.json()["messages"][0]["status"]) == (200, status), change

    asyncio.run(run())
