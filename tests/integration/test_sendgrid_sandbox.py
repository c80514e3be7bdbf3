"""The SendGrid adapter against the sandbox, over real sockets; what it reports is compared with what arrived."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from messaging.channel import Role
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import sendgrid_credentials
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.contract.servers import nobody
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from workers.providers import sendgrid
from workers.providers.base import Account, Adapter, Context, Recipient
from workers.providers.mime import sender_of


def opened(addresses: SandboxAddresses, credentials: Mapping[str, object] | None = None) -> Adapter:
    """A SendGrid adapter that speaks to the sandbox."""
    account = Account(
        provider_id=1,
        public_id="mail",
        kind="sendgrid",
        credentials=sendgrid_credentials() if credentials is None else credentials,
        options=ENVELOPE,
    )
    return sendgrid.open_adapter(account, Context(tokens=NoTokens(), endpoints={"sendgrid": addresses.sendgrid}))


async def sent(adapter: Adapter, to: Sequence[Recipient], email: Email | None = None) -> Sequence[Outcome]:
    """The outcomes of one call."""
    return await adapter.send(adapter.prepare(outgoing(email or Email(subject="s", content="b"))), to)


def test_a_thousand_recipients_arrive_once_each_and_apart(tmp_path: Path) -> None:
    """One request; every tag comes back, nobody shares a copy, the provider's id is the sandbox's."""

    async def run() -> None:
        to = people(*(f"u{n}@example.com" for n in range(1000)))
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "sendgrid")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert {(entry["recipient"], entry["tag"]) for entry in entries} == {(one.address, one.tag) for one in to}
        assert len(entries) == 1000
        assert all(outcome.provider_message_id for outcome in outcomes)

    asyncio.run(run())


def test_bad_recipients_fail_alone(tmp_path: Path) -> None:
    """What the sandbox refuses is disabled; exactly the others arrive, once."""

    async def run() -> None:
        to = people("a@example.com", "invalid@example.com", "b@example.com", "invalid+2@example.com")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "sendgrid")
        assert [outcome.action for outcome in outcomes] == [
            Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET
        ]  # fmt: skip
        assert sorted(entry["recipient"] for entry in entries) == ["a@example.com", "b@example.com"]

    asyncio.run(run())


def test_a_full_message_is_taken(tmp_path: Path) -> None:
    """HTML, text, an attachment, headers and a name in any letters."""
    email = Email(
        subject="Grüße", content="<p>Hallo</p>", html=True, text="Hallo", headers={"List-Unsubscribe": "<https://e.org>"},
        attachments=(Attachment(filename="ü.txt", content_type="text/plain", content=b"x" * 100_000),),
    )  # fmt: skip

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            (outcome,) = await sent(adapter, people("ann@example.com", name="Änn", role=Role.CC), email)
            await adapter.aclose()
            (entry,) = await arrived(addresses, "sendgrid")
        assert outcome.action is Action.ACCEPTED
        assert entry["payload"]["subject"] == "Grüße"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "action"),
    [
        ("unauthorized@example.com", Action.STOP_PROVIDER),
        ("no-credits@example.com", Action.QUOTA),
        ("forbidden@example.com", Action.STOP_PROVIDER),
        ("too-big@example.com", Action.REJECT_MESSAGE),
        ("rate-limit@example.com", Action.RETRY_AFTER),
        ("server-error@example.com", Action.AMBIGUOUS_RETRY),
        ("unavailable@example.com", Action.RETRY),
        ("gateway-timeout@example.com", Action.AMBIGUOUS_RETRY),
        ("reset@example.com", Action.AMBIGUOUS_RETRY),
        ("lost-answer@example.com", Action.AMBIGUOUS_RETRY),
    ],
)
def test_each_class_of_answer_leads_to_its_action(address: str, action: Action, tmp_path: Path) -> None:
    """Only what is reported as accepted, or as unknown, can have arrived."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            (outcome,) = await sent(adapter, people(address))
            await adapter.aclose()
            entries = await arrived(addresses, "sendgrid")
        assert outcome.action is action, outcome
        if entries:
            assert action is Action.AMBIGUOUS_RETRY
        if action is Action.RETRY_AFTER:
            assert outcome.retry_after_s is not None

    asyncio.run(run())


def test_a_server_that_is_not_there_got_nothing(tmp_path: Path) -> None:
    """A refused connection is not sent; a retry is safe."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses, nobody() as port:
            adapter = opened(replace(addresses, sendgrid=f"http://127.0.0.1:{port}"))
            (outcome,) = await sent(adapter, people("a@example.com"))
            await adapter.aclose()
        assert (outcome.action, outcome.code) == (Action.RETRY, "ConnectError")

    asyncio.run(run())


def test_an_answer_that_never_comes_is_unknown(tmp_path: Path) -> None:
    """The request left."""

    async def run() -> None:
        async with (
            sandbox(tmp_path) as addresses,
            httpx.AsyncClient(
                base_url=addresses.sendgrid,
                timeout=httpx.Timeout(60.0, read=0.3),
                trust_env=False,
                headers={"authorization": f"Bearer {sendgrid_credentials()['apiKey']}"},
            ) as client,
        ):
            adapter = sendgrid.SendgridAdapter(sender_of(ENVELOPE), client)
            (outcome,) = await sent(adapter, people("timeout@example.com"))
        assert (outcome.action, outcome.code) == (Action.AMBIGUOUS_RETRY, "ReadTimeout")

    asyncio.run(run())
