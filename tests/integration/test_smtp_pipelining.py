"""Commands sent together (RFC 2920): one round trip instead of three, and never a message to nobody."""

import asyncio
import ssl
from itertools import product

import pytest

from messaging.message import Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import outgoing, people
from tests.integration.smtp_script import HANG_UP, SILENCE, ScriptedServer, listening
from workers.providers.mime import Mailbox, Sender
from workers.providers.smtp import SmtpAdapter
from workers.providers.smtp_settings import Host, Security, SmtpSettings, Timeouts

EHLO = "250-script\r\n250-PIPELINING\r\n250 SIZE 1000000"
QUICK = Timeouts(connect_s=0.5, command_s=0.4, block_s=2.0, final_dot_s=0.4)
QUICK_END = Timeouts(final_dot_s=1.0)
"""For a server that says nothing at the end: all before it has time, however busy the machine is."""


def adapter_for(hosts: tuple[Host, ...], timeouts: Timeouts | None = None) -> SmtpAdapter:
    """One with a single connection."""
    sender = Sender(mailbox=Mailbox("news", "example.org"))
    settings = SmtpSettings(hosts=hosts, sender=sender, timeouts=timeouts or Timeouts())
    return SmtpAdapter(settings, ssl.create_default_context(), connections=1)


def outcomes_of(server: ScriptedServer, *addresses: str, timeouts: Timeouts | None = None) -> list[Outcome]:
    """What becomes of a message to each address, one after the other."""

    async def run() -> list[Outcome]:
        async with listening(server) as hosts, asyncio.timeout(60):
            adapter = adapter_for(hosts, timeouts)
            prepared = adapter.prepare(outgoing(Email(subject="s", content=".\n..\nb")))
            found = [(await adapter.send(prepared, people(address)))[0] for address in addresses]
            await adapter.aclose()
            return found

    return asyncio.run(run())


