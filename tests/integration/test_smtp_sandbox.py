"""The SMTP adapter against the sandbox's server: encryption, logins, classes of reply, and what arrives."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from messaging.channel import Role
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import smtp_credentials
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from workers.providers import smtp
from workers.providers.base import Account, Adapter, Context, Recipient
from workers.providers.destinations import ANYWHERE


def opened(
    addresses: SandboxAddresses,
    *,
    host: str | None = None,
    password: str | None = None,
    trusted: bool = True,
    **options: object,
) -> Adapter:
    """An SMTP adapter that speaks to the sandbox; its authority is trusted unless told otherwise."""
    credentials = smtp_credentials(addresses)
    if host is not None:
        credentials |= {"host": host}
    if password is not None:
        credentials |= {"password": password}
    account = Account(provider_id=1, public_id="mail", kind="smtp", credentials=credentials, options=ENVELOPE | options)
    ca_file = Path(addresses.ca_file) if trusted else None
    return smtp.open_adapter(account, Context(tokens=NoTokens(), destinations=ANYWHERE, ca_file=ca_file, concurrency=5))


async def sent(adapter: Adapter, to: Sequence[Recipient], content: Email | None = None) -> Sequence[Outcome]:
    """The outcomes of one call."""
    return await adapter.send(adapter.prepare(outgoing(content or Email(subject="s", content="b"))), to)


@pytest.mark.parametrize("encryption", ["none", "tls", "ssl"])
def test_a_message_arrives_over_every_encryption(encryption: str, tmp_path: Path) -> None:
    """STARTTLS where offered, STARTTLS required, and TLS from the first byte; logged in each time."""

    async def run() -> None:
        to = people("ann@example.com", name="Änn Lee")
        message = Email(
            subject="Grüße",
            content="<p>Hallo\n.\n..dots</p>",
            html=True,
            text=".\n..\nHallo",
            attachments=(Attachment(filename="ü.bin", content_type="application/x-b", content=bytes(300_000)),),
        )
        async with sandbox(tmp_path) as addresses:
            host = addresses.smtps if encryption == "ssl" else None
            adapter = opened(addresses, host=host, encryption=encryption)
            (outcome,) = await sent(adapter, to, message)
            await adapter.aclose()
            (entry,) = await arrived(addresses, "smtp")
        assert outcome.action is Action.ACCEPTED, outcome
        assert entry["tag"] == f"<{to[0].tag}@example.org>"
        assert entry["payload"]["subject"] == "Grüße"
        assert entry["payload"]["text"].splitlines() == [".", "..", "Hallo"]
        assert entry["payload"]["html"].splitlines() == ["<p>Hallo", ".", "..dots</p>"]

    asyncio.run(run())


def test_a_certificate_nobody_trusts_stops_the_provider(tmp_path: Path) -> None:
    """Nothing is said to a server that can't show who it is, whatever the policy."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            for encryption in ("none", "tls", "ssl"):
                host = addresses.smtps if encryption == "ssl" else None
                adapter = opened(addresses, host=host, trusted=False, encryption=encryption)
                (outcome,) = await sent(adapter, people("ann@example.com"))
                await adapter.aclose()
                assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, "certificate")
            assert not await arrived(addresses, "smtp")

    asyncio.run(run())


def test_a_refused_password_stops_the_provider(tmp_path: Path) -> None:
    """535 is about the account: no recipient is blamed."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, password="wrong", encryption="tls")
            (outcome,) = await sent(adapter, people("ann@example.com"))
            await adapter.aclose()
        assert outcome.action is Action.STOP_PROVIDER
        assert outcome.code.startswith("535")

    asyncio.run(run())


def test_a_check_logs_in_and_says_how(tmp_path: Path) -> None:
    """Over TLS; a refused password and a certificate nobody trusts stop the provider, as with a message."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            good = opened(addresses, encryption="tls")
            outcome = await good.check()
            assert outcome.action is Action.ACCEPTED, outcome
            assert outcome.reason.endswith("heliograph sandbox; encrypted (TLS), logged in")
            await good.aclose()
            assert (await good.check()).action is Action.RECONNECT_RETRY
            for bad in (opened(addresses, password="wrong", encryption="tls"), opened(addresses, trusted=False)):
                assert (await bad.check()).action is Action.STOP_PROVIDER
                await bad.aclose()
            assert not await arrived(addresses, "smtp")

    asyncio.run(run())


