"""Text messages through Vonage's SMS API.

Vonage takes no idempotency key, so a lost answer leaves a message unknown.
Source: https://developer.vonage.com/en/api/sms
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.sms_segments import Encoding, segments
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.vonage_receipts import read_receipts as read_receipts  # noqa: PLC0414  part of this module

TEXT_LIMIT = 3200
"""Characters; not confirmed by a page of Vonage's. What is too long for a destination is answered with status 12."""
TTL_MS = (20_000, 604_800_000)
"""Least and most ttl: how long the delivery is tried."""
CALLBACK_LIMIT = 100
"""Characters a callback may have: https://developer.vonage.com/en/api/sms"""

CODES: Mapping[str, tuple[Action, str]] = {
    "1": (Action.RETRY_AFTER, "too many messages a second for the account"),
    "2": (Action.REJECT_MESSAGE, "a parameter is missing"),
    "3": (Action.REJECT_MESSAGE, "a parameter is not valid"),
    "4": (Action.STOP_PROVIDER, "API key or secret refused: set them anew"),
    "5": (Action.RETRY, "internal error at Vonage"),
    "6": (Action.REJECT_MESSAGE, "the message can't be processed or routed"),
    "7": (Action.SUPPRESS_TARGET, "the number is barred"),
    "8": (Action.STOP_PROVIDER, "the account is barred: ask Vonage"),
    "9": (Action.QUOTA, "the account's credit does not suffice: top it up"),
    "10": (Action.RETRY, "too many connections at once"),
    "11": (Action.STOP_PROVIDER, "the account is not enabled for HTTP: ask Vonage"),
    "12": (Action.REJECT_MESSAGE, "the message is too long"),
    "14": (Action.STOP_PROVIDER, "the request's signature is refused: the account must take requests without one"),
    "15": (Action.STOP_PROVIDER, "the sender is not allowed: correct from"),
    "22": (Action.REJECT_MESSAGE, "the network code is not valid"),
    "23": (Action.REJECT_MESSAGE, "the callback is not a valid address"),
    "29": (Action.STOP_PROVIDER, "a demo account sends to its test numbers only"),
    "32": (Action.STOP_PROVIDER, "signature and secret are both given: the account must take the secret alone"),
    "33": (Action.DISABLE_TARGET, "the number is no longer in use"),
}
"""By `status` of a message (text, not a number): https://developer.vonage.com/en/api-errors/sms"""

_BY_STATUS: Mapping[int, tuple[Action, str]] = {
    401: (Action.STOP_PROVIDER, "API key or secret refused: set them anew"),
    402: (Action.QUOTA, "the account's credit does not suffice: top it up"),
    403: (Action.STOP_PROVIDER, "access denied: check what the account may do"),
    404: (Action.STOP_PROVIDER, "no such resource: check the endpoint"),
    422: (Action.REJECT_MESSAGE, "a parameter is not valid"),
    429: (Action.RETRY_AFTER, "too many requests a second"),
    503: (Action.RETRY, "the service is unavailable"),
}
_WORST_FIRST = (
    Action.SUPPRESS_TARGET, Action.DISABLE_TARGET, Action.REJECT_MESSAGE, Action.STOP_PROVIDER, Action.QUOTA,
    Action.RETRY_AFTER, Action.RETRY,
)  # fmt: skip
_FINAL = frozenset({Action.SUPPRESS_TARGET, Action.DISABLE_TARGET, Action.REJECT_MESSAGE})

_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_ABOUT_TO = re.compile(r"\bto\s*$|\bto (address|number|param)", re.IGNORECASE)
_ABOUT_FROM = re.compile(r"\b(from|sender)\b", re.IGNORECASE)
_INVALID, _INTERNAL = "3", "5"
_PATH = "/sms/json"
_TITLE = "Vonage"


@dataclass(frozen=True)
class VonageSettings:
    """A Vonage account."""

    api_key: str
    api_secret: str = field(repr=False)
    sender: str
    """A number without +, a short code or a name."""
    callback: str = ""
    """Where delivery receipts go; empty: where the account's own settings say."""


@dataclass(frozen=True)
class Prepared:
    """The form without what differs between recipients."""

    form: str
    expires_at: datetime