class Patient:
    """Answers nothing until the whole group has come, as the far end of a long line seems to."""

    def __init__(self) -> None:
        self.groups: list[bytes] = []
        self.message = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one message."""
        writer.write(b"220 ready\r\n")
        await reader.readline()
        writer.write(EHLO.encode() + b"\r\n")
        self.groups.append(await reader.readuntil(b"DATA\r\n"))
        writer.write(b"250 2.1.0 ok\r\n250-2.1.5 so\r\n250 2.1.5 ok\r\n35")
        await writer.drain()
        writer.write(b"4 go on\r\n")
        self.message = await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 ok: queued as ABC123\r\n")
        await reader.readline()
        writer.write(b"221 bye\r\n")
        writer.close()


def test_a_transaction_is_asked_for_in_one_go() -> None:
    """The server has MAIL, RCPT and DATA before it has said a word; replies may come cut anywhere."""
    patient = Patient()

    async def run() -> Outcome:
        async with await asyncio.start_server(patient.serve, "127.0.0.1", 0) as server, asyncio.timeout(60):
            host = Host("127.0.0.1", server.sockets[0].getsockname()[1], Security.NONE)
            adapter = adapter_for((host,))
            prepared = adapter.prepare(outgoing(Email(subject="s", content="b")))
            (outcome,) = await adapter.send(prepared, people("ann@example.com"))
            await adapter.aclose()
            return outcome

    outcome = asyncio.run(run())
    assert (outcome.action, outcome.provider_message_id) == (Action.ACCEPTED, "ABC123")
    (group,) = patient.groups
    assert [line.split(b" ")[0] for line in group.splitlines()] == [b"MAIL", b"RCPT", b"DATA"]
    assert patient.message.endswith(b"b\r\n.\r\n")


def test_a_refused_recipient_is_its_own_and_the_connection_goes_on() -> None:
    """The server refuses DATA for want of recipients; the next transaction begins with RSET."""
    server = ScriptedServer(ehlo=EHLO, rcpt="550 5.1.1 no such user", data="554 5.5.1 no valid recipients")
    outcomes = outcomes_of(server, "ann@example.com", "bob@example.com")
    assert [(outcome.action, outcome.code) for outcome in outcomes] == [(Action.DISABLE_TARGET, "550 5.1.1")] * 2
    assert (server.connections, server.commands.count("RSET")) == (1, 1)


@pytest.mark.parametrize(
    "stray",
    ["\r\n250 2.1.5 once more", "\r\n250 2.1.5 once m", "\r\n250-2.1.5 more to c"],
    ids=["a reply too many", "half a reply too many", "the first line of one too many"],
)
def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_one_s(stray: str) -> None:
    """What the server said is believed, and the connection gets no other message: its replies would be off by one."""
    server = ScriptedServer(ehlo=EHLO, dot=f"250 2.0.0 ok{stray}")
    outcomes = outcomes_of(server, "ann@example.com", "bob@example.com")
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 2
    assert (server.connections, len(server.messages)) == (2, 2)


def test_a_server_that_wants_the_message_of_a_refused_recipient_does_not_get_it() -> None:
    """Without a final dot it has none; the connection is given up."""
    server = ScriptedServer(ehlo=EHLO, rcpt="550 5.1.1 no such user")
    outcomes = outcomes_of(server, "ann@example.com", "bob@example.com")
    assert {outcome.action for outcome in outcomes} == {Action.DISABLE_TARGET}
    assert not server.messages
    assert server.connections == 2


@pytest.mark.parametrize(
    ("stage", "how"),
    [*product(("mail", "rcpt", "data"), (HANG_UP, "421 4.3.2 closing", "nonsense")), ("data", SILENCE)],
)
def test_whatever_breaks_in_a_group_sent_nothing(stage: str, how: str) -> None:
    """As for commands sent one by one."""
    server = ScriptedServer(ehlo=EHLO, **{stage: how})
    (outcome,) = outcomes_of(server, "ann@example.com", timeouts=QUICK if how == SILENCE else None)
    assert outcome.action is Action.RETRY, outcome
    assert not server.messages


@pytest.mark.parametrize("how", [HANG_UP, SILENCE, "nonsense"])
def test_whatever_breaks_after_the_final_dot_is_unknown(how: str) -> None:
    """The server has the message."""
    server = ScriptedServer(ehlo=EHLO, dot=how)
    (outcome,) = outcomes_of(server, "ann@example.com", timeouts=QUICK_END if how == SILENCE else None)
    assert outcome.action is Action.AMBIGUOUS_RETRY, outcome
    assert (len(server.messages), server.connections) == (1, 1)


def test_a_sender_refused_in_a_group_stops_the_provider() -> None:
    """The first refusal decides, not what the server says of the rest."""
    server = ScriptedServer(ehlo=EHLO, mail="550 5.7.1 not yours", rcpt="503 5.5.1 MAIL first", data="503 5.5.1 no")
    (outcome,) = outcomes_of(server, "ann@example.com")
    assert outcome.action is Action.STOP_PROVIDER


ALL = ("ann@example.com", "bob@example.com", "cat@example.com")


class Picky(ScriptedServer):
    """Knows no bob, and remembers for whom each message was."""

    async def _say(self, stage: str, writer: asyncio.StreamWriter) -> bool:
        if stage == "rcpt" and "bob" in self.commands[-1]:
            writer.write(b"550 5.1.1 no such user\r\n")
            return True
        return await super()._say(stage, writer)


class Listener:
    """Says nothing to the first message before it has also heard who the next one is for."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.may_speak = asyncio.Event()
        self.connections = 0
        self.messages: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            writer.write(b"220 ready\r\n")
            await reader.readline()
            writer.write(EHLO.encode() + b"\r\n")
            asked = await self._is_asked(reader)
            while asked:
                writer.write(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n")
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                if len(self.messages) == 1:
                    asked = await self._is_asked(reader)
                    self.heard.set()
                    await self.may_speak.wait()
                    writer.write(b"250 2.0.0 ok\r\n")
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
                    asked = await self._is_asked(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave the connection up
        finally:
            writer.close()

    async def _is_asked(self, reader: asyncio.StreamReader) -> bool:
        """For another transaction, that is, and not to part."""
        while line := await reader.readline():
            if line == b"DATA\r\n":
                return True
            if line == b"QUIT\r\n":
                break
        return False


def at_once(server: ScriptedServer) -> list[tuple[Action, str]]:
    """What becomes of a message to all, who wait for the one connection."""

    async def run() -> list[tuple[Action, str]]:
        async with listening(server) as hosts, asyncio.timeout(60):
            adapter = adapter_for(hosts)
            prepared = adapter.prepare(outgoing(Email(subject="s", content="b")))
            outcomes = await adapter.send(prepared, people(*ALL))
            await adapter.aclose()
            return [(outcome.action, outcome.code) for outcome in outcomes]

    return asyncio.run(run())


def received(server: ScriptedServer) -> list[str]:
    """Who got a message, in order."""
    return [next(who for who in ALL if who.encode() in message) for message in server.messages]


@pytest.mark.parametrize("cancelled", [None, 0, 1], ids=["nobody", "whose message it is", "who is next"])
def test_the_next_transaction_goes_along_with_the_end_of_a_message(cancelled: int | None) -> None:
    """One round trip a message. Who gives up leaves the connection to nobody, and keeps nobody else from being sent."""

    async def run() -> tuple[Listener, list[Outcome | BaseException]]:
        listener = Listener()
        async with await asyncio.start_server(listener.serve, "127.0.0.1", 0) as server, asyncio.timeout(60):
            adapter = adapter_for((Host("127.0.0.1", server.sockets[0].getsockname()[1], Security.NONE),))
            prepared = adapter.prepare(outgoing(Email(subject="s", content="b")))
            calls = [asyncio.ensure_future(adapter.send(prepared, people(who))) for who in ALL]
            await listener.heard.wait()
            if cancelled is not None:
                calls[cancelled].cancel()
                await asyncio.wait([calls[cancelled]])
            listener.may_speak.set()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            await adapter.aclose()
        return listener, [end if isinstance(end, BaseException) else end[0] for end in ends]

    listener, ends = asyncio.run(run())
    for number, end in enumerate(ends):
        if number == cancelled:
            assert isinstance(end, asyncio.CancelledError)
        else:
            assert isinstance(end, Outcome)
            assert end.action is Action.ACCEPTED
    got = [next(who for who in ALL if who.encode() in message) for message in listener.messages]
    assert got == [who for number, who in enumerate(ALL) if number != 1 or cancelled != 1]
    assert listener.connections == (1 if cancelled is None else 2)


def test_each_of_those_in_line_has_an_outcome_of_its_own() -> None:
    """And a message of its own: nobody gets that of a neighbour who was refused."""
    server = Picky(ehlo=EHLO)
    assert [action for action, _ in at_once(server)] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED]
    assert received(server) == ["ann@example.com", "cat@example.com"]


def test_a_message_refused_at_its_end_is_not_the_next_ones_trouble() -> None:
    """Its transaction was asked for already; it goes on over the same connection."""
    server = ScriptedServer(ehlo=EHLO, dot="554 5.6.0 we dislike it")
    assert at_once(server) == [(Action.REJECT_MESSAGE, "554 5.6.0")] * 3
    assert (server.connections, received(server)) == (1, list(ALL))


@pytest.mark.parametrize(
    ("dot", "action"), [(HANG_UP, Action.AMBIGUOUS_RETRY), ("250 2.0.0 ok", Action.ACCEPTED)], ids=["before", "after"]
)
def test_a_connection_that_ends_with_a_message_leaves_the_next_one_unsent(dot: str, action: Action) -> None:
    """Before its reply or after it: who was asked for by then is sent over another connection, once."""
    server = ScriptedServer(ehlo=EHLO, dot=dot)
    server.messages_per_connection = 1
    assert [found for found, _ in at_once(server)] == [action] * 3
    assert sorted(received(server)) == list(ALL)
