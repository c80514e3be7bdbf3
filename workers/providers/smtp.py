"""Email through an SMTP server: one recipient a transaction, over connections that are kept.

Where the server pipelines, a transaction is asked for with the end of the message before: one round trip a message.

Sources: RFC 5321 (SMTP), RFC 2920 (PIPELINING), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 1870 (SIZE),
RFC 6531 (SMTPUTF8).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import aiosmtplib

from messaging.clock import clock
from messaging.errors import ContentError
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.destinations import ANYWHERE, DestinationRefusedError, Destinations
from workers.providers.dkim import Signing
from workers.providers.http1 import calls_in_flight, refused
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.mime import Mailbox, Template, date_source, mailbox, render
from workers.providers.pinned import mail_socket
from workers.providers.smtp_pool import Pool
from workers.providers.smtp_replies import Stage, classify, lost, scrub
from workers.providers.smtp_settings import Host, Security, SmtpSettings, settings_of
from workers.providers.smtp_wire import Reply, Wire
from workers.providers.tls import client_context

MESSAGES_PER_CONNECTION = 100
"""Then a new one: servers count messages per connection, and relays balance by connection."""
IDLE_S = 30.0
"""Servers close idle connections after 60 to 300 s; closing first avoids sending into a closed one."""

_SHORT_BYTES = 256 * 1024
"""So much is written with the final dot at once. More goes in parts, so that it does not lie in memory for each
connection, and "the final dot has been handed over" means something."""
_GOODBYE_S = 5.0
_RSET = b"RSET\r\n"
"""Its answer decides nothing: what follows tells."""
_QUEUED_AS = re.compile(r"\bqueued as ([\w.-]{1,100})", re.IGNORECASE)
_SIZE_LIMIT = Outcome(Action.REJECT_MESSAGE, "552 5.3.4", "the message is bigger than the server announces to take")
_NO_UTF8 = Outcome(
    Action.DISABLE_TARGET,
    "553 5.6.7",
    "the address has non-ASCII letters before the @, which this server can't deliver to: it has no SMTPUTF8",
)
_NO_UTF8_HEADERS = Outcome(
    Action.REJECT_MESSAGE,
    "553 5.6.7",
    "another address in the headers has non-ASCII letters before the @, and the server has no SMTPUTF8",
)


@dataclass(frozen=True)
class Prepared:
    """A message ready to be spliced."""

    template: Template
    stuffed: bytes
    """The shared part with leading dots doubled (RFC 5321 §4.5.2)."""
    signing: Signing | None = None
    """For DKIM, where the account has a key."""


@dataclass(frozen=True, eq=False)
class Letter:
    """One message to one recipient."""

    to: Mailbox
    head: bytes
    rest: bytes
    utf8: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.head) + len(self.rest)


class SessionError(Exception):
    """No session could be opened; `outcome` says why and what follows for every recipient."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Session:
    """One greeted, encrypted and authenticated connection."""

    def __init__(
        self,
        wire: Wire,
        extensions: Mapping[str, str],
        settings: SmtpSettings,
        *,
        greeting: str = "",
        encrypted: bool = False,
    ) -> None:
        self._wire = wire
        self.greeting = greeting
        """What the server called itself."""
        self.encrypted = encrypted
        self._timeouts = settings.timeouts
        self._mail = b"MAIL FROM:<" + settings.sender.mailbox.spec.encode() + b">"
        self._in_transaction = False
        self._asked: Letter | None = None
        """Whose transaction was asked for together with the end of the last one's message."""
        size = extensions.get("size", "")
        self._size_limit = int(size) if size.isdigit() else 0
        self._takes_size, self._takes_utf8 = "size" in extensions, "smtputf8" in extensions
        self._pipelines = "pipelining" in extensions

    @property
    def usable(self) -> bool:
        """Whether the connection is open."""
        return self._wire.is_open

    async def close(self) -> None:
        """QUIT and close; never raises."""
        try:
            self._wire.send(b"QUIT\r\n", replies=1)
            await self._wire.reply(within_s=_GOODBYE_S)
        except OSError:
            pass  # it was going away anyhow
        finally:
            self.abort()

    def abort(self) -> None:
        """Close without QUIT, and at once."""
        self._wire.abort()

    async def noop(self) -> Outcome:
        """Whether the server goes on: `ACCEPTED`, or what its answer means."""
        try:
            self._wire.send(b"NOOP\r\n", replies=1)
            reply = await self._wire.reply(within_s=self._timeouts.command_s)
        except OSError as error:
            return lost(Stage.AUTH, type(error).__name__)
        return classify(Stage.AUTH, reply.code, reply.message)

    def has_asked_for(self, letter: Letter) -> bool:
        """Whether its transaction was begun with the end of the message before."""
        return self._asked is letter

    def refusal(self, letter: Letter) -> Outcome | None:
        """Why the server would refuse it, by what it announces; None where it may take it."""
        if letter.utf8 and not self._takes_utf8:
            return _NO_UTF8 if letter.to.needs_utf8 else _NO_UTF8_HEADERS
        if 0 < self._size_limit < letter.size:
            return _SIZE_LIMIT
        return None

    async def deliver(
        self, letter: Letter, following: Callable[[], Letter | None] = lambda: None
    ) -> tuple[Outcome, bool]:
        """Send one message to one recipient: its outcome, and whether the connection can be used again.

        `following` is asked, once, for the letter that is certainly delivered next on this connection.
        """
        refusal = self.refusal(letter)
        if refusal is not None:
            return refusal, True
        refused = await self._ask(letter)
        if refused is not None:
            return refused, self.usable and refused.action is not Action.RECONNECT_RETRY
        stage = Stage.DATA
        try:
            if len(letter.rest) <= _SHORT_BYTES:
                commands = self._ask_ahead(following) if self._pipelines else []
                end = b"".join((letter.head, letter.rest, b".\r\n", *(command for _, command in commands)))
                self._wire.send(end, replies=1 + len(commands))
            else:
                self._wire.send(letter.head, replies=0)
                await self._wire.send_long(letter.rest, block_s=self._timeouts.block_s)
                stage = Stage.FINAL_DOT
                self._wire.send(b".\r\n", replies=1)
            stage = Stage.FINAL_DOT
            reply = await self._wire.reply(within_s=self._timeouts.final_dot_s)
        except OSError as error:  # a timeout is one, and an unreadable reply
            return lost(stage, type(error).__name__), False
        self._in_transaction = False
        return _final(reply)

    def _ask_ahead(self, following: Callable[[], Letter | None]) -> Sequence[tuple[Stage, bytes]]:
        """The commands of the next transaction: they may go along with the end of a message (RFC 2920 §3.1)."""
        self._asked = following()
        return () if self._asked is None else self._commands(self._asked)

    def _commands(self, letter: Letter) -> Sequence[tuple[Stage, bytes]]:
        size = b" SIZE=%d" % letter.size if self._takes_size else b""
        return (
            (Stage.MAIL, self._mail + size + (b" SMTPUTF8" if letter.utf8 else b"") + b"\r\n"),
            (Stage.RCPT, b"RCPT TO:<" + letter.to.spec.encode() + b">\r\n"),
            (Stage.DATA, b"DATA\r\n"),
        )

    async def _ask(self, letter: Letter) -> Outcome | None:
        """Begin a transaction; None, or the outcome that ends it."""
        commands = self._commands(letter)
        asked, self._asked = self._asked, None
        if asked is not None:
            if asked is not letter:  # its 354 would be taken for this one's
                raise RuntimeError("the connection was promised to another letter")
        elif self._in_transaction:  # the last one was refused half-way
            commands = ((Stage.MAIL, _RSET), *commands)
        self._in_transaction = True
        if self._pipelines:
            return await self._ask_at_once(commands, asked=asked is not None)
        return await self._ask_in_turn(commands)

    async def _ask_in_turn(self, commands: Sequence[tuple[Stage, bytes]]) -> Outcome | None:
        """Each command once the one before it is answered; None, or the outcome that ends the transaction."""
        for stage, command in commands:
            try:
                self._wire.send(command, replies=1)
                outcome = await self._answer_to(stage)
            except OSError as error:
                self.abort()
                return lost(stage, type(error).__name__)
            if outcome.action is not Action.ACCEPTED and command is not _RSET:
                return outcome
        return None

    async def _ask_at_once(self, commands: Sequence[tuple[Stage, bytes]], *, asked: bool) -> Outcome | None:
        """All commands in one write (RFC 2920 §3.1), if not `asked` before; the first that is refused decides.

        A server that wants the message nevertheless (354) is left alone with it: without a final dot it has none.
        """
        found: Outcome | None = None
        stage = commands[0][0]
        try:
            if not asked:
                self._wire.send(b"".join(command for _, command in commands), replies=len(commands))
            for stage, command in commands:
                outcome = await self._answer_to(stage)
                if stage is Stage.DATA and found is not None and outcome.action is Action.ACCEPTED:
                    self.abort()
                elif outcome.action is not Action.ACCEPTED and command is not _RSET:
                    found = found or outcome
        except OSError as error:
            self.abort()
            return found or lost(stage, type(error).__name__)
        return found

    async def _answer_to(self, stage: Stage) -> Outcome:
        reply = await self._wire.reply(within_s=self._timeouts.command_s)
        return classify(stage, reply.code, reply.message)


