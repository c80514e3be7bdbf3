"""The adapters the contract holds for: what each needs to be opened, addressed, and led into each case."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import httpx

from messaging.catalog import KINDS
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import (
    apns_credentials,
    fcm_credentials,
    sendgrid_credentials,
    smtp_credentials,
    twilio_credentials,
)
from messaging.local.sandbox.smtp import REFUSED_PASSWORD
from messaging.local.sandbox.twilio import REFUSED_TOKEN
from messaging.message import Content, Email, Push, Sms
from messaging.outcome import Action
from tests.contract.servers import Answer, Place, answering_http1, answering_http2, scripted_smtp
from tests.integration.http2_peer import Certificate
from tests.integration.push_sandbox import Tokens
from workers.providers.base import Account, Adapter, Context, TokenStore
from workers.providers.smtp_settings import Timeouts

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
        account = Account(
            provider_id=1,
            public_id="subject",
            kind=self.kind,
            credentials=self.credentials(addresses) if credentials is None else credentials,
            options=self.options,
        )
        context = Context(
            tokens=tokens or Tokens(),
            endpoints={"fcm_token": addresses.fcm_token, self.kind: at.address},
            ca_file=at.ca_file,
            connections=KINDS[self.kind].connections,
            concurrency=min(10, KINDS[self.kind].concurrency),
        )
        adapter = cast("Adapter", import_module(f"workers.providers.{self.kind}").open_adapter(account, context))
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
        adapter._client.timeout = httpx.Timeout(10.0, read=QUICK_S) if answers_only else httpx.Timeout(QUICK_S)
    else:
        adapter._client._request_timeout_s = QUICK_S
        if not answers_only:
            adapter._client._connect_timeout_s = QUICK_S


def _hex() -> str:
    return secrets.token_hex(28)


def _short() -> str:
    return secrets.token_hex(8)


def _answering_http1(answer: Answer, _: Certificate) -> AbstractAsyncContextManager[Place]:
    return answering_http1(answer)


def _answering_smtp(answer: Answer, _: Certificate) -> AbstractAsyncContextManager[Place]:
    return scripted_smtp(dot=answer.line)


def _json(status: int, body: str) -> Answer:
    return Answer(status, {"content-type": "application/json"}, body.encode())


_PUSH = Push(title="Hello", body="there", data={"order": "1"})
_EMAIL = Email(subject="Hello", content="there")
_SENDER = {"fromEmail": "news@example.org", "fromName": "News"}

_APNS_MAGIC = {
    Magic.DEAD: "dead0410", Magic.SILENT: "dead0000", Magic.DROPPED: "dead0003", Magic.LOST: "dead0005",
    Magic.NOT_NOW: "dead0503",
}  # fmt: skip
_FCM_MAGIC = {
    Magic.DEAD: "magic-unregistered", Magic.SILENT: "magic-timeout", Magic.DROPPED: "magic-drop",
    Magic.LOST: "magic-lost-connection", Magic.NOT_NOW: "magic-internal",
}  # fmt: skip
_SENDGRID_MAGIC = {
    Magic.DEAD: "invalid", Magic.SILENT: "timeout", Magic.DROPPED: "reset", Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "unavailable",
}  # fmt: skip
_SMTP_MAGIC = {
    Magic.DEAD: "unknown-user", Magic.SILENT: "timeout-data", Magic.DROPPED: "drop-data", Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "busy",
}  # fmt: skip
_TWILIO_MAGIC = {
    Magic.DEAD: "+15005550001", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip

SUBJECTS: Mapping[str, Subject] = {
    subject.kind: subject
    for subject in (
        Subject(
            kind="apns",
            content=_PUSH,
            unsendable=(Push(title="x" * 5000), _EMAIL, Push(title="x", data={"aps": "mine"})),
            fresh=lambda: f"ab{_hex()}",
            magic=lambda case: f"{_APNS_MAGIC[case]}{_hex()}",
            endpoint=lambda addresses: addresses.apns,
            credentials=lambda addresses: apns_credentials(addresses.control),
            wrong=lambda addresses: apns_credentials(addresses.control) | {"teamId": "UNKNOWN000"},
            serve=answering_http2,
            refused_content=_json(413, '{"reason": "PayloadTooLarge"}'),
            unreadable=(Answer(204), Answer(299, body=b"<html>"), Answer(cut=True)),
            throttled=Action.RETRY,
            delay_s=None,
        ),
        Subject(
            kind="fcm",
            content=_PUSH,
            unsendable=(Push(title="x" * 5000), _EMAIL, Push(title="x", data={"from": "me"})),
            fresh=lambda: f"token-{_hex()}",
            magic=lambda case: f"{_FCM_MAGIC[case]}-{_hex()}",
            endpoint=lambda addresses: addresses.fcm,
            credentials=lambda addresses: fcm_credentials(addresses.control, addresses.fcm_token),
            wrong=lambda addresses: _misspelled(fcm_credentials(addresses.control, addresses.fcm_token)),
            serve=answering_http2,
            refused_content=_json(
                400,
                '{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid value", "details": '
                '[{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []}]}}',
            ),
            unreadable=(Answer(200, body=b"<html>"), Answer(200), Answer(204), _json(200, "[]"), Answer(cut=True)),
            throttled=Action.RETRY_AFTER,
            delay_s=(7, 7),
        ),
        Subject(
            kind="sendgrid",
            content=_EMAIL,
            unsendable=(Email(subject="", content="b"), _PUSH, Email(subject="s", content="b", headers={"To": "x"})),
            fresh=lambda: f"u{_short()}@example.com",
            magic=lambda case: f"{_SENDGRID_MAGIC[case]}+{_short()}@example.com",
            endpoint=lambda addresses: addresses.sendgrid,
            credentials=lambda _: sendgrid_credentials(),
            wrong=lambda _: {"apiKey": "SG.revoked.key"},
            serve=_answering_http1,
            refused_content=_json(413, '{"errors": [{"message": "too large", "field": null}]}'),
            unreadable=(Answer(204), Answer(206, body=b"<html>"), Answer(202, {"content-length": "x"}),
                        Answer(202, {"content-encoding": "gzip"}, b"<html>"), Answer(202, cut=True)),
            throttled=Action.RETRY_AFTER,
            delay_s=(5, 7),
            options=_SENDER,
        ),
        Subject(
            kind="smtp",
            content=_EMAIL,
            unsendable=(
                _PUSH,
                Email(subject="a\r\nb", content="c"),
                Email(subject="s", content="b", headers={"To": "x"}),
            ),
            fresh=lambda: f"u{_short()}@example.com",
            magic=lambda case: f"{_SMTP_MAGIC[case]}+{_short()}@example.com",
            endpoint=lambda addresses: addresses.smtp,
            credentials=smtp_credentials,
            wrong=lambda addresses: smtp_credentials(addresses) | {"password": REFUSED_PASSWORD},
            serve=_answering_smtp,
            refused_content=Answer(line="554 5.6.0 not such a message"),
            unreadable=(Answer(line="nonsense"), Answer(line="250-half an answer\r\nmore"), Answer(line="150 hm")),
            throttled=Action.RETRY,
            delay_s=None,
            scheme="",
            options=_SENDER,
        ),
        Subject(
            kind="twilio",
            content=Sms(content="Code: 1234"),
            unsendable=(Sms(content="x" * 1601), _PUSH, Sms(content="")),
            fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
            magic=lambda case: _TWILIO_MAGIC[case],
            endpoint=lambda addresses: addresses.twilio,
            credentials=lambda _: twilio_credentials(),
            wrong=lambda _: twilio_credentials() | {"authToken": REFUSED_TOKEN},
            serve=_answering_http1,
            refused_content=_json(400, '{"code": 21617, "message": "too long", "status": 400}'),
            unreadable=(Answer(201, body=b"<html>"), Answer(201), _json(201, "[]"), _json(200, '{"sid": null}'),
                        Answer(201, {"content-encoding": "gzip"}, b"<html>"), Answer(201, cut=True)),
            throttled=Action.RETRY,
            delay_s=(7, 7),
            options={"from": "+15005550006", "statusCallback": "https://example.org/status"},
        ),
    )
}  # fmt: skip


def _misspelled(credentials: dict[str, Any]) -> dict[str, Any]:
    """A service account nobody knows."""
    file = dict(credentials["serviceAccountJSON"]) | {"client_email": "nobody@sandbox.iam.gserviceaccount.com"}
    return {"serviceAccountJSON": file}
