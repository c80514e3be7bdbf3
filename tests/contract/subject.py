"""What the contract needs of an adapter: how it is opened, addressed, and led into each case."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import httpx

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.local.sandbox import web
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.message import Content, Email, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer, Place, answering_http1
from tests.integration.http2_peer import Certificate
from tests.integration.push_sandbox import Tokens
from workers.providers.base import Account, Adapter, Context, TokenStore
from workers.providers.smtp_settings import Timeouts

RECEIPTS_URL = "http://127.0.0.1:1/v1/receipts/key"
"""Where the accounts report to; nobody listens there."""

QUICK_S = 0.5
"""For servers that say nothing."""


class Magic(StrEnum):
    """Cases the sandbox plays for an address."""

    DEAD = "dead"
    SILENT = "silent"
    """The request is taken whole and never answered."""
    DROPPED = "dropped"
    """The connection is reset after the request."""
    LOST = "lost"
    """Accepted and recorded, then the connection is reset."""
    NOT_NOW = "not now"


@dataclass(frozen=True, kw_only=True)
class Genuine:
    """A receipt request as the provider makes it."""

    inbound: Inbound
    fields: Mapping[str, object] = field(default_factory=dict)
    """Credentials it is verified with, besides the account's own."""
    signature: str = ""
    """The signature as it stands in a header, the address or the body; empty where the kind does not sign."""
    covers_body: bool = True
    """The signature is over the body."""
    with_body: Callable[[bytes], Inbound] | None = None
    """The same request with another body, signed anew."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One adapter."""

    kind: str
    content: Content
    unsendable: tuple[Content, ...]
    """What `prepare` refuses."""
    fresh: Callable[[], str]
    """An address the sandbox accepts, another each time."""
    magic: Callable[[Magic], str]
    endpoint: Callable[[SandboxAddresses], str]
    credentials: Callable[[SandboxAddresses], dict[str, Any]]
    wrong: Callable[[SandboxAddresses], dict[str, Any]]
    """Credentials of the right form that the sandbox refuses."""
    serve: Callable[[Answer, Certificate], AbstractAsyncContextManager[Place]]
    refused_content: Answer
    unreadable: tuple[Answer, ...]
    """Positive answers, or what is left of them, that don't say yes."""
    throttled: Action
    """What a 429 leads to."""
    delay_s: tuple[float, float] | None
    """Least and most delay read from a throttling answer that asks for 7 s; None where the protocol names none."""
    scheme: str = "https://"
    """How an endpoint of ours is written so that something has to come back before the request can leave."""
    options: Mapping[str, object] = field(default_factory=dict)
    server_error: Answer = field(default_factory=lambda: Answer(500))
    """The provider as such fails."""
    quota: Answer | None = None
    """The account's quota or credit is used up; None where the kind can't say so."""
    check_asks: bool = True
    """`check` asks the provider; False where it has no call that sends nothing."""
    genuine: Callable[[Mapping[str, object]], Genuine] | None = None
    """A receipt request as the provider makes it, to an account with these credentials and options."""

    def module(self) -> Any:
        """The adapter's module."""
        return import_module(f"workers.providers.{KINDS[self.kind].module}")

    def account(self, addresses: SandboxAddresses, credentials: Mapping[str, object] | None = None) -> Account:
        """An account of the kind, with these credentials or those the sandbox takes."""
        return Account(
            provider_id=1,
            public_id="subject",
            kind=self.kind,
            credentials=self.credentials(addresses) if credentials is None else credentials,
            options=self.options,
        )

    def open(
        self,
        addresses: SandboxAddresses,
        *,
        place: Place | None = None,
        credentials: Mapping[str, object] | None = None,
        tokens: TokenStore | None = None,
        hurried: bool = False,
    ) -> Adapter:
        """The adapter, opened as workers do, at the sandbox or at `place`; `hurried` waits for half a second only."""
        at = place or Place(self.endpoint(addresses), Path(addresses.ca_file))
        account = self.account(addresses, credentials)
        context = Context(
            tokens=tokens or Tokens(),
            endpoints={"fcm_token": addresses.fcm_token, self.kind: at.address},
            ca_file=at.ca_file,
            connections=KINDS[self.kind].connections,
            concurrency=min(10, KINDS[self.kind].concurrency),
            receipts_url=RECEIPTS_URL,
        )
        adapter = cast("Adapter", self.module().open_adapter(account, context))
        if hurried:
            hurry(adapter)
        return adapter


