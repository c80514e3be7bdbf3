"""Text messages through Vonage's SMS API.

Vonage takes no idempotency key, so a lost answer leaves a message unknown.
Source: https://developer.vonage.com/en/api/sms
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from urllib.parse import urlencode

import httpx

from messaging.outcome import Action, Outcome
from messaging.sms_segments import Encoding, segments
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import open_client, required_text
from workers.providers.http1_posting import Posting
from workers.providers.sms import FORM, OneByOne, check_length, form_of, not_a_number, text_of, without_numbers
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


class VonageAdapter(OneByOne[VonageSettings, Prepared]):
    """One Vonage account."""

    title = _TITLE
    no_number = not_a_number("3 to", "+447700900000")

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long."""
        text = text_of(outgoing, _TITLE, empty="2")
        check_length(text, TEXT_LIMIT, _TITLE, "12")
        fields = {"from": self._settings.sender, "text": text}
        if segments(text).encoding is Encoding.UCS_2:  # else other letters arrive as question marks
            fields["type"] = "unicode"
        return Prepared(form_of(fields), outgoing.expires_at)

    def _request(self, message: Prepared, recipient: Recipient) -> httpx.Request:
        fields = {
            "to": recipient.address[1:],
            "ttl": self._left(message.expires_at, TTL_MS, per_s=1000),
            "client-ref": recipient.tag,
        }
        if self._settings.callback and len(self._settings.callback) <= CALLBACK_LIMIT:
            fields["callback"] = self._settings.callback
        return self._posting(f"{message.form}&{urlencode(fields)}".encode("ascii"))

    @cached_property
    def _posting(self) -> Posting:
        return Posting(self._client, _PATH, content_type=FORM)

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """The account's balance."""
        response = await self._client.get("/account/get-balance")
        outcome = classify_balance(response.status_code, response.content, response.headers)
        if outcome.action is Action.ACCEPTED and len(self._settings.callback) > CALLBACK_LIMIT:
            return Outcome(Action.ACCEPTED, reason=f"{outcome.reason}; {_CALLBACK_TOO_LONG}")
        return outcome


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
    value = json_object(body).get("value")
    if not isinstance(value, int | float):
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "an answer without a balance: check the endpoint")
    return Outcome(Action.ACCEPTED, reason=f"balance {value:.2f} EUR")


def _by_status(status: int, headers: Mapping[str, str]) -> Outcome:
    action, meaning = _BY_STATUS.get(status) or by_status(status, _TITLE)
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, str(status), meaning, retry_after_s=delay_s(action, headers), outage=outage)


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
    said = without_numbers(str(message.get("error-text") or ""))
    if code == _INVALID and _ABOUT_TO.search(said):
        return Outcome(Action.DISABLE_TARGET, f"{code} to", "not a valid number")
    if code == _INVALID and _ABOUT_FROM.search(said):
        return Outcome(Action.STOP_PROVIDER, f"{code} from", "the sender is not valid: correct from")
    action, meaning = CODES.get(code, (Action.REJECT_MESSAGE, "refused"))
    if action is Action.REJECT_MESSAGE and said:
        meaning = f"{meaning}: {said}"
    return Outcome(action, code, meaning, outage=code == _INTERNAL)


def _messages(body: bytes) -> list[Mapping[str, object]]:
    found = json_object(body).get("messages")
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        return []
    return found


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Vonage account; raises `SettingsError` naming what is missing."""
    settings = VonageSettings(
        api_key=required_text(account.credentials, "apiKey", _TITLE),
        api_secret=required_text(account.credentials, "apiSecret", _TITLE),
        sender=required_text(account.options, "from", _TITLE).removeprefix("+"),
        callback=context.receipts_url or "",
    )
    return VonageAdapter(settings, open_client(account, context, auth=(settings.api_key, settings.api_secret)))
