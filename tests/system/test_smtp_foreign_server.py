"""The SMTP adapter against Postfix's smtp-sink, a server it was not written with."""

from __future__ import annotations

import asyncio
import os
import pwd
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from messaging.local.free_ports import free_ports
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import outgoing, people
from tests.system.programs import running
from tests.unit.test_dkim import RSA, dns_record, verifies
from workers.providers.dkim import Signer
from workers.providers.mime import Mailbox, Sender
from workers.providers.smtp import SmtpAdapter
from workers.providers.smtp_settings import Host, Security, SmtpSettings, Timeouts

_EMAIL = Email(subject="Hello", content="there\n.\n..\n")


@contextmanager
def smtp_sink(folder: Path, *options: str) -> Iterator[int]:
    """The port of a fresh smtp-sink."""
    (port,) = free_ports(1)
    user = ["-u", pwd.getpwnam("nobody").pw_name] if os.geteuid() == 0 else []  # it refuses to serve as root
    with running(["smtp-sink", *user, *options, f"127.0.0.1:{port}", "100"], port=port, log=folder / "sink.log"):
        yield port


def settings_for(port: int, *, timeouts: Timeouts | None = None) -> SmtpSettings:
    """An account at that server."""
    host = Host("127.0.0.1", port, Security.OPPORTUNISTIC)
    sender = Sender(mailbox=Mailbox("news", "example.org"))
    return SmtpSettings(hosts=(host,), sender=sender, timeouts=timeouts or Timeouts())


def adapter_for(port: int, *, connections: int = 2, timeouts: Timeouts | None = None) -> SmtpAdapter:
    """An adapter of that server."""
    settings = settings_for(port, timeouts=timeouts)
    return SmtpAdapter(settings, ssl.create_default_context(), connections=connections)


def sent(port: int, count: int = 1, *, email: Email = _EMAIL, timeouts: Timeouts | None = None) -> Sequence[Outcome]:
    """The outcomes of `count` recipients in one call."""

    async def run() -> Sequence[Outcome]:
        adapter = adapter_for(port, timeouts=timeouts)
        async with asyncio.timeout(60):
            outcomes = await adapter.send(
                adapter.prepare(outgoing(email)), people(*(f"u{n}@e.org" for n in range(count)))
            )
            await adapter.aclose()
        return outcomes

    return asyncio.run(run())


def test_every_message_is_taken_over_few_connections(tmp_path: Path) -> None:
    """Two hundred recipients, each a message of its own in the server's dump, dots and all."""
    dump = tmp_path / "dump"
    dump.mkdir()
    dump.chmod(0o777)
    tmp_path.chmod(0o755)
    with smtp_sink(tmp_path, "-R", str(dump), "-d", "m.") as port:
        outcomes = sent(port, 200)
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 200
    copies = [path.read_text() for path in dump.iterdir()]
    assert len(copies) == 200
    assert {
        line.split("<")[1].split(">")[0] for copy in copies for line in copy.splitlines() if "X-Rcpt-Args" in line
    } == {f"u{n}@e.org" for n in range(200)}
    assert all("\nthere\n.\n..\n" in copy.replace("\r", "") for copy in copies)


def test_a_signed_message_verifies_as_the_server_wrote_it_down(tmp_path: Path) -> None:
    """DKIM, with the server's own lines put before the message."""
    dump = tmp_path / "dump"
    dump.mkdir()
    dump.chmod(0o777)
    tmp_path.chmod(0o755)

    async def run(port: int) -> Sequence[Outcome]:
        settings = replace(settings_for(port), signer=Signer("example.org", "s1", RSA))
        adapter = SmtpAdapter(settings, ssl.create_default_context(), connections=1)
        outcomes = await adapter.send(adapter.prepare(outgoing(_EMAIL)), people("a@e.org", "b@e.org"))
        await adapter.aclose()
        return outcomes

    with smtp_sink(tmp_path, "-R", str(dump), "-d", "m.") as port:
        outcomes = asyncio.run(run(port))
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 2
    copies = [path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in dump.iterdir()]
    assert len(copies) == 2
    records = {"s1._domainkey.example.org.": dns_record(RSA)}
    for copy in copies:
        assert copy.startswith(b"X-Client-Addr:")
        assert verifies(copy, records)
        assert not verifies(copy.replace(b"there", b"their"), records)


