"""Text messages through Textmagic's REST API v2, one request each.

Sources: https://www.textmagic.com/docs/api/send-sms/, https://docs.textmagic.com/ (answers and errors).

Textmagic's own libraries take whole numbers for `referenceId` only, which our tags are not: receipts are found by the
message's id. So a message whose answer was lost is not settled by its receipt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import httpx

from messaging.errors import SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import open_client, required_text
from workers.providers.http1_posting import Posting
from workers.providers.sms import OneByOne, check_letters, check_parts, not_a_number, text_of, without_numbers
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


class TextmagicAdapter(OneByOne[TextmagicSettings, Prepared]):
    """One Textmagic account."""

    title = _TITLE
    no_number = not_a_number("phones", "+15005550006")

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The text as JSON; raises `ContentError` when it is empty or too long.

        Textmagic takes no time at which a message expires.
        """
        text = text_of(outgoing, _TITLE, empty="text")
        check_parts(text, MOST_PARTS, _TITLE, "partsCount")
        check_letters(text)
        return Prepared(json.dumps(text))

    def _request(self, message: Prepared, recipient: Recipient) -> httpx.Request:
        sender = json.dumps(self._settings.sender)
        body = f'{{"text": {message.text}, "phones": "{recipient.address[1:]}", "from": {sender}}}'
        return self._posting(body.encode())

    @cached_property
    def _posting(self) -> Posting:
        return Posting(self._client, _PATH, content_type="application/json")

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """The account, which tells its balance."""
        response = await self._client.get(_CHECK_PATH)
        user = json_object(response.content)
        if response.is_success and "username" in user:
            currency = user.get("currency")
            unit = str(currency.get("id") or "") if isinstance(currency, dict) else ""
            return Outcome(Action.ACCEPTED, reason=f"balance: {user.get('balance')} {unit}".rstrip())
        return self._classify(response)


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a message means."""
    document = json_object(body)
    if httpx.codes.is_success(status):
        id_ = _message_id(document)
        if id_ is not None:
            return Outcome(Action.ACCEPTED, provider_message_id=id_)
        reason = "a positive answer without a message id"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    if status == httpx.codes.BAD_REQUEST:
        return _refused(document)
    action, meaning = BY_STATUS.get(status) or by_status(status, _TITLE)
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, str(status), meaning, retry_after_s=delay_s(action, headers), outage=outage)


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
    safe = without_numbers(said)
    return Outcome(action, code="400", reason=f"{meaning}: {safe}" if safe else meaning)


def _words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Textmagic account; raises `SettingsError` naming what is missing."""
    settings = TextmagicSettings(
        username=required_text(account.credentials, "username", _TITLE),
        api_key=required_text(account.credentials, "apiKey", _TITLE),
        sender=required_text(account.options, "from", _TITLE).removeprefix("+"),
    )
    for name, value in (("username", settings.username), ("apiKey", settings.api_key)):
        if not _HEADER.match(value):
            raise SettingsError(f"The Textmagic provider's {name} holds what no header can: copy it anew.")
    headers = {"x-tm-username": settings.username, "x-tm-key": settings.api_key}
    return TextmagicAdapter(settings, open_client(account, context, headers=headers))
