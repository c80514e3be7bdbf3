"""An SMTP server on aiosmtpd: plain with STARTTLS, or TLS from the first byte, under magic addresses and faults."""

import asyncio
import itertools
import json
import secrets
import ssl
from typing import Any, AnyStr, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.exchange import Behaviour
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.mail import read_mail
from messaging.local.sandbox.record import Outcome, Record

MAX_MESSAGE_BYTES = 35 << 20
REFUSED_PASSWORD = "wrong"  # noqa: S105  # nosec B105  always refused
"""Any other user and password may log in, and nobody has to."""

HOSTNAME = "sandbox.localhost"


class _Envelope(Envelope):
    """One transaction, with what was decided about its recipients at RCPT."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: list[Answer] = []


class _Session(Session):
    """One connection, with the number of messages it brought."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.messages = 0
        self._user: object = None

    @property
    def login_data(self) -> object:
        """Who logged in. aiosmtpd 1.4.6 sets its own, deprecated attribute itself and warns of that at each login."""
        return self._user

    @login_data.setter
    def login_data(self, value: object) -> None:
        self._user = value


class SmtpConnection(SMTP):
    """One connection; a 421 ends it (RFC 5321 §3.8)."""

    def __init__(
        self,
        handler: "SmtpHandler",
        open_connections: "set[SmtpConnection]",
        *,
        starttls: ssl.SSLContext | None,
    ) -> None:
        self._open_connections = open_connections
        super().__init__(
            handler,
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            hostname=HOSTNAME,
            ident="heliograph sandbox",
            tls_context=starttls,
            auth_require_tls=False,
            authenticator=_authenticate,
            loop=asyncio.get_running_loop(),
        )

    def _create_session(self) -> _Session:
        return _Session(self.loop)

    def _create_envelope(self) -> _Envelope:
        return _Envelope()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection."""
        self._open_connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._open_connections.discard(self)
        super().connection_lost(error)

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is on, from the first byte or since STARTTLS."""
        transport = cast("asyncio.Transport | None", self.transport)
        return transport is not None and transport.get_extra_info("ssl_object") is not None

    async def push(self, status: AnyStr) -> None:
        """Send a reply, and hang up after a 421."""
        await super().push(status)
        if status[:3] in {"421", b"421"}:
            self.abort(after_write=True)

    def abort(self, *, after_write: bool = False) -> None:
        """Drop the connection: at once, or after what is already written."""
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is None:
            return
        if after_write:
            transport.close()
        else:
            transport.abort()


class SmtpHandler:
    """Decides about recipients at RCPT and about messages at the final dot, and records each recipient."""

    def __init__(self, judge: Judge, record: Record) -> None:
        self._judge = judge
        self._record = record
        self._run = secrets.token_hex(3).upper()
        self._numbers = itertools.count(1)

    async def handle_EHLO(  # noqa: N802  # aiosmtpd's name
        self, server: SmtpConnection, session: _Session, envelope: _Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """The reply to EHLO: aiosmtpd's own, and PIPELINING (RFC 2920), for it reads one command after the other."""
        del server, envelope
        session.host_name = hostname
        return [*responses[:1], "250-PIPELINING", *responses[1:]]

    async def handle_MAIL(  # noqa: N802  # aiosmtpd's name
        self, server: SmtpConnection, session: _Session, envelope: _Envelope, address: str, options: list[str]
    ) -> str:
        """The reply to MAIL."""
        del server
        limit = self._judge.plan.dice("smtp").faults.goaway_after
        if limit is not None and session.messages >= limit:
            return "421 4.3.2 Service closing transmission channel: enough messages on this connection"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SmtpConnection, session: _Session, envelope: _Envelope, address: str, options: list[str]
    ) -> str:
        """The reply to RCPT."""
        del session
        answer = self._judge.judge(address)
        if answer is not None and not answer.at_end_of_data:
            self._record.append("smtp", address, outcome=answer.outcome(), status=answer.status, code=answer.code)
            return await self._reply(server, answer)
        if answer is not None:
            envelope.verdicts.append(answer)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        await asyncio.sleep(self._judge.delay_s)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SmtpConnection, session: _Session, envelope: _Envelope) -> str:  # noqa: N802
        """The reply to the final dot."""
        session.messages += 1
        answer = envelope.verdicts[0] if envelope.verdicts else None
        queue_id = f"{self._run}{next(self._numbers):06X}"
        content = cast("bytes", envelope.original_content)
        mail = await asyncio.to_thread(read_mail, content) if len(content) > _LARGE_BYTES else read_mail(content)
        payload = json.dumps(mail)
        about = json.dumps({"mail_from": envelope.mail_from, "tls": server.is_encrypted, "bytes": len(content)})
        for recipient in envelope.rcpt_tos:
            self._record.append(
                "smtp",
                str(recipient),
                outcome=Outcome.ACCEPTED if answer is None else answer.outcome(),
                status=250 if answer is None else answer.status,
                code="" if answer is None else answer.code,
                provider_id=queue_id,
                tag=mail["message_id"],
                payload=payload,
                about=about,
            )
        if answer is not None:
            return await self._reply(server, answer)
        self._record.flush()
        await asyncio.sleep(self._judge.delay_s)
        return f"250 2.0.0 OK: queued as {queue_id}"

    async def _reply(self, server: SmtpConnection, answer: Answer) -> str:
        self._record.flush()
        if answer.behaviour is Behaviour.ANSWER:
            await asyncio.sleep(self._judge.delay_s)
            return f"{answer.status} {answer.code} {answer.text}"
        if answer.behaviour is not Behaviour.NEVER_ANSWER:
            server.abort()
        # aiosmtpd cancels this when the connection goes, or after its own timeout of five minutes.
        await asyncio.Event().wait()
        raise AssertionError("an event nobody sets was set")  # pragma: no cover


_LARGE_BYTES = 1 << 20  # parsing this takes tens of milliseconds


def _authenticate(
    server: SMTP,
    session: Session,
    envelope: Envelope,
    mechanism: str,
    auth_data: Any,  # noqa: ANN401  # aiosmtpd's type
) -> AuthResult:
    del server, session, envelope, mechanism
    good = isinstance(auth_data, LoginPassword) and auth_data.password != REFUSED_PASSWORD.encode()
    return AuthResult(success=good, handled=False)