def hurry(adapter: Any, *, answers_only: bool = False) -> None:
    """Let the adapter wait half a second where it waits half a minute: for everything, or for the last answer only."""
    if hasattr(adapter, "_pool"):
        quick = Timeouts(connect_s=QUICK_S, command_s=QUICK_S, block_s=QUICK_S, final_dot_s=QUICK_S)
        adapter._settings = replace(
            adapter._settings, timeouts=Timeouts(final_dot_s=QUICK_S) if answers_only else quick
        )
        for slot in adapter._pool._idle:
            slot.connection._timeouts = adapter._settings.timeouts
    elif isinstance(adapter._client, httpx.AsyncClient):
        adapter.__dict__.pop("_posting", None)  # it remembers how long its requests may take
        adapter._client.timeout = httpx.Timeout(10.0, read=QUICK_S) if answers_only else httpx.Timeout(QUICK_S)
    else:
        adapter._client._request_timeout_s = QUICK_S
        if not answers_only:
            adapter._client._connect_timeout_s = QUICK_S


def by_http1(answer: Answer, _: Certificate) -> AbstractAsyncContextManager[Place]:
    """A server on plain HTTP/1.1 that says `answer`: what most kinds have for `serve`."""
    return answering_http1(answer)


def json_answer(status: int, body: str) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, {"content-type": "application/json"}, body.encode())


def unreadable(status: int, *own: Answer) -> tuple[Answer, ...]:
    """Positive answers of a kind that takes JSON which don't say yes: `own` besides those no such kind can read."""
    return (
        Answer(status, body=b"<html>"),
        Answer(status),
        Answer(204),
        json_answer(status, "[]"),
        *own,
        Answer(status, {"content-encoding": "gzip"}, b"<html>"),
        Answer(status, cut=True),
    )


def credentials_of(kind: str) -> dict[str, Any]:
    """Credentials the kind's stand-in takes, made anew; its options apart."""
    names = {one.name for one in KINDS[kind].credentials}
    return {name: value for name, value in web.stand_in(kind).fields().items() if name in names}


def options_of(kind: str) -> dict[str, Any]:
    """The options the kind's stand-in comes with."""
    names = {one.name for one in KINDS[kind].options}
    return {name: value for name, value in web.stand_in(kind).fields().items() if name in names}


def posted(body: bytes, headers: Mapping[str, str] | None = None, *, url: str = RECEIPTS_URL) -> Inbound:
    """A receipt request with this body, of JSON unless `headers` say otherwise, which comes now."""
    heads = {"content-type": "application/json"} if headers is None else headers
    return Inbound(method="POST", url=url, headers=heads, body=body, received_at=datetime.now(UTC))


def web_subject(
    kind: str,
    *,
    dead: str,
    not_now: str,
    wrong: Mapping[str, str],
    unsendable: tuple[Content, ...],
    refused_content: Answer,
    unreadable: tuple[Answer, ...],
    genuine: Callable[[Mapping[str, object]], Genuine],
    delay_s: tuple[float, float] | None = (7, 7),
    quota: Answer | None = None,
) -> Subject:
    """A kind for email or SMS whose stand-in is one of `web/`.

    Its options are those its stand-in comes with; `wrong` is what is changed in its credentials to have them refused.
    """
    is_email = KINDS[kind].channel is Channel.EMAIL
    return Subject(
        kind=kind,
        content=Email(subject="Hello", content="there") if is_email else Sms(content="Code: 1234"),
        unsendable=unsendable,
        fresh=fresh_mailbox if is_email else fresh_number,
        magic=(magic_mailboxes if is_email else magic_numbers)(dead=dead, not_now=not_now),
        endpoint=lambda addresses: addresses.of(kind),
        credentials=lambda _: credentials_of(kind),
        wrong=lambda _: {**credentials_of(kind), **wrong},
        serve=by_http1,
        refused_content=refused_content,
        unreadable=unreadable,
        throttled=Action.RETRY_AFTER,
        delay_s=delay_s,
        options=options_of(kind),
        quota=quota,
        genuine=genuine,
    )


def fresh_number() -> str:
    """A phone number, another each time."""
    return f"+4477{secrets.randbelow(10**9):09}"


def fresh_mailbox() -> str:
    """An email address, another each time."""
    return f"u{secrets.token_hex(8)}@example.com"


def magic_numbers(*, dead: str, not_now: str) -> Callable[[Magic], str]:
    """Another number each time; of those without an answer all kinds have the same."""
    prefixes = {
        Magic.DEAD: dead, Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
        Magic.NOT_NOW: not_now,
    }  # fmt: skip
    return lambda case: f"{prefixes[case]}{secrets.randbelow(10**5):05}"


def magic_mailboxes(*, dead: str, not_now: str) -> Callable[[Magic], str]:
    """The same for email addresses."""
    words = {
        Magic.DEAD: dead, Magic.SILENT: "timeout", Magic.DROPPED: "reset", Magic.LOST: "lost-answer",
        Magic.NOT_NOW: not_now,
    }  # fmt: skip
    return lambda case: f"{words[case]}+{secrets.token_hex(8)}@example.com"
