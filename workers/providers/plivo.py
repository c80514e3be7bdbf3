"""Text messages through Plivo's Message resource.

One recipient a request, though Plivo takes several: the callback of each then carries its own tag. Plivo takes no
idempotency key, so a lost answer leaves a message unknown.
Source: https://www.plivo.com/docs/messaging/api/message/send-a-message/
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.sms_segments import Encoding, segments
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.plivo_receipts import read_receipts as read_receipts  # noqa: PLC0414  part of this module

TEXT_LIMITS: Mapping[Encoding, int] = {Encoding.GSM_7: 1600, Encoding.UCS_2: 737}
"""Characters: https://www.plivo.com/docs/messaging/api/message/send-a-message/"""
EXPIRY_S = (5, 10_799)
"""Least and most message_expiry, the time in Plivo's queue:
https://support.plivo.com/hc/en-us/articles/14814454609561-Message-Expiry"""

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "refused"),
    401: (Action.STOP_PROVIDER, "auth id or auth token refused: set them anew"),
    402: (Action.QUOTA, "the account's credit does not suffice: top it up"),
    403: (Action.STOP_PROVIDER, "the account may not send there: allow it in the console (geo permissions)"),
    404: (Action.STOP_PROVIDER, "no such account: check the auth id"),
    405: (Action.REJECT_MESSAGE, "method not allowed"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status. Plivo lists no codes for errors of a request; what is wrong is told in words."""

_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_ABOUT_TO = re.compile(r"\b(dst|destination)\b", re.IGNORECASE)
_ABOUT_FROM = re.compile(r"\b(src|source|sender)\b", re.IGNORECASE)
_NOT_VALID = re.compile(r"\b(invalid|not (a )?valid|incorrect)\b", re.IGNORECASE)
_NO_CREDIT = "insufficient credit"
_BAD_REQUEST = 400
_TITLE = "Plivo"


@dataclass(frozen=True)
class PlivoSettings:
    """A Plivo account."""

    auth_id: str
    auth_token: str = field(repr=False)
    sender: str
    """A number in E.164, a short code or a name."""
    callback: str = ""
    """Where status callbacks go; empty: nowhere."""


@dataclass(frozen=True)
class Prepared:
    """A text that can be sent."""

    text: str
    expires_at: datetime


class PlivoAdapter:
    """One Plivo account."""

    def __init__(
        self,
        settings: PlivoSettings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        self._now = now
        self._in_flight = InFlight()
        self._path = f"/v1/Account/{quote(settings.auth_id, safe='')}/"

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The text; raises `ContentError` when it is empty or too long."""
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"Plivo can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "400")
        try:
            sms.content.encode()
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None
        limit = TEXT_LIMITS[segments(sms.content).encoding]
        if len(sms.content) > limit:
            raise ContentError(f"the text has {len(sms.content)} characters; Plivo takes {limit} of this kind", "110")
        return Prepared(sms.content, outgoing.expires_at)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """Ask for the account's name and credit."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                response = await self._client.get(self._path)
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        return classify_account(response.status_code, response.content, response.headers)

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        if not _PHONE.match(recipient.address):
            return Outcome(Action.DISABLE_TARGET, "50", "not a number in E.164, such as +14155550100")
        left_s = int((message.expires_at - self._now()).total_seconds())
        fields: dict[str, object] = {
            "src": self._settings.sender,
            "dst": recipient.address,
            "text": message.text,
            "type": "sms",
            "message_expiry": min(max(left_s, EXPIRY_S[0]), EXPIRY_S[1]),
        }
        if self._settings.callback:
            fields |= {"url": tagged(self._settings.callback, recipient.tag), "method": "POST"}
        try:
            response = await self._client.post(f"{self._path}Message/", json=fields)
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)


def tagged(address: str, tag: str) -> str:
    """The callback address with the delivery's tag, which Plivo hands back with every callback."""
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode({'delivery': tag})}"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a request with one recipient means."""
    document = _object(body)
    if not httpx.codes.is_success(status):
        return _refusal(status, document, headers)
    identities = document.get("message_uuid")
    if isinstance(identities, list) and identities and isinstance(identities[0], str) and identities[0]:
        return Outcome(Action.ACCEPTED, provider_message_id=identities[0])
    if document.get("invalid_number"):
        return Outcome(Action.DISABLE_TARGET, "invalid_number", "not a valid number")
    return Outcome(Action.AMBIGUOUS_RETRY, str(status), "a positive answer without a message id", outage=True)


def classify_account(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What the answer to a question for the account means."""
    document = _object(body)
    if not httpx.codes.is_success(status):
        return _refusal(status, document, headers)
    if "cash_credits" not in document:
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "an answer that names no account: check the endpoint")
    return Outcome(Action.ACCEPTED, reason=f"account {document.get('name')}, credit {document['cash_credits']} USD")


def _refusal(status: int, document: Mapping[str, object], headers: Mapping[str, str]) -> Outcome:
    error = document.get("error")
    said = _DIGITS.sub("<number>", error)[:200] if isinstance(error, str) else ""
    outage = httpx.codes.is_server_error(status)
    if httpx.codes.is_client_error(status) and _NO_CREDIT in said.lower():
        return Outcome(Action.QUOTA, str(status), CODES[402][1])
    if status == _BAD_REQUEST and _ABOUT_FROM.search(said) and not _ABOUT_TO.search(said):
        return Outcome(Action.STOP_PROVIDER, f"{status} src", f"the sender is refused, correct from: {said}")
    if status == _BAD_REQUEST and _ABOUT_TO.search(said) and _NOT_VALID.search(said) and not _ABOUT_FROM.search(said):
        return Outcome(Action.DISABLE_TARGET, f"{status} dst", f"the number is refused: {said}")
    if status in CODES:
        action, meaning = CODES[status]
    elif outage:
        action, meaning = Action.AMBIGUOUS_RETRY, "Plivo may or may not have taken the message"
    elif httpx.codes.is_client_error(status):
        action, meaning = Action.REJECT_MESSAGE, "refused"
    else:
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    reason = f"{meaning}: {said}" if said and action is Action.REJECT_MESSAGE else meaning
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    return Outcome(action, str(status), reason, retry_after_s=delay_s, outage=outage)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Plivo account; raises `SettingsError` naming what is missing."""
    settings = PlivoSettings(
        auth_id=_text(account.credentials, "authId"),
        auth_token=_text(account.credentials, "authToken"),
        sender=_text(account.options, "from"),
        callback=context.receipts_url or "",
    )
    return PlivoAdapter(settings, open_client(account, context, auth=(settings.auth_id, settings.auth_token)))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The Plivo provider's {name} is missing: set it and enable the provider.")
    return value.strip()