EXPECTED = {
    "unknown-user": Action.DISABLE_TARGET,
    "bounce": Action.DISABLE_TARGET,
    "bad-domain": Action.DISABLE_TARGET,
    "null-mx": Action.DISABLE_TARGET,
    "moved": Action.DISABLE_TARGET,
    "bad-name": Action.DISABLE_TARGET,
    "bad-syntax": Action.DISABLE_TARGET,
    "policy": Action.REJECT_MESSAGE,
    "dmarc": Action.STOP_PROVIDER,
    "busy": Action.RETRY,
    "mailbox-full": Action.RETRY,
    "over-quota": Action.RETRY,
    "too-many": Action.RETRY,
    "closing": Action.RETRY,
    "reset": Action.RETRY,
    "spam": Action.REJECT_MESSAGE,
    "too-big": Action.REJECT_MESSAGE,
    "data-busy": Action.RETRY,
    "drop-data": Action.AMBIGUOUS_RETRY,
    "lost-answer": Action.AMBIGUOUS_RETRY,
}


def test_each_class_of_reply_leads_to_its_action_and_harms_no_other_recipient(tmp_path: Path) -> None:
    """All of them in one call, with good addresses between them, over five connections."""

    async def run() -> None:
        bad = [f"{name}@example.com" for name in EXPECTED]
        good = [f"good{n}@example.com" for n in range(len(bad))]
        to = people(*(address for pair in zip(bad, good, strict=True) for address in pair))
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "smtp")
        found = {one.address: outcome for one, outcome in zip(to, outcomes, strict=True)}
        assert {name: found[f"{name}@example.com"].action for name in EXPECTED} == EXPECTED
        assert {found[address].action for address in good} == {Action.ACCEPTED}
        received = sorted(entry["recipient"] for entry in entries)
        assert received == sorted([*good, "lost-answer@example.com"])

    asyncio.run(run())


def test_a_greylisted_message_is_taken_the_second_time_under_the_same_message_id(tmp_path: Path) -> None:
    """The tag, and so the Message-ID, doesn't change between attempts."""

    async def run() -> None:
        to = people("greylist@example.com")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            (first,) = await sent(adapter, to)
            (second,) = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "smtp")
        assert first.action is Action.RETRY
        assert first.retry_after_s
        assert second.action is Action.ACCEPTED
        assert [entry["tag"] for entry in entries] == [f"<{to[0].tag}@example.org>"]

    asyncio.run(run())


def test_copies_show_who_else_was_written_to_except_bcc(tmp_path: Path) -> None:
    """Each copy is one transaction to one reader."""

    async def run() -> None:
        (primary,), (copy,), (blind,) = (
            people("ann@example.com"),
            people("carl@example.com", role=Role.CC),
            people("dora@example.com", role=Role.BCC),
        )
        message = outgoing(
            Email(subject="s", content="b"), visible_to=("ann@example.com",), visible_cc=("carl@example.com",)
        )
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            await adapter.send(adapter.prepare(message), [primary, copy, blind])
            await adapter.aclose()
            entries = await arrived(addresses, "smtp")
        assert sorted(entry["recipient"] for entry in entries) == [
            "ann@example.com", "carl@example.com", "dora@example.com"
        ]  # fmt: skip
        for entry in entries:
            headers = {name.lower(): value for name, value in dict(entry["payload"]["headers"]).items()}
            assert (headers["to"], headers["cc"]) == ("ann@example.com", "carl@example.com")
            assert "bcc" not in headers

    asyncio.run(run())


def test_letters_of_any_alphabet_before_the_at_go_to_a_server_that_takes_them(tmp_path: Path) -> None:
    """SMTPUTF8, and a domain in ASCII."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses)
            outcomes = await sent(adapter, people("jörg@bücher.example", "плащ@example.com"))
            await adapter.aclose()
            entries = await arrived(addresses, "smtp")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert sorted(entry["recipient"] for entry in entries) == ["jörg@xn--bcher-kva.example", "плащ@example.com"]

    asyncio.run(run())
