"""A message's end reaches the provider, wherever its API has a field for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import pytest

from messaging.catalog import OURS
from messaging.clock import clock
from messaging.local.sandbox.addresses import SandboxAddresses
from tests.contract.servers import Place, serving
from tests.contract.subjects import SUBJECTS
from tests.integration.http2_peer import Certificate, Peer
from tests.integration.http2_peer import serve as serve_http2
from tests.integration.mail_sandbox import outgoing, people
from workers.providers.base import Minted

LIVES_S = 7200
SLACK_S = 90
"""A slow machine may take so long from the beginning of a test to the request."""
AHEAD_S = 300.0
"""By so much the database's clock is ahead of this machine's here."""


@dataclass(frozen=True)
class Sent:
    """One request as a server received it."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """Its body, of either kind of form."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/"):
            return dict(parse_qsl(self.body.decode()))
        parsed = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + self.body, policy=HTTP)
        parts = {str(part.get_param("name", header="content-disposition")): part for part in parsed.iter_parts()}
        return {name: str(part.get_content()).strip() for name, part in parts.items()}

    @property
    def json(self) -> dict[str, object]:
        """Its body, of JSON."""
        decoded: dict[str, object] = json.loads(self.body)
        return decoded

    def at(self, *path: str | int) -> object:
        """What lies there in its JSON."""
        found: Any = self.json
        for step in path:
            found = found[step]
        return found


def _left(value: object, *, per_s: int = 1) -> bool:
    """Whether that is what was left of two hours when it was sent."""
    return LIVES_S - SLACK_S <= int(str(value)) / per_s <= LIVES_S


def _minutes(value: str) -> bool:
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", value)
    assert found
    hours, minutes = (int(part or 0) for part in found.groups())
    return _left((hours * 60 + minutes) * 60)


def _is_end(value: object) -> bool:
    """Whether those seconds since 1970 are the message's end."""
    return abs(int(str(value)) - clock.now_s() - LIVES_S) < SLACK_S


def _fcm(sent: Sent) -> bool:
    return (
        _left(str(sent.at("message", "android", "ttl")).removesuffix("s"))
        and _left(sent.at("message", "webpush", "headers", "TTL"))
        and _is_end(sent.at("message", "apns", "headers", "apns-expiration"))
    )


def _webhook(sent: Sent) -> bool:
    return _is_end(int(datetime.fromisoformat(str(sent.at("expiresAt"))).timestamp()))


HAVE_A_FIELD: Mapping[str, Callable[[Sent], bool]] = {
    "apns": lambda sent: _is_end(sent.headers["apns-expiration"]),
    "fcm": _fcm,
    "webpush": lambda sent: _left(sent.headers["ttl"]),
    "twilio": lambda sent: _left(sent.form["ValidityPeriod"]),
    "vonage": lambda sent: _left(sent.form["ttl"], per_s=1000),
    "infobip": lambda sent: _left(sent.at("messages", 0, "options", "validityPeriod", "amount")),
    "plivo": lambda sent: _left(sent.at("message_expiry")),
    "mailgun": lambda sent: _minutes(sent.form["o:deliver-within"]),
    "webhook_push": _webhook,
    "webhook_email": _webhook,
    "webhook_sms": _webhook,
}
"""How each says when a message ends."""

HAVE_NONE: Mapping[str, str] = {
    "sendgrid": "v3 Mail Send knows when to begin (send_at), not when to give up: it tries for 72 hours",
    "smtp": "RFC 5321 has none, and the extension that has (DELIVERBY, RFC 2852) is offered by next to no server",
    "resend": "POST /emails knows when to begin (scheduled_at) only",
    "ses": "SendEmail and SendBulkEmail have none",
    "msg91": "a flow has none: the route's own time counts",
    "telesign": "POST /v1/messaging has none",
    "textmagic": "POST /api/v2/messages knows when to begin (sendingTime) only",
}
"""Where a message that was accepted lives as long as the provider says; and why."""


@pytest.fixture(autouse=True)
def another_clock() -> Iterator[None]:
    """The database's clock is ahead of this machine's: what is left of a time is counted by the database's."""
    before = clock._offset_s, clock._heard_s
    clock.hear(time.time() + AHEAD_S, asked_s=time.monotonic())
    yield
    clock._offset_s, clock._heard_s = before


@contextlib.asynccontextmanager
async def recording_http1(sent: list[Sent]) -> AsyncIterator[Place]:
    """HTTP/1.1 in clear, answering each request with an empty object."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:]
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                sent.append(Sent(fields, await reader.readexactly(int(fields.get("content-length") or 0))))
                writer.write(b"HTTP/1.1 400 x\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
                await writer.drain()

    async with serving(serve) as port:
        yield Place(f"http://127.0.0.1:{port}")


@contextlib.asynccontextmanager
async def recording_http2(sent: list[Sent], certificate: Certificate) -> AsyncIterator[Place]:
    """HTTP/2 over TLS, accepting one request."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=10)
        await peer.until(lambda p: p.gone or bool(p.complete), within_s=30)
        for request in peer.complete:
            sent.append(Sent(dict(request.headers), bytes(request.body)))
            peer.answer(request.stream_id, 200, {}, b'{"name": "projects/p/messages/1"}')
        await peer.until(lambda p: p.gone, within_s=30)

    async with serve_http2(script, certificate) as origin:
        yield Place(origin, certificate.cert_file)


class OneToken:
    """A token store whose token nobody mints: a token dated by that clock would be refused by the sandbox's."""

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:  # noqa: ARG002  as `TokenStore` has it
        """The token."""
        return "token"

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:  # noqa: ARG002
        """The same."""
        return "token"


def test_every_kind_of_ours_passes_it_on_or_has_its_reason() -> None:
    """A kind that is added is added to one of the two."""
    able = {kind.name for kind in OURS.values() if kind.has_adapter}
    assert HAVE_A_FIELD.keys() | HAVE_NONE.keys() == able
    assert not HAVE_A_FIELD.keys() & HAVE_NONE.keys()


@pytest.mark.parametrize("kind", sorted(HAVE_A_FIELD))
def test_a_request_says_when_its_message_ends(kind: str, addresses: SandboxAddresses, certificate: Certificate) -> None:
    """As the moment itself, or as the time left by the database's clock."""
    subject, sent = SUBJECTS[kind], list[Sent]()

    async def scenario() -> None:
        over_http2 = kind in {"apns", "fcm"}
        async with recording_http2(sent, certificate) if over_http2 else recording_http1(sent) as place:
            adapter = subject.open(addresses, place=place, tokens=OneToken())
            message = replace(outgoing(subject.content), expires_at=clock.now() + timedelta(seconds=LIVES_S))
            prepared = adapter.prepare(message)
            async with asyncio.timeout(60):
                await adapter.send(prepared, people(subject.fresh()))
            await adapter.aclose()

    asyncio.run(scenario())
    assert sent, "no request came"
    assert HAVE_A_FIELD[kind](sent[0]), f"{sent[0].headers} {sent[0].body[:500]!r}"
