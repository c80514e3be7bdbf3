"""MSG91 from end to end: the adapter sends, the sandbox reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.msg91 import FOREIGN_KEY, REFUSED_KEY, REFUSED_TEMPLATE, STAND_IN
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import msg91
from workers.providers.base import Account, Adapter, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+91981234": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_SOFT,),
    "+1888002": (Event.ACCEPTED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.ACCEPTED, Event.DELIVERED),
}
"""By number. MSG91 has one word for all that could not be delivered."""
REQUESTS = 2
"""All first reports, then all second ones."""

ANSWERS: Mapping[str, Action] = {
    "+1999400": Action.DISABLE_TARGET,
    "+1999401": Action.STOP_PROVIDER,
    "+1999418": Action.STOP_PROVIDER,
    "+1999402": Action.QUOTA,
    "+1999306": Action.RETRY_AFTER,
    "+1999413": Action.REJECT_MESSAGE,
    "+1999311": Action.ACCEPTED,
    "+1999429": Action.RETRY_AFTER,
    "+1999500": Action.AMBIGUOUS_RETRY,
    "+1999503": Action.RETRY,
    "+1999001": Action.AMBIGUOUS_RETRY,
    "+1999004": Action.AMBIGUOUS_RETRY,
}


def account_of(**more: str) -> Account:
    """An account of the sandbox."""
    return Account(provider_id=1, public_id="sms", kind="msg91", credentials=STAND_IN.fields() | more)


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter."""
    return msg91.open_adapter(account, Context(tokens=NoTokens(), endpoints={"msg91": addresses.of("msg91")}))


async def sent(adapter: Adapter, to: Sequence[Recipient], text: str = "Grüße & 😀 + 1%") -> Sequence[Outcome]:
    """The outcomes of one call; the adapter is closed."""
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content=text))), to)
    await adapter.aclose()
    return outcomes


async def register(addresses: SandboxAddresses, url: str) -> None:
    """Reports go there."""
    async with httpx.AsyncClient(trust_env=False) as client:
        body = {"kind": "msg91", "url": url}
        (await client.post(f"{addresses.control}/webhooks", json=body)).raise_for_status()


def test_every_text_is_reported_under_its_tag(tmp_path: Path) -> None:
    """Sent in one request, reported many at a time."""

    async def run() -> None:
        account = account_of()
        to = people(*(f"{prefix}{place:04}" for place, prefix in enumerate(REPORTED)), "+18880060000")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, catcher.url)
            outcomes = await sent(opened(addresses, account), to)
            requests = list(await catcher.until(REQUESTS))
            entries = await arrived(addresses, "msg91")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert {entry["about"]["recipients"] for entry in entries} == {len(to)}
        assert {entry["payload"]["message"] for entry in entries} == {"Grüße & 😀 + 1%"}
        told: dict[str | None, list[Event]] = defaultdict(list)
        for request in requests:
            for receipt in await msg91.read_receipts(request, account, nothing):
                told[receipt.tag].append(receipt.event)
        tags = (one.tag for one in to)
        assert {tag: sorted(events) for tag, events in told.items()} == dict(
            zip(tags, map(sorted, REPORTED.values()), strict=False)
        )

    asyncio.run(run())


def test_an_answer_that_was_lost_is_made_up_for_by_a_report(tmp_path: Path) -> None:
    """The sender does not know; MSG91 has the message and says so."""

    async def run() -> None:
        account = account_of()
        (lost,) = people("+19990040000")
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, catcher.url)
            (outcome,) = await sent(opened(addresses, account), [lost])
            (request,) = await catcher.until(1)
        assert outcome.action is Action.AMBIGUOUS_RETRY
        (receipt,) = await msg91.read_receipts(request, account, nothing)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


def test_a_bad_number_keeps_nobody_from_the_text(tmp_path: Path) -> None:
    """A hundred at once, three of them bad, and nothing says which."""

    async def run() -> None:
        good = [f"+91981234{n:04}" for n in range(97)]
        bad = [f"+1999400{n:04}" for n in range(3)]
        mixed = [*good[:10], bad[0], *good[10:70], bad[1], *good[70:], bad[2]]
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(opened(addresses, account_of()), people(*mixed))
            entries = await arrived(addresses, "msg91")
        by_action = {number: outcome.action for number, outcome in zip(mixed, outcomes, strict=True)}
        assert {number for number, action in by_action.items() if action is Action.DISABLE_TARGET} == set(bad)
        assert sorted(entry["recipient"] for entry in entries) == sorted(good)

    asyncio.run(run())


def test_each_class_of_answer_leads_to_its_action(tmp_path: Path) -> None:
    """HTTP 200 is not success; what arrived is unknown at worst."""

    async def run() -> None:
        found: dict[str, Action] = {}
        async with sandbox(tmp_path) as addresses:
            for prefix in ANSWERS:
                number = f"{prefix}0000"
                (outcome,) = await sent(opened(addresses, account_of()), people(number))
                assert number[1:] not in outcome.reason
                found[prefix] = outcome.action
            entries = await arrived(addresses, "msg91")
        assert found == ANSWERS
        assert {ANSWERS[entry["recipient"][:8]] for entry in entries} == {Action.AMBIGUOUS_RETRY}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wrong", "action"),
    [
        ({}, Action.ACCEPTED),
        ({"authKey": REFUSED_KEY}, Action.STOP_PROVIDER),
        ({"authKey": FOREIGN_KEY}, Action.STOP_PROVIDER),
        ({"templateId": REFUSED_TEMPLATE}, Action.STOP_PROVIDER),
    ],
)
def test_a_check_tells_what_is_wrong_and_sends_nothing(
    wrong: Mapping[str, str], action: Action, tmp_path: Path
) -> None:
    """The key, the addresses it may be used from, and the template."""

    async def run() -> Outcome:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(**wrong))
            outcome = await adapter.check()
            await adapter.aclose()
            assert await arrived(addresses, "msg91") == []
        return outcome

    outcome = asyncio.run(run())
    assert outcome.action is action
    assert outcome.reason
