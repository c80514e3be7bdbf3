"""Infobip from end to end: the adapter sends, the sandbox answers and reports, the reader understands."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.infobip import STAND_IN
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import infobip
from workers.providers.base import Account, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.DEFERRED, Event.DELIVERED),
}
"""By number; an opt-out is one report that is a failure as well."""


def account_of() -> Account:
    """An account of the sandbox."""
    fields = STAND_IN.fields()
    options = {"from": fields.pop("from")}
    return Account(provider_id=1, public_id="sms", kind="infobip", credentials=fields, options=options)


async def sent(
    addresses: SandboxAddresses, account: Account, to: Sequence[Recipient], *, url: str | None = None
) -> Sequence[Outcome]:
    """The outcomes of one call."""
    context = Context(tokens=NoTokens(), endpoints={"infobip": addresses.of("infobip")}, receipts_url=url)
    adapter = infobip.open_adapter(account, context)
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content="Grüße 😀"))), to)
    await adapter.aclose()
    return outcomes


@pytest.mark.parametrize("with_callback", [True, False], ids=["callback of the message", "webhook of the account"])
def test_every_text_is_reported_under_its_tag(with_callback: bool, tmp_path: Path) -> None:
    """Reports of one moment come together. Without a callback of its own a message has no intermediate ones."""

    async def run() -> None:
        account = account_of()
        to = people(*(f"{prefix}{place:04}" for place, prefix in enumerate(REPORTED)))
        told: dict[str, list[Receipt]] = defaultdict(list)
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            async with httpx.AsyncClient(trust_env=False) as client:
                hook = {"kind": "infobip", "url": catcher.url}
                (await client.post(f"{addresses.control}/webhooks", json=hook)).raise_for_status()
            outcomes = await sent(addresses, account, to, url=catcher.url if with_callback else None)
            for request in await catcher.until(2):
                for receipt in await infobip.read_receipts(request, account, nothing):
                    told[receipt.tag or ""].append(receipt)
            entries = await arrived(addresses, "infobip")
        assert outcomes == [Outcome(Action.ACCEPTED, provider_message_id=one.tag) for one in to]
        assert {entry["payload"]["content"]["text"] for entry in entries} == {"Grüße 😀"}
        for one, expected in zip(to, REPORTED.values(), strict=True):
            events = [event for event in expected if with_callback or event is not Event.DEFERRED]
            assert {receipt.event for receipt in told[one.tag]} == set(events)
            assert len(told[one.tag]) == len(events)
            assert {receipt.provider_message_id for receipt in told[one.tag]} == {one.tag}

    asyncio.run(run())


def test_a_message_whose_answer_was_lost_can_be_sent_again_and_arrives_once(tmp_path: Path) -> None:
    """Its id is the same, and the log says that the first stands. A neighbour that never arrived does now."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, to = account_of(), people("+1999004", "+15551000000")
            lost = await sent(addresses, account, to)
            again = await sent(addresses, account, to[1:])
            entries = await arrived(addresses, "infobip")
        assert [outcome.action for outcome in lost] == [Action.AMBIGUOUS_RETRY] * 2
        assert again == [Outcome(Action.ACCEPTED, provider_message_id=to[1].tag)]
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for one in to)

    asyncio.run(run())