class SmtpAdapter:
    """One SMTP account, connected as needed."""

    def __init__(
        self,
        settings: SmtpSettings,
        tls: ssl.SSLContext,
        *,
        connections: int,
        destinations: Destinations = ANYWHERE,
        now_s: Callable[[], float] = clock.now_s,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._destinations = destinations
        self._now_s = now_s
        self._date = date_source()
        self._in_flight = InFlight()
        self._pool: Pool[Session] = Pool(self._open, size=connections, max_uses=MESSAGES_PER_CONNECTION, idle_s=IDLE_S)

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The message as bytes; raises `ContentError` naming what can't be sent."""
        template = render(outgoing, self._settings.sender, mailer=self._settings.mailer)
        signer = self._settings.signer
        return Prepared(
            template,
            template.common.replace(b"\r\n.", b"\r\n.."),
            signer.begin(template.common) if signer is not None else None,
        )

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One transaction per recipient, as many at a time as there are connections."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            if len(recipients) == 1:
                return [await self._send_one(message, recipients[0])]
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """Connect, encrypt, log in and say NOOP, over a connection of its own."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                session = await self._open()
            except SessionError as error:
                return error.outcome
            outcome = await session.noop()
            await session.close()
        if outcome.action is not Action.ACCEPTED:
            return outcome
        tls = "encrypted (TLS)" if session.encrypted else "not encrypted"
        login = "logged in" if self._settings.username else "without a login"
        return Outcome(Action.ACCEPTED, reason=f"{scrub(session.greeting)}; {tls}, {login}")

    async def aclose(self) -> None:
        """Let transactions finish, then QUIT."""
        await self._in_flight.close()
        await self._pool.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        try:
            to = mailbox(recipient.address)
        except ContentError as error:
            return Outcome(Action.DISABLE_TARGET, error.code, str(error))
        try:
            head = message.template.head(recipient, to, self._date())
        except ContentError as error:
            return Outcome(Action.REJECT_MESSAGE, error.code, str(error))
        if message.signing is not None:
            head = message.signing.header(head, self._now_s()) + head
        utf8 = to.needs_utf8 or message.template.utf8_shown_to(recipient)
        letter = Letter(to, head, message.stuffed, utf8)
        outcome = await self._attempt(letter)
        if outcome.action is Action.RECONNECT_RETRY:
            # Certainly not sent, most often a kept connection that the server had closed: once more, at once.
            outcome = await self._attempt(letter)
        if outcome.action is Action.RECONNECT_RETRY:
            # A server that drops new connections too is busy: back off instead of turning in circles.
            return replace(outcome, action=Action.RETRY)
        return outcome

    async def _attempt(self, letter: Letter, *, may_be_ahead: bool = True) -> Outcome:
        """One try; `may_be_ahead` lets it be asked for together with the end of the message before."""
        try:
            slot = await self._pool.acquire(letter if may_be_ahead else None)
        except SessionError as error:
            return error.outcome
        session, keep, promised = slot.connection, False, None
        is_ahead = session.has_asked_for(letter)

        def following() -> Letter | None:
            nonlocal promised
            promised = self._pool.promise(slot, lambda wants: session.refusal(cast("Letter", wants)) is None)
            return None if promised is None else cast("Letter", promised.wants)

        try:
            outcome, keep = await session.deliver(letter, following)
        finally:  # a cancelled transaction leaves the connection in an unknown state
            self._pool.release(slot, keep=keep, promised=promised)
        if is_ahead and outcome.action is Action.RECONNECT_RETRY:
            # The server ended the connection with the message before (some take few on each): that was no try of this.
            return await self._attempt(letter, may_be_ahead=False)
        return outcome

    async def _open(self) -> Session:
        """A session with the first host that gives one; raises `SessionError`."""
        failure: SessionError | None = None
        for host in self._settings.hosts:
            try:
                return await open_session(self._settings, host, self._tls, self._destinations)
            except SessionError as error:
                failure = error
        raise failure or SessionError(Outcome(Action.STOP_PROVIDER, "no_host", "the provider has no host: set one"))


async def open_session(settings: SmtpSettings, host: Host, tls: ssl.SSLContext, destinations: Destinations) -> Session:
    """Connect, greet, encrypt and authenticate; raises `SessionError`."""
    try:
        connected = await mail_socket(destinations, host.name, host.port, timeout_s=settings.timeouts.connect_s)
    except DestinationRefusedError as error:
        raise SessionError(refused(error)) from error
    except (OSError, ValueError) as error:  # ValueError: a name that can't be encoded
        raise SessionError(_failure(Stage.CONNECT, error)) from error
    client = aiosmtplib.SMTP(
        hostname=host.name,  # whose certificate is asked for
        sock=connected,
        timeout=settings.timeouts.connect_s,
        use_tls=host.security is Security.IMPLICIT,
        start_tls=False,
        tls_context=tls,
        local_hostname="localhost",  # replaced below, once the connection says which address is ours
    )
    stage = Stage.CONNECT
    try:
        greeting = await client.connect()
        stage = Stage.EHLO
        client.local_hostname = _address_literal(client)
        await client.ehlo()
        stage = Stage.STARTTLS
        encrypted = await _encrypt(client, host)
        stage = Stage.AUTH
        if settings.username:
            await _authenticate(client, settings, host, encrypted=encrypted)
    except SessionError:
        _abort(client)
        raise
    except (OSError, ValueError, aiosmtplib.SMTPException) as error:  # ValueError: a name that can't be encoded
        _abort(client)
        raise SessionError(_failure(stage, error)) from error
    except BaseException:
        _abort(client)
        raise
    said = f"{greeting.code} {greeting.message}"
    return Session(_take_over(client), client.esmtp_extensions, settings, greeting=said, encrypted=encrypted)


def _take_over(client: aiosmtplib.SMTP) -> Wire:
    """The client's connection, which is ours from now on; raises `SessionError` when it has just ended."""
    if client.transport is None or not client.is_connected:
        raise SessionError(lost(Stage.AUTH, "the server closed the connection"))
    return Wire.over(client.transport)


def _abort(client: aiosmtplib.SMTP) -> None:
    """Close at once: a polite end of TLS waits half a minute for a server that says nothing."""
    transport = cast("asyncio.WriteTransport | None", client.transport)
    if transport is not None:
        transport.abort()
    client.close()


async def _encrypt(client: aiosmtplib.SMTP, host: Host) -> bool:
    """Whether the connection is encrypted now."""
    if host.security is Security.IMPLICIT:
        return True
    offered = client.supports_extension("starttls")
    if host.security is Security.REQUIRED and not offered:
        reason = "the server offers no STARTTLS: set encryption to ssl for port 465, or to none"
        raise SessionError(Outcome(Action.STOP_PROVIDER, "no_starttls", reason))
    if host.security is Security.NONE or not offered:
        return False
    await client.starttls()
    await client.ehlo()  # what was offered in clear is void (RFC 3207 §4.2)
    return True


async def _authenticate(client: aiosmtplib.SMTP, settings: SmtpSettings, host: Host, *, encrypted: bool) -> None:
    if not encrypted and host.security is not Security.NONE and not host.is_loopback:
        reason = "the server offers no TLS, so the password was not sent: set encryption to ssl, or turn autoTLS off"
        raise SessionError(Outcome(Action.STOP_PROVIDER, "auth_without_tls", reason))
    if not client.supported_auth_methods:
        reason = "the server offers no AUTH we know (CRAM-MD5, PLAIN, LOGIN): check port and encryption"
        raise SessionError(Outcome(Action.STOP_PROVIDER, "no_auth", reason))
    await client.login(settings.username, settings.password)


def _failure(stage: Stage, error: Exception) -> Outcome:
    """What a session that could not be opened means."""
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        reason = "the server's certificate is not trusted: check the host name, or add its authority"
        return Outcome(Action.STOP_PROVIDER, "certificate", reason)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return classify(Stage.GREETING if stage is Stage.CONNECT else stage, error.code, error.message)
    return lost(stage, scrub(type(error).__name__))


def _address_literal(client: aiosmtplib.SMTP) -> str:
    """Our name in EHLO: the connection's own address (RFC 5321 §4.1.3), which needs no DNS look-up."""
    ip = str(client.get_transport_info("sockname")[0])
    return f"[IPv6:{ip.partition('%')[0]}]" if ":" in ip else f"[{ip}]"


def _final(reply: Reply) -> tuple[Outcome, bool]:
    outcome = classify(Stage.FINAL_DOT, reply.code, reply.message)
    if outcome.action is Action.ACCEPTED:
        queued = _QUEUED_AS.search(reply.message)
        return Outcome(Action.ACCEPTED, provider_message_id=queued[1] if queued else None), True
    return outcome, outcome.action is not Action.RECONNECT_RETRY


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an SMTP account; raises `SettingsError` naming what is missing."""
    settings = settings_of(account, context.endpoints)
    return SmtpAdapter(
        settings,
        client_context(context.ca_file),
        connections=calls_in_flight(context),
        destinations=ANYWHERE if context.endpoints.get(account.kind) else context.destinations,
    )
