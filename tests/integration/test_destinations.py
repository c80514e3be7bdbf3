"""A listener on this machine is what an account must not reach: it sees no connection, and the outcome says why."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from messaging.message import Email, Push, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, outgoing, people
from workers.providers import infobip, smtp, webhook, webpush
from workers.providers.base import Account, Adapter, Context
from workers.providers.destinations import CODE, DestinationRefusedError, Destinations, resolve

SECRET = "any text"


class Listener:
    """Counts connections, and answers each with the same bytes."""

    def __init__(self, answer: bytes = b"") -> None:
        self.connections = 0
        self.port = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        if self._answer:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def listening(answer: bytes = b"") -> AsyncIterator[Listener]:
    """A listener on 127.0.0.1."""
    listener = Listener(answer)
    async with await asyncio.start_server(listener.serve, "127.0.0.1", 0) as server:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener


async def to_loopback(host: str, port: int) -> Sequence[str]:
    """A name server that leads every name to this machine, as an attacker's does."""
    del host, port
    return ["127.0.0.1"]


def account(kind: str, **credentials: object) -> Account:
    """An account of a kind."""
    options: dict[str, object] = dict(ENVELOPE) if kind == "smtp" else {"from": "+15005550006"}
    return Account(provider_id=1, public_id="p", kind=kind, credentials=credentials, options=options)


def subscription(endpoint: str) -> str:
    """A browser's subscription whose push service is at `endpoint`."""
    point = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    key, auth = (urlsafe_b64encode(each).rstrip(b"=").decode() for each in (point, bytes(16)))
    return json.dumps({"endpoint": endpoint, "keys": {"p256dh": key, "auth": auth}})


def vapid() -> dict[str, object]:
    """Credentials of a Web Push account."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    private = key.private_numbers().private_value.to_bytes(32, "big")
    pair = [urlsafe_b64encode(each).rstrip(b"=").decode() for each in (public, private)]
    return {"vapidPublicKey": pair[0], "vapidPrivateKey": pair[1], "subject": "mailto:a@example.org"}


async def sent(adapter: Adapter, content: Email | Push | Sms, address: str) -> Outcome:
    """The outcome of one message."""
    (outcome,) = await adapter.send(adapter.prepare(outgoing(content)), people(address))
    await adapter.aclose()
    return outcome


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "0", "[::1]"]
)
def test_another_spelling_of_this_machine_is_no_way_in(spelling: str) -> None:
    """The system's resolver reads decimal, octal and short forms; what it reads is what is looked at."""
    with pytest.raises((DestinationRefusedError, OSError)):
        asyncio.run(Destinations().addresses(spelling.strip("[]"), 443))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0177.1", "[::ffff:127.0.0.1]", "x.example"])
def test_a_webhook_reaches_no_listener_of_this_machine(host: str) -> None:
    """Under no spelling, by no name, for a message or for a check."""

    async def trying() -> tuple[Outcome, Outcome, int]:
        async with listening() as listener:
            destinations = Destinations(resolve=to_loopback if host == "x.example" else resolve)
            context = Context(tokens=NoTokens(), destinations=destinations)
            given = account("webhook_sms", url=f"https://{host}:{listener.port}/", secret=SECRET)
            checked = await webhook.open_adapter(given, context).check()
            outcome = await sent(webhook.open_adapter(given, context), Sms(content="x"), "+15005550006")
            return outcome, checked, listener.connections

    outcome, checked, connections = asyncio.run(trying())
    assert connections == 0
    assert (outcome.action, outcome.code) == (checked.action, checked.code) == (Action.STOP_PROVIDER, CODE)
    assert "MESSAGING_PRIVATE_DESTINATIONS" in outcome.reason


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("encryption", ["none", "ssl"])
def test_a_mail_server_is_none_of_this_machine(host: str, encryption: str) -> None:
    """Nobody who sets up an account gets to speak with what listens here."""

    async def trying() -> tuple[Outcome, int]:
        async with listening() as listener:
            given = account("smtp", host=f"{host}:{listener.port}")
            given = replace(given, options={**given.options, "encryption": encryption})
            adapter = smtp.open_adapter(given, Context(tokens=NoTokens()))
            return await sent(adapter, Email(subject="s", content="c"), "a@example.org"), listener.connections

    outcome, connections = asyncio.run(trying())
    assert connections == 0
    assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, CODE)


def test_a_subscription_at_a_public_name_with_a_private_address_fails_alone() -> None:
    """Its sender may have made both; the account goes on for everybody else."""

    async def trying() -> tuple[Outcome, int]:
        async with listening() as listener:
            context = Context(tokens=NoTokens(), destinations=Destinations(resolve=to_loopback))
            adapter = webpush.open_adapter(account("webpush", **vapid()), context)
            address = subscription(f"https://push.example.org:{listener.port}/a")
            return await sent(adapter, Push(title="t", body="b"), address), listener.connections

    outcome, connections = asyncio.run(trying())
    assert connections == 0
    assert (outcome.action, outcome.code) == (Action.REJECT_MESSAGE, CODE)


def test_an_accounts_own_host_is_looked_at_too() -> None:
    """Infobip's `baseUrl` is whatever its account says."""

    async def trying() -> Outcome:
        context = Context(tokens=NoTokens(), destinations=Destinations(resolve=to_loopback))
        given = account("infobip", baseUrl="evil.example.org", apiKey="k")
        return await sent(infobip.open_adapter(given, context), Sms(content="x"), "+15005550006")

    assert asyncio.run(trying()).code == CODE


def test_no_redirect_is_followed_not_even_from_where_the_operator_allows() -> None:
    """The listener it points to sees nothing, and the account is stopped with the reason."""

    async def trying() -> tuple[Outcome, int, int]:
        async with listening() as target:
            moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{target.port}/\r\nContent-Length: 0\r\n\r\n"
            async with listening(moved.encode()) as door:
                context = Context(tokens=NoTokens(), destinations=Destinations(("127.0.0.0/8",)))
                given = account("webhook_sms", url=f"http://127.0.0.1:{door.port}/", secret=SECRET)
                outcome = await sent(webhook.open_adapter(given, context), Sms(content="x"), "+15005550006")
                return outcome, door.connections, target.connections

    outcome, at_door, at_target = asyncio.run(trying())
    assert (at_door, at_target) == (1, 0)
    assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, "307")
    assert "redirected" in outcome.reason


def test_what_the_operator_allows_is_reached() -> None:
    """The same listener, once its network is in MESSAGING_PRIVATE_DESTINATIONS."""

    async def trying() -> tuple[Outcome, int]:
        async with listening(b"HTTP/1.1 204 No Content\r\n\r\n") as listener:
            context = Context(tokens=NoTokens(), destinations=Destinations(("127.0.0.0/8",)))
            given = account("webhook_sms", url=f"http://127.0.0.1:{listener.port}/", secret=SECRET)
            outcome = await sent(webhook.open_adapter(given, context), Sms(content="x"), "+15005550006")
            return outcome, listener.connections

    assert asyncio.run(trying()) == (Outcome(Action.ACCEPTED), 1)
