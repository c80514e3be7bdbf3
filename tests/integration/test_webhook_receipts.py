"""A message to a receiver of our webhook protocol, and the receipts that come back, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from messaging.local.sandbox import web
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.message import Content, Email, Push, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError
from tests.integration import receipt_catcher
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import account_of, catching, receipts_in, register
from workers.providers.base import Account, Recipient

CONTENTS: dict[str, Content] = {
    "webhook_push": Push(title="Hello"),
    "webhook_email": Email(subject="Hello", content="there"),
    "webhook_sms": Sms(content="Hello"),
}
FRESH = {"webhook_push": "token-1", "webhook_email": "ada@example.com", "webhook_sms": "+447700900123"}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's scenario, which ends in time."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


async def sent(
    addresses: SandboxAddresses, account: Account, to: list[Recipient], *, receipts_url: str | None = None
) -> list[Outcome]:
    """The outcomes of one call."""
    return await receipt_catcher.sent(addresses, account, to, CONTENTS[account.kind], receipts_url=receipts_url)


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_arrived_is_reported_to_the_address_the_request_named(kind: str, tmp_path: Path) -> None:
    """Signed with the account's secret, under the delivery's own name."""

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            account = account_of(kind)
            to = people(FRESH[kind])
            (outcome,) = await sent(addresses, account, to, receipts_url=catcher.url)
            assert outcome.action is Action.ACCEPTED
            (receipt,) = await catcher.receipts(account, 1)
            assert (receipt.event, receipt.tag, receipt.action) == (Event.DELIVERED, to[0].tag, Action.NONE)
            assert receipt.at is not None
            (line,) = await arrived(addresses, kind)
            assert (line["tag"], line["id"]) == (to[0].tag, outcome.provider_message_id)

    run(scenario())


def test_each_address_has_its_events_in_order(tmp_path: Path) -> None:
    """Bounces, complaints, opt-outs and openings, in one batch."""
    stories = {
        "bounced": [(Event.BOUNCED_HARD, Action.DISABLE_TARGET)],
        "soft-bounced": [(Event.DEFERRED, Action.NONE), (Event.BOUNCED_SOFT, Action.NONE)],
        "complained": [(Event.DELIVERED, Action.NONE), (Event.COMPLAINED, Action.SUPPRESS_TARGET)],
        "unsubscribed": [(Event.DELIVERED, Action.NONE), (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)],
        "opened": [(Event.DELIVERED, Action.NONE), (Event.OPENED, Action.NONE), (Event.CLICKED, Action.NONE)],
        "rejected-later": [(Event.DELIVERED, Action.NONE)],
        "no-receipt": [],
    }

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            account = account_of("webhook_email")
            to = people(*(f"{word}@example.com" for word in stories))
            outcomes = await sent(addresses, account, to, receipts_url=catcher.url)
            assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
            receipts = await catcher.receipts(account, sum(map(len, stories.values())))
            told: dict[str | None, list[tuple[Event, Action]]] = {one.tag: [] for one in to}
            for receipt in sorted(receipts, key=lambda receipt: receipt.key):  # one request may overtake another
                told[receipt.tag].append((receipt.event, receipt.action))
            assert list(told.values()) == list(stories.values())
            assert len({receipt.key for receipt in receipts}) == len(receipts)

    run(scenario())


def test_receipts_of_a_registered_account_are_signed_with_its_own_secret(tmp_path: Path) -> None:
    """Where the request names no address; and repeated until somebody takes them."""

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            catcher.refusals = 2
            account = account_of("webhook_sms", secret="a secret of my own")
            await register(addresses, account, catcher.url)
            to = people("+18880031234", "+447700900123")
            outcomes = await sent(addresses, account, to)
            assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 2
            receipts = await catcher.receipts(account, 2)
            assert {(receipt.tag, receipt.event) for receipt in receipts} == {
                (to[0].tag, Event.UNSUBSCRIBED),
                (to[1].tag, Event.DELIVERED),
            }

    run(scenario())


def test_a_receipt_with_one_byte_changed_is_forged(tmp_path: Path) -> None:
    """In the body or the signature; and so is one of another account's."""

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            account = account_of("webhook_sms")
            await sent(addresses, account, people("+447700900123"), receipts_url=catcher.url)
            await catcher.receipts(account, 1)
            (good,) = catcher.caught
            signature = good.headers["webhook-signature"]
            wrong = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
            for forged in (
                replace(good, body=good.body.replace(b"delivered", b"complained")),
                replace(good, body=good.body[:-1] + b" "),
                replace(good, headers=dict(good.headers) | {"webhook-signature": wrong}),
            ):
                with pytest.raises(ForgedReceiptError):
                    await receipts_in([forged], account)
            with pytest.raises(ForgedReceiptError):
                await receipts_in([good], account_of("webhook_sms", secret="another"))

    run(scenario())


def test_a_delivery_sent_again_is_taken_once(tmp_path: Path) -> None:
    """Its answer was lost, so nobody could know; the second answer names what was taken the first time."""

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses:
            account = account_of("webhook_sms")
            to = people("+190090041234", "+447700900123")
            first = await sent(addresses, account, to)
            assert [outcome.action for outcome in first] == [Action.AMBIGUOUS_RETRY] * 2
            again = await sent(addresses, account, [replace(one, attempt=2) for one in to])
            assert [outcome.action for outcome in again] == [Action.ACCEPTED] * 2
            lines = await arrived(addresses, "webhook_sms")
            assert [(line["recipient"], line["tag"]) for line in lines] == [(one.address, one.tag) for one in to]
            assert [line["id"] for line in lines] == [outcome.provider_message_id for outcome in again]

    run(scenario())


@pytest.mark.parametrize("kind", CONTENTS)
def test_every_magic_address_leads_to_what_its_row_says(kind: str, tmp_path: Path) -> None:
    """One by one; those that misbehave once are accepted the second time."""
    expected = {
        "dead": Action.DISABLE_TARGET, "suppressed": Action.SUPPRESS_TARGET, "rejected": Action.REJECT_MESSAGE,
        "failed": Action.REJECT_MESSAGE, "retry": Action.RETRY, "unauthorized": Action.STOP_PROVIDER,
        "no-credit": Action.QUOTA, "too-large": Action.REJECT_MESSAGE, "unprocessable": Action.REJECT_MESSAGE,
        "throttled": Action.RETRY_AFTER, "server-error": Action.AMBIGUOUS_RETRY, "unavailable": Action.RETRY,
    }  # fmt: skip

    async def scenario() -> None:
        async with sandbox(tmp_path) as addresses:
            account = account_of(kind)
            seen = set()
            for row in web.stand_in(kind).magic:
                if not row.answer.status:
                    continue
                seen.add(row.answer.code)
                address = f"{row.prefix}+1@example.com" if kind == "webhook_email" else f"{row.prefix}1234"
                (first,) = await sent(addresses, account, people(address))
                (second,) = await sent(addresses, account, people(address))
                assert first.action is expected[row.answer.code], (row, first)
                assert second.action is (Action.ACCEPTED if row.once else first.action), (row, second)
            assert seen == set(expected)

    run(scenario())