@pytest.mark.parametrize(
    ("options", "action", "outage"),
    [
        ((), Action.ACCEPTED, False),
        (("-f", "connect"), Action.STOP_PROVIDER, False),
        (("-r", "connect"), Action.RETRY, True),
        (("-q", "ehlo"), Action.RECONNECT_RETRY, True),
        (("-f", "noop"), Action.STOP_PROVIDER, False),
    ],
)
def test_a_check_tells_what_the_server_says(
    options: Sequence[str], action: Action, outage: bool, tmp_path: Path
) -> None:
    """Greeting and encryption, or why nothing would be sent."""

    async def run(port: int) -> Outcome:
        adapter = adapter_for(port)
        outcome = await adapter.check()
        await adapter.aclose()
        return outcome

    with smtp_sink(tmp_path, "-h", "sink.example", *options) as port:
        outcome = asyncio.run(run(port))
    assert (outcome.action, outcome.outage) == (action, outage), outcome
    if action is Action.ACCEPTED:
        assert outcome.reason.startswith("220 sink.example ESMTP; not encrypted")


def test_a_big_message_is_taken(tmp_path: Path) -> None:
    """Ten megabytes."""
    attachment = Attachment(filename="a.bin", content_type="application/x-a", content=os.urandom(10_000_000))
    with smtp_sink(tmp_path) as port:
        (outcome,) = sent(port, email=Email(subject="s", content="b", attachments=(attachment,)))
    assert outcome.action is Action.ACCEPTED


@pytest.mark.parametrize(
    ("command", "action"),
    [
        ("connect", Action.STOP_PROVIDER),
        ("ehlo,helo", Action.STOP_PROVIDER),
        ("mail", Action.REJECT_MESSAGE),
        ("rcpt", Action.REJECT_MESSAGE),
        ("data", Action.REJECT_MESSAGE),
        (".", Action.REJECT_MESSAGE),
    ],
)
def test_a_refusal_for_good_is_about_the_account_or_the_message_and_never_the_address(
    command: str, action: Action, tmp_path: Path
) -> None:
    """-f: 500 5.3.0, whose words blame no mailbox. Before MAIL it is the account's."""
    with smtp_sink(tmp_path, "-f", command) as port:
        (outcome,) = sent(port)
    assert outcome.action is action, outcome


@pytest.mark.parametrize("command", ["connect", "ehlo,helo", "mail", "rcpt", "data", "."])
def test_a_refusal_for_now_was_not_sent(command: str, tmp_path: Path) -> None:
    """-r: 4xx, at every command."""
    with smtp_sink(tmp_path, "-r", command) as port:
        outcomes = sent(port, 3)
    assert {outcome.action for outcome in outcomes} == {Action.RETRY}, outcomes


@pytest.mark.parametrize("command", ["connect", "ehlo", "mail", "rcpt", "data"])
def test_a_server_that_hangs_up_before_the_message_got_nothing(command: str, tmp_path: Path) -> None:
    """-q: no reply, the connection ends."""
    with smtp_sink(tmp_path, "-q", command) as port:
        (outcome,) = sent(port)
    assert outcome.action is Action.RETRY, outcome


def test_a_server_that_hangs_up_after_the_message_leaves_it_unknown(tmp_path: Path) -> None:
    """-q .: the final dot was read."""
    with smtp_sink(tmp_path, "-q", ".") as port:
        (outcome,) = sent(port)
    assert outcome.action is Action.AMBIGUOUS_RETRY, outcome


def test_a_server_that_says_421_and_leaves_got_nothing(tmp_path: Path) -> None:
    """-Q: RFC 5321 section 3.8."""
    with smtp_sink(tmp_path, "-Q", "mail") as port:
        (outcome,) = sent(port)
    assert outcome.action is Action.RETRY, outcome


def test_a_slow_server_is_waited_for(tmp_path: Path) -> None:
    """-w: a second and more before each answer to DATA."""
    with smtp_sink(tmp_path, "-w", "2") as port:  # it counts whole seconds of the clock: two last longer than one
        begun = time.monotonic()
        (outcome,) = sent(port)
    assert outcome.action is Action.ACCEPTED, outcome
    assert time.monotonic() - begun >= 1


def test_a_server_slower_than_we_wait_got_nothing(tmp_path: Path) -> None:
    """-w: longer than a command may take, and DATA is before the message."""
    with smtp_sink(tmp_path, "-w", "5") as port:
        (outcome,) = sent(port, timeouts=Timeouts(command_s=0.5))
    assert outcome.action is Action.RETRY, outcome