class VonageAdapter:
    """One Vonage account."""

    def __init__(
        self,
        settings: VonageSettings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        self._now = now
        self._in_flight = InFlight()

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long."""
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"Vonage can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "2")
        if len(sms.content) > TEXT_LIMIT:
            raise ContentError(f"the text has {len(sms.content)} characters; Vonage takes {TEXT_LIMIT}", "12")
        fields = {"from": self._settings.sender, "text": sms.content}
        if segments(sms.content).encoding is Encoding.UCS_2:  # else other letters arrive as question marks
            fields["type"] = "unicode"
        try:
            form = urlencode(fields)
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None
        return Prepared(form, outgoing.expires_at)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """Ask for the account's balance."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                response = await self._client.get("/account/get-balance")
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        outcome = classify_balance(response.status_code, response.content, response.headers)
        if outcome.action is Action.ACCEPTED and len(self._settings.callback) > CALLBACK_LIMIT:
            return Outcome(Action.ACCEPTED, reason=f"{outcome.reason}; {_CALLBACK_TOO_LONG}")
        return outcome

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        if not _PHONE.match(recipient.address):
            return Outcome(Action.DISABLE_TARGET, "3 to", "not a number in E.164, such as +447700900000")
        left_ms = int((message.expires_at - self._now()).total_seconds() * 1000)
        fields = {
            "to": recipient.address[1:],
            "ttl": min(max(left_ms, TTL_MS[0]), TTL_MS[1]),
            "client-ref": recipient.tag,
        }
        if self._settings.callback and len(self._settings.callback) <= CALLBACK_LIMIT:
            fields["callback"] = self._settings.callback
        try:
            response = await self._client.post(
                _PATH,
                content=f"{message.form}&{urlencode(fields)}".encode("ascii"),
                headers={"content-type": "application/x-www-form-urlencoded"},
            )
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)


_CALLBACK_TOO_LONG = (
    f"the receipt address is over {CALLBACK_LIMIT} characters, too long to go with a message: "
    "set it as the delivery receipt webhook in Vonage's dashboard"
)


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer means: one entry a part of the text, all accepted or not.

    Where some parts were taken and others refused for now, an incomplete text may be on its way: unknown. The worst
    refusal counts; one for good is said as it is.
    """
    if not httpx.codes.is_success(status):
        return _by_status(status, headers)
    parts = [_part(message) for message in _messages(body)]
    if not parts or any(part is None for part in parts):
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "a positive answer that can't be read", outage=True)
    known = [part for part in parts if part is not None]
    taken = [part for part in known if part.action is Action.ACCEPTED]
    refused = [part for part in known if part.action is not Action.ACCEPTED]
    if not refused:
        return taken[0]
    worst = min(refused, key=lambda part: _WORST_FIRST.index(part.action))
    if not taken:
        return worst
    reason = f"{len(taken)} of {len(known)} parts were taken, the others not: {worst.reason}"
    action = worst.action if worst.action in _FINAL else Action.AMBIGUOUS_RETRY
    return Outcome(action, worst.code, reason, provider_message_id=taken[0].provider_message_id)


def classify_balance(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What the answer to a question for the balance means."""
    if not httpx.codes.is_success(status):
        return _by_status(status, headers)
    value = _object(body).get("value")
    if not isinstance(value, int | float):
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "an answer without a balance: check the endpoint")
    return Outcome(Action.ACCEPTED, reason=f"balance {value:.2f} EUR")


def _by_status(status: int, headers: Mapping[str, str]) -> Outcome:
    if status in _BY_STATUS:
        action, meaning = _BY_STATUS[status]
    elif httpx.codes.is_server_error(status):
        action, meaning = Action.AMBIGUOUS_RETRY, "Vonage may or may not have taken the message"
    elif httpx.codes.is_client_error(status):
        action, meaning = Action.REJECT_MESSAGE, "refused"
    else:
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, str(status), meaning, retry_after_s=delay_s, outage=outage)


def _part(message: Mapping[str, object]) -> Outcome | None:
    """The outcome of one part, or None where it can't be read."""
    code = message.get("status")
    if not isinstance(code, str) or not code:
        return None
    if code == "0":
        identity = message.get("message-id")
        if not isinstance(identity, str) or not identity:
            return None
        return Outcome(Action.ACCEPTED, provider_message_id=identity)
    said = _DIGITS.sub("<number>", str(message.get("error-text") or ""))[:200]
    if code == _INVALID and _ABOUT_TO.search(said):
        return Outcome(Action.DISABLE_TARGET, f"{code} to", "not a valid number")
    if code == _INVALID and _ABOUT_FROM.search(said):
        return Outcome(Action.STOP_PROVIDER, f"{code} from", "the sender is not valid: correct from")
    action, meaning = CODES.get(code, (Action.REJECT_MESSAGE, "refused"))
    if action is Action.REJECT_MESSAGE and said:
        meaning = f"{meaning}: {said}"
    return Outcome(action, code, meaning, outage=code == _INTERNAL)


def _messages(body: bytes) -> list[Mapping[str, object]]:
    found = _object(body).get("messages")
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        return []
    return found


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
    """The adapter of a Vonage account; raises `SettingsError` naming what is missing."""
    settings = VonageSettings(
        api_key=_text(account.credentials, "apiKey"),
        api_secret=_text(account.credentials, "apiSecret"),
        sender=_text(account.options, "from").removeprefix("+"),
        callback=context.receipts_url or "",
    )
    return VonageAdapter(settings, open_client(account, context, auth=(settings.api_key, settings.api_secret)))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The Vonage provider's {name} is missing: set it and enable the provider.")
    return value.strip()