@pytest.mark.parametrize("number", ["+1998020", "+1998021"])
def test_a_message_that_was_rejected_for_now_arrives_the_next_time(number: str, tmp_path: Path) -> None:
    """Though the sandbox takes its id for used: it goes out under a further one, with the same tag."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, (one,) = account_of(), people(number)
            (rejected,) = await sent(addresses, account, [one])
            (taken,) = await sent(addresses, account, [one])
            (repeated,) = await sent(addresses, account, [one])
            (entry,) = await arrived(addresses, "infobip")
        assert rejected.action is Action.RETRY
        assert taken == repeated == Outcome(Action.ACCEPTED, provider_message_id=f"{one.tag}.2")
        assert (entry["id"], entry["tag"]) == (f"{one.tag}.2", one.tag)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999052", Action.DISABLE_TARGET),
        ("+1999010", Action.SUPPRESS_TARGET),
        ("+1999014", Action.SUPPRESS_TARGET),
        ("+1999087", Action.REJECT_MESSAGE),
        ("+1999012", Action.QUOTA),
        ("+1999013", Action.STOP_PROVIDER),
        ("+1999006", Action.STOP_PROVIDER),
        ("+1999020", Action.RETRY),
        ("+1999021", Action.RETRY),
        ("+1999400", Action.DISABLE_TARGET),
        ("+1999499", Action.REJECT_MESSAGE),
    ],
)
def test_a_refused_recipient_harms_no_other(number: str, action: Action, tmp_path: Path) -> None:
    """Whether the answer has a status for it, names it, or refuses the request without a word."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            to = people("+15551000001", number, "+15551000002", "+15551000003")
            found = await sent(addresses, account_of(), to)
            entries = await arrived(addresses, "infobip")
        expected = [Action.ACCEPTED, action, Action.ACCEPTED, Action.ACCEPTED]
        assert [outcome.action for outcome in found] == expected, found
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for one in to if one.address != number)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999401", Action.STOP_PROVIDER),
        ("+1999403", Action.STOP_PROVIDER),
        ("+1999429", Action.RETRY_AFTER),
        ("+1999500", Action.AMBIGUOUS_RETRY),
        ("+1999503", Action.RETRY),
        ("+1999001", Action.AMBIGUOUS_RETRY),
    ],
)
def test_an_answer_for_the_whole_request_holds_for_all_of_it(number: str, action: Action, tmp_path: Path) -> None:
    """And nothing arrives."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            found = await sent(addresses, account_of(), people("+15551000001", number))
            assert await arrived(addresses, "infobip") == []
        assert [outcome.action for outcome in found] == [action] * 2

    asyncio.run(run())


def test_a_hundred_recipients_are_one_request(tmp_path: Path) -> None:
    """Under one bulk id."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            to = people(*(f"+1555{n:07}" for n in range(100)))
            found = await sent(addresses, account_of(), to)
            entries = await arrived(addresses, "infobip")
        assert {outcome.action for outcome in found} == {Action.ACCEPTED}
        assert len({entry["about"]["bulk"] for entry in entries}) == 1
        assert sorted((e["recipient"], e["tag"]) for e in entries) == sorted((one.address, one.tag) for one in to)

    asyncio.run(run())


def test_the_stand_in_keeps_infobips_rules(tmp_path: Path) -> None:
    """What is missing, wrong or too long refuses the request, with its place."""
    good: dict[str, Any] = {"sender": "Acme", "destinations": [{"to": "15551000000"}], "content": {"text": "Hi"}}
    wrong: Sequence[tuple[dict[str, Any], str]] = (
        ({"sender": ""}, "messages[1].sender"),
        ({"content": {}}, "messages[1].content.text"),
        ({"content": {"text": "x" * 3826}}, "messages[1].content.text"),
        ({"destinations": []}, "messages[1].destinations"),
        ({"destinations": [{"to": "+15551000000"}]}, "messages[1].destinations[0].to"),
        ({"destinations": [{"to": "15551000000", "messageId": "x" * 201}]}, "messages[1].destinations[0].messageId"),
        ({"options": {"validityPeriod": {"amount": 0}}}, "messages[1].options.validityPeriod.amount"),
        ({"options": {"validityPeriod": {"amount": 1, "timeUnit": "AGES"}}},
         "messages[1].options.validityPeriod.timeUnit"),
        ({"webhooks": {"delivery": {"url": "here"}}}, "messages[1].webhooks.delivery.url"),
        ({"webhooks": {"callbackData": "x" * 4001}}, "messages[1].webhooks.callbackData"),
    )  # fmt: skip

    async def run() -> None:
        headers = {"authorization": f"App {account_of().credentials['apiKey']}"}
        async with sandbox(tmp_path) as addresses, httpx.AsyncClient(trust_env=False, headers=headers) as client:
            url = f"{addresses.of('infobip')}/sms/3/messages"
            for change, where in wrong:
                answer = await client.post(url, content=json.dumps({"messages": [good, good | change]}))
                assert answer.status_code == 400
                assert [violation["property"] for violation in answer.json()["violations"]] == [where]
            assert (await client.post(url, json={"messages": [good]})).status_code == 200
            assert len(await arrived(addresses, "infobip")) == 1

    asyncio.run(run())
