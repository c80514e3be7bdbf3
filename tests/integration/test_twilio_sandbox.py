"""The Twilio adapter against the sandbox, over real sockets."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import twilio_credentials
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from tests.contract.servers import nobody
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from workers.providers import twilio
from workers.providers.base import Account, Adapter, Context, Recipient


def opened(addresses: SandboxAddresses, **options: str) -> Adapter:
    """A Twilio adapter that speaks to the sandbox."""
    account = Account(
        provider_id=1,
        public_id="sms",
        kind="twilio",
        credentials=twilio_credentials(),
        options={"from": "+15005550006"} | options,
    )
    context = Context(tokens=NoTokens(), endpoints={"twilio": addresses.twilio}, concurrency=10)
    return twilio.open_adapter(account, context)


async def sent(adapter: Adapter, to: Sequence[Recipient], text: str = "Code: 1234") -> Sequence[Outcome]:
    """The outcomes of one call."""
    return await adapter.send(adapter.prepare(outgoing(Sms(content=text))), to)


def test_every_recipient_gets_the_text_once(tmp_path: Path) -> None:
    """Any letters; the tag travels in the status callback."""

    async def run() -> None:
        to = people(*(f"+1500555{n:04}" for n in range(1000, 1050)))
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, statusCallback="https://example.org/status?x=1")
            outcomes = await sent(adapter, to, "Grüße & 😀 + 1%")
            await adapter.aclose()
            entries = await arrived(addresses, "twilio")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert sorted((e["recipient"], e["tag"]) for e in entries) == sorted((one.address, one.tag) for one in to)
        assert {entry["id"] for entry in entries} == {outcome.provider_message_id for outcome in outcomes}
        assert entries[0]["payload"]["Body"] == "Grüße & 😀 + 1%"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+15005550001", Action.DISABLE_TARGET),
        ("+15005550002", Action.DISABLE_TARGET),
        ("+15005550003", Action.STOP_PROVIDER),
        ("+15005550004", Action.SUPPRESS_TARGET),
        ("+15005550009", Action.DISABLE_TARGET),
        ("+1999611", Action.RETRY_AFTER),
        ("+1999401", Action.STOP_PROVIDER),
        ("+1999005", Action.QUOTA),
        ("+1999404", Action.STOP_PROVIDER),
        ("+1999429", Action.RETRY),
        ("+1999500", Action.AMBIGUOUS_RETRY),
        ("+1999503", Action.RETRY),
        ("+1999001", Action.AMBIGUOUS_RETRY),
        ("+1999004", Action.AMBIGUOUS_RETRY),
    ],
)
def test_each_class_of_answer_leads_to_its_action(number: str, action: Action, tmp_path: Path) -> None:
    """Only what is reported as accepted, or as unknown, can have arrived."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            (outcome,) = await sent(adapter, people(number))
            await adapter.aclose()
            entries = await arrived(addresses, "twilio")
        assert outcome.action is action, outcome
        if entries:
            assert action is Action.AMBIGUOUS_RETRY

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sender", "action"), [("+15005550001", Action.STOP_PROVIDER), ("+15005550008", Action.RETRY_AFTER)]
)
def test_a_sender_at_fault_never_blames_the_recipient(sender: str, action: Action, tmp_path: Path) -> None:
    """Twilio's test senders: one that is not valid, one whose queue is full."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, **{"from": sender})
            (outcome,) = await sent(adapter, people("+15005551000"))
            await adapter.aclose()
        assert outcome.action is action, outcome

    asyncio.run(run())


def test_no_connection_is_not_sent_and_no_answer_is_unknown(tmp_path: Path) -> None:
    """The first may be tried again; the second would send a second text message."""

    async def run() -> None:
        credentials = twilio_credentials()
        settings = twilio.TwilioSettings(credentials["accountSid"], credentials["authToken"], "+15005550006")
        async with (
            sandbox(tmp_path) as addresses,
            httpx.AsyncClient(
                base_url=addresses.twilio,
                timeout=httpx.Timeout(60.0, read=0.3),
                trust_env=False,
                auth=(settings.account_sid, settings.auth_token),
            ) as client,
        ):
            (unknown,) = await sent(twilio.TwilioAdapter(settings, client), people("+1999000"))
        async with nobody() as port:
            adapter = opened(replace(addresses, twilio=f"http://127.0.0.1:{port}"))
            (not_sent,) = await sent(adapter, people("+15005551000"))
            await adapter.aclose()
        assert (unknown.action, unknown.code) == (Action.AMBIGUOUS_RETRY, "ReadTimeout")
        assert (not_sent.action, not_sent.code) == (Action.RETRY, "ConnectError")

    asyncio.run(run())
