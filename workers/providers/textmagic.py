"""Text messages through Textmagic's REST API v2, one request each.

Sources: https://www.textmagic.com/docs/api/send-sms/, https://docs.textmagic.com/ (answers and errors).

Textmagic's own libraries take whole numbers for `referenceId` only, which our tags are not: receipts are found by the
message's id. So a message whose answer was lost is not settled by its receipt.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.sms_segments import segments
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.textmagic_receipts import read_receipts as read_receipts  # noqa: PLC0414  found here by name

MOST_PARTS = 6
"""Parts of one message: https://www.textmagic.com/docs/api/send-sms/ (partsCount)."""

BY_STATUS: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "refused"),
    401: (Action.STOP_PROVIDER, "username or API key refused: set them anew"),
    402: (Action.QUOTA, "the balance is too low: top it up"),
    403: (Action.STOP_PROVIDER, "access denied: see what the API key may do"),
    404: (Action.STOP_PROVIDER, "no such resource: check the endpoint"),
    405: (Action.STOP_PROVIDER, "the method is not allowed: check the endpoint"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status; other 5xx are unknown, for there is no idempotency key."""

FIELDS: Mapping[str, tuple[Action, str]] = {
    "phones": (Action.DISABLE_TARGET, "the number is refused"),
    "from": (Action.STOP_PROVIDER, "the sender is refused: correct from"),
    "text": (Action.REJECT_MESSAGE, "the text is refused"),
    "partsCount": (Action.REJECT_MESSAGE, "the text takes too many parts"),
}
"""By the field that a 400 names."""

_SAYS: Sequence[tuple[re.Pattern[str], Action, str]] = (
    (re.compile(r"\bbalance\b|\bcredits?\b|\bfunds\b"), Action.QUOTA, "the balance is too low: top it up"),
    (re.compile(r"unsubscribed|opted out|blocked"), Action.SUPPRESS_TARGET, "the recipient has opted out"),
)
"""By the words of a 400, before its fields."""

_PATH, _CHECK_PATH = "/api/v2/messages", "/api/v2/user"
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_HEADER = re.compile(r"[!-~]+(?: [!-~]+)*\Z")
_TITLE = "Textmagic"


@dataclass(frozen=True)
class TextmagicSettings:
    """A Textmagic account."""

    username: str
    api_key: str = field(repr=False)
    sender: str


@dataclass(frozen=True)
class Prepared:
    """The request without its recipient."""

    text: str
    """As JSON."""


class TextmagicAdapter:
    """One Textmagic account."""

    def __init__(self, settings: TextmagicSettings, client: httpx.AsyncClient) -> None:
        self._client = client
        self._shared = json.dumps({"from": settings.sender})[1:]
        self._in_flight = InFlight()

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The text as JSON; raises `ContentError` when it is empty or too long.

        Textmagic takes no time at which a message expires.
        """
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"Textmagic can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "text")
        parts = segments(sms.content).parts
        if parts > MOST_PARTS:
            raise ContentError(f"the text takes {parts} parts; Textmagic takes {MOST_PARTS}", "partsCount")
        try:
            sms.content.encode()
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None
        return Prepared(json.dumps(sms.content))

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """Ask for the account, which tells its balance."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                response = await self._client.get(_CHECK_PATH)
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        user = _object(response.content)
        if response.is_success and "username" in user:
            currency = user.get("currency")
            unit = str(currency.get("id") or "") if isinstance(currency, dict) else ""
            return Outcome(Action.ACCEPTED, reason=f"balance: {user.get('balance')} {unit}".rstrip())
        return classify(response.status_code, response.content, response.headers)

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        if not _PHONE.match(recipient.address):
            return Outcome(Action.DISABLE_TARGET, "phones", "not a number in E.164, such as +15005550006")
        body = f'{{"text": {message.text}, "phones": "{recipient.address[1:]}", {self._shared}'
        try:
            response = await self._client.post(
                _PATH, content=body.encode(), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a message means."""
    document = _object(body)
    if httpx.codes.is_success(status):
        id_ = _message_id(document)
        if id_ is not None:
            return Outcome(Action.ACCEPTED, provider_message_id=id_)
        reason = "a positive answer without a message id"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    if status == httpx.codes.BAD_REQUEST:
        return _refused(document)
    if status in BY_STATUS:
        action, meaning = BY_STATUS[status]
    elif httpx.codes.is_server_error(status):
        action, meaning = Action.AMBIGUOUS_RETRY, "Textmagic may or may not have taken the message"
    elif httpx.codes.is_redirect(status):
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    else:
        action, meaning = Action.REJECT_MESSAGE, "refused"
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, code=str(status), reason=meaning, retry_after_s=delay_s, outage=outage)


def _message_id(document: Mapping[str, object]) -> str | None:
    """The message's id: of one recipient the answer's own, unless it is of another type."""
    names = ("messageId", "id") if document.get("type", "message") == "message" else ("messageId", "sessionId", "id")
    found = next((document[name] for name in names if document.get(name)), None)
    return str(found) if isinstance(found, int | str) and not isinstance(found, bool) else None


def _refused(document: Mapping[str, object]) -> Outcome:
    """What a 400 says: `errors.fields` by name, `errors.common` in words."""
    errors = document.get("errors")
    fields = errors.get("fields") if isinstance(errors, dict) else None
    fields = fields if isinstance(fields, dict) else {}
    common = errors.get("common") if isinstance(errors, dict) else None
    said = _words(common) or next((_words(value) for value in fields.values()), "") or str(document.get("message", ""))
    for words, action, meaning in _SAYS:
        if words.search(said.lower()):
            return Outcome(action, code="400", reason=meaning)
    for name, (action, meaning) in FIELDS.items():
        if name in fields:
            return Outcome(action, code=f"400 {name}", reason=meaning)
    action, meaning = BY_STATUS[400]
    safe = _DIGITS.sub("<number>", said)[:200]
    return Outcome(action, code="400", reason=f"{meaning}: {safe}" if safe else meaning)


def _words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")


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
    """The adapter of a Textmagic account; raises `SettingsError` naming what is missing."""
    settings = TextmagicSettings(
        username=_text(account.credentials, "username"),
        api_key=_text(account.credentials, "apiKey"),
        sender=_text(account.options, "from").removeprefix("+"),
    )
    for name, value in (("username", settings.username), ("apiKey", settings.api_key)):
        if not _HEADER.match(value):
            raise SettingsError(f"The Textmagic provider's {name} holds what no header can: copy it anew.")
    headers = {"x-tm-username": settings.username, "x-tm-key": settings.api_key}
    return TextmagicAdapter(settings, open_client(account, context, headers=headers))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The Textmagic provider's {name} is missing: set it and enable the provider.")
    return value.strip()
