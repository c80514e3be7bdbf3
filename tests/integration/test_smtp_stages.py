"""Where an SMTP session breaks decides whether the message may have been sent. Servers here follow a script."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import outgoing, people
from tests.integration.smtp_script import HANG_UP, SILENCE, ScriptedServer, listening
from workers.providers.mime import Mailbox, Sender
from workers.providers.smtp import MESSAGES_PER_CONNECTION, SmtpAdapter
from workers.providers.smtp_settings import Host, Security, SmtpSettings, Timeouts

QUICK = Timeouts(connect_s=0.5, command_s=0.4, block_s=2.0, final_dot_s=0.4)
"""For servers that say nothing; the others answer at once, however busy the machine is."""
QUICK_END = Timeouts(final_dot_s=1.0)
"""For a server that says nothing at the end: all before it has time, however busy the machine is."""


def settings_for(hosts: tuple[Host, ...], *, timeouts: Timeouts | None = None) -> SmtpSettings:
    """An account with these hosts."""
    sender = Sender(mailbox=Mailbox("news", "example.org"))
    return SmtpSettings(hosts=hosts, sender=sender, timeouts=timeouts or Timeouts())


async def sent(adapter: SmtpAdapter, email: Email | None = None, count: int = 1) -> list[Outcome]:
    """The outcomes of `count` messages, one after the other."""
    prepared = adapter.prepare(outgoing(email or Email(subject="s", content=".\n..\nb")))
    return [(await adapter.send(prepared, people("ann@example.com")))[0] for _ in range(count)]


def with_server(
    server: ScriptedServer, test: Callable[[SmtpAdapter], Awaitable[None]], *, timeouts: Timeouts | None = None
) -> None:
    """Run `test` with an adapter for `server` that has one connection."""

    async def run() -> None:
        async with listening(server) as hosts:
            settings = settings_for(hosts, timeouts=timeouts)
            adapter = SmtpAdapter(settings, ssl.create_default_context(), connections=1)
            async with asyncio.timeout(60):
                await test(adapter)
                await adapter.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("how", [HANG_UP, SILENCE, "421 4.3.2 closing", "nonsense"])
@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data"])
def test_whatever_breaks_before_the_final_dot_sent_nothing(stage: str, how: str) -> None:
    """Tried once more on a new connection, then left for its next attempt."""
    server = ScriptedServer(**{stage: how})

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert outcome.action is Action.RETRY, outcome

    with_server(server, check, timeouts=QUICK if how == SILENCE else None)
    assert not server.messages
    assert server.connections in {1, 2}


@pytest.mark.parametrize("how", [HANG_UP, SILENCE, "nonsense"])
def test_whatever_breaks_after_the_final_dot_leaves_the_outcome_unknown(how: str) -> None:
    """The server has the message; it is not sent again behind the caller's back."""
    server = ScriptedServer(dot=how)

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert outcome.action is Action.AMBIGUOUS_RETRY, outcome

    with_server(server, check, timeouts=QUICK_END if how == SILENCE else None)
    assert (len(server.messages), server.connections) == (1, 1)


def test_a_connection_lost_in_the_middle_of_a_big_message_sent_nothing() -> None:
    """The final dot had not been handed over."""
    server = ScriptedServer(ehlo="250 script")
    server.bytes_before_hang_up = 100_000
    attachment = Attachment(filename="a", content_type="application/x-a", content=bytes(20_000_000))

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter, Email(subject="s", content="b", attachments=(attachment,)))
        assert outcome.action is Action.RETRY, outcome

    with_server(server, check)


def test_messages_share_a_connection_until_it_has_served_its_number() -> None:
    """One connection for a hundred messages, then another."""
    server = ScriptedServer()

    async def check(adapter: SmtpAdapter) -> None:
        outcomes = await sent(adapter, count=MESSAGES_PER_CONNECTION + 1)
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}

    with_server(server, check)
    assert server.connections == 2
    assert len(server.messages) == MESSAGES_PER_CONNECTION + 1
    assert server.commands.count("QUIT") == 2


def test_a_server_that_closes_after_each_message_costs_a_connection_and_nothing_else() -> None:
    """Each of ten messages arrives exactly once."""
    server = ScriptedServer()
    server.messages_per_connection = 1

    async def check(adapter: SmtpAdapter) -> None:
        outcomes = await sent(adapter, count=10)
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}

    with_server(server, check)
    assert (len(server.messages), server.connections) == (10, 10)


def test_a_refused_recipient_leaves_the_connection_in_use() -> None:
    """RSET, then the next transaction."""
    server = ScriptedServer(rcpt="550 5.1.1 no such user")

    async def check(adapter: SmtpAdapter) -> None:
        (first,) = await sent(adapter)
        server.script["rcpt"] = "250 ok"
        (second,) = await sent(adapter)
        assert (first.action, second.action) == (Action.DISABLE_TARGET, Action.ACCEPTED)

    with_server(server, check)
    assert server.connections == 1
    assert "RSET" in server.commands


def test_a_message_bigger_than_the_server_announces_is_never_offered() -> None:
    """SIZE (RFC 1870)."""
    server = ScriptedServer(ehlo="250-script\r\n250 SIZE 500")

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter, Email(subject="s", content="b" * 1000))
        assert (outcome.action, outcome.code) == (Action.REJECT_MESSAGE, "552 5.3.4")

    with_server(server, check)
    assert not any(command.startswith("MAIL") for command in server.commands)


def test_an_address_in_other_letters_needs_a_server_that_takes_it() -> None:
    """Without SMTPUTF8 it can't be reached through this account, and fails alone."""
    server = ScriptedServer()

    async def check(adapter: SmtpAdapter) -> None:
        prepared = adapter.prepare(outgoing(Email(subject="s", content="b")))
        outcomes = await adapter.send(prepared, people("jörg@example.com", "ann@bücher.example"))
        assert [outcome.action for outcome in outcomes] == [Action.DISABLE_TARGET, Action.ACCEPTED]
        assert "SMTPUTF8" in outcomes[0].reason
        shown = adapter.prepare(outgoing(Email(subject="s", content="b"), visible_cc=("jörg@example.com",)))
        (outcome,) = await adapter.send(shown, people("ann@example.com"))
        assert outcome.action is Action.REJECT_MESSAGE, "another's address is not this one's fault"

    with_server(server, check)
    assert "RCPT TO:<ann@xn--bcher-kva.example>" in server.commands


def test_a_sender_refused_at_mail_stops_the_provider() -> None:
    """It is the account's address, not the recipient's."""

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert outcome.action is Action.STOP_PROVIDER

    with_server(ScriptedServer(mail="550 5.1.1 unknown sender"), check)


def test_a_greeting_without_service_stops_the_provider() -> None:
    """554 instead of 220."""

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert outcome.action is Action.STOP_PROVIDER

    with_server(ScriptedServer(greeting="554 5.7.1 no service for you"), check)


def test_the_next_host_of_the_list_is_asked_when_one_does_not_answer() -> None:
    """A refused connection and a busy server are passed over."""
    busy, good = ScriptedServer(greeting="421 4.3.2 busy"), ScriptedServer()

    async def run() -> None:
        async with listening(busy, good) as (first, second):
            closed = replace(first, port=1)
            adapter = SmtpAdapter(settings_for((closed, first, second)), ssl.create_default_context(), connections=1)
            (outcome,) = await sent(adapter)
            await adapter.aclose()
            assert outcome.action is Action.ACCEPTED

    asyncio.run(run())
    assert (busy.connections, len(good.messages)) == (1, 1)


def test_a_server_without_starttls_is_refused_where_it_is_required() -> None:
    """Nothing is sent in clear."""
    server = ScriptedServer()

    async def run() -> None:
        async with listening(server) as (host,):
            hosts = (replace(host, security=Security.REQUIRED),)
            adapter = SmtpAdapter(settings_for(hosts), ssl.create_default_context(), connections=1)
            (outcome,) = await sent(adapter)
            await adapter.aclose()
            assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, "no_starttls")

    asyncio.run(run())
    assert not any(command.startswith(("MAIL", "AUTH")) for command in server.commands)


def test_a_cancelled_transaction_does_not_leave_its_connection_to_the_next() -> None:
    """The server's late answer would be taken for the next message's."""
    server = ScriptedServer(dot=SILENCE)

    async def check(adapter: SmtpAdapter) -> None:
        first = asyncio.create_task(sent(adapter))
        while not server.messages:  # noqa: ASYNC110  (the server's side has no event to wait for)
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.script["dot"] = "250 ok"
        (second,) = await sent(adapter)
        assert second.action is Action.ACCEPTED

    with_server(server, check)
    assert server.connections == 2


@pytest.mark.parametrize("how", [HANG_UP, "421 4.3.2 closing"])
@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data", "dot"])
def test_a_server_that_serves_nobody_is_an_outage(stage: str, how: str) -> None:
    """Whoever the recipient, whatever the stage."""

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert outcome.outage, outcome

    with_server(ScriptedServer(**{stage: how}), check)


def test_nobody_at_the_address_is_an_outage() -> None:
    """No connection."""

    async def run() -> None:
        hosts = (Host("127.0.0.1", 1, Security.NONE),)
        adapter = SmtpAdapter(settings_for(hosts), ssl.create_default_context(), connections=1)
        (outcome,) = await sent(adapter)
        assert (outcome.action, outcome.outage) == (Action.RETRY, True)
        assert (await adapter.check()).outage
        await adapter.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("reply", ["450 4.2.1 busy", "451 4.3.0 local", "452 4.2.2 full", "550 5.1.1 unknown"])
def test_a_reply_about_one_recipient_is_no_outage(reply: str) -> None:
    """The server serves others."""

    async def check(adapter: SmtpAdapter) -> None:
        (outcome,) = await sent(adapter)
        assert not outcome.outage, outcome

    with_server(ScriptedServer(rcpt=reply), check)


def test_a_check_says_what_the_server_calls_itself_and_sends_nothing() -> None:
    """Greeting, encryption and login, over a connection that is closed politely."""
    server = ScriptedServer(greeting="220 mx.example.org ESMTP for root@example.org", noop="250 2.0.0 ok")

    async def check(adapter: SmtpAdapter) -> None:
        outcome = await adapter.check()
        assert outcome.action is Action.ACCEPTED, outcome
        assert outcome.reason == "220 mx.example.org ESMTP for <address>; not encrypted, without a login"

    with_server(server, check)
    assert [command.partition(" ")[0] for command in server.commands] == ["EHLO", "NOOP", "QUIT"]


@pytest.mark.parametrize(
    ("script", "action"),
    [
        ({"greeting": "554 5.7.1 no"}, Action.STOP_PROVIDER),
        ({"greeting": "421 4.3.2 busy"}, Action.RECONNECT_RETRY),
        ({"noop": "421 4.3.2 busy"}, Action.RECONNECT_RETRY),
        ({"noop": HANG_UP}, Action.RECONNECT_RETRY),
        ({"ehlo": HANG_UP}, Action.RECONNECT_RETRY),
    ],
)
def test_a_check_that_fails_says_why(script: dict[str, str], action: Action) -> None:
    """As a message would have been told."""

    async def check(adapter: SmtpAdapter) -> None:
        outcome = await adapter.check()
        assert outcome.action is action, outcome
        assert outcome.reason

    with_server(ScriptedServer(**script), check)


def test_a_message_arrives_as_it_was_written() -> None:
    """Leading dots are doubled on the wire and nowhere else."""
    server = ScriptedServer()

    async def check(adapter: SmtpAdapter) -> None:
        await sent(adapter)

    with_server(server, check)
    assert server.messages[0].endswith(b"\r\n\r\n..\r\n...\r\nb\r\n.\r\n")
