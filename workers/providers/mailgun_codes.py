"""What Mailgun's answers mean.

Sources: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages,
https://documentation.mailgun.com/docs/mailgun/api-reference/api-overview (statuses).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status, json_object, retry_after_s

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "the request is refused"),
    401: (Action.STOP_PROVIDER, "the API key is wrong or of the other region: set apiKey anew, check isEuRegion"),
    402: (Action.REJECT_MESSAGE, "the request failed"),
    403: (Action.STOP_PROVIDER, "the account may not send this: see its sending limits and IP addresses at Mailgun"),
    404: (Action.STOP_PROVIDER, "no such domain: check domain and isEuRegion"),
    413: (Action.REJECT_MESSAGE, "the message is over 25 MB"),
    429: (Action.RETRY_AFTER, "a limit of the account or domain is reached"),
    500: (Action.AMBIGUOUS_RETRY, "internal error at Mailgun"),
    502: (Action.AMBIGUOUS_RETRY, "bad gateway at Mailgun"),
    503: (Action.RETRY, "the service is unavailable"),
    504: (Action.AMBIGUOUS_RETRY, "gateway timeout at Mailgun"),
}
"""By HTTP status; there is no idempotency key, so most 5xx are unknown."""

WORDS: Sequence[tuple[int, str, Action, str]] = (
    (200, "mailgun magnificent api", Action.STOP_PROVIDER, "no such path: check the endpoint and domain"),
    (400, "not allowed to send", Action.STOP_PROVIDER, "the domain may not send: verify or reactivate it at Mailgun"),
    (400, "from parameter", Action.STOP_PROVIDER, "the sender is refused: correct fromEmail and fromName"),
    (403, "large batches", Action.STOP_PROVIDER, "the account may not send to so many at once yet: ask Mailgun"),
)
"""Status and words of an answer that mean something else than the status alone."""

_BAD_RECIPIENT = re.compile(r"\bto'? parameter is not a valid address")
_AFTER_SECONDS = re.compile(r"try again after (\d+(?:\.\d+)?) sec")
_AFTER_DATE = re.compile(r"try again after (\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8} \S+)")
_ADDRESS = re.compile(r"\S+@\S+")
_WORDS_LIMIT = 200

_BAD_REQUEST = 400


def classify(status: int, body: bytes, headers: Mapping[str, str], now: datetime) -> Outcome:
    """What an answer means for every recipient of the request; `now` is aware."""
    said = words_of(body)
    lowered = said.lower()
    for its_status, words, its_action, its_meaning in WORDS:
        if status == its_status and words in lowered.replace("'", ""):
            return Outcome(its_action, code=str(status), reason=_reason(its_meaning, said))
    if httpx.codes.is_success(status):
        message_id = json_object(body).get("id")
        if isinstance(message_id, str) and message_id:
            return Outcome(Action.ACCEPTED, provider_message_id=message_id)
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "a positive answer without a message id", outage=True)
    action, meaning = CODES.get(status) or by_status(status, "Mailgun")
    return Outcome(
        action,
        code=str(status),
        reason=_reason(meaning, said),
        retry_after_s=_delay_s(said, headers, now) if action in {Action.RETRY, Action.RETRY_AFTER} else None,
        outage=httpx.codes.is_server_error(status),
    )


def blames_a_recipient(status: int, body: bytes) -> bool:
    """Whether a request was refused as a whole because of one of its addresses; it does not say which."""
    return status == _BAD_REQUEST and _BAD_RECIPIENT.search(words_of(body)) is not None


def words_of(body: bytes) -> str:
    """What an answer says: its `message`, or a body that is a text; without addresses."""
    said = str(json_object(body).get("message") or "")
    if not said and not body.lstrip().startswith((b"{", b"<")):
        said = body[:1000].decode("utf-8", "replace").strip().strip('"')
    return _ADDRESS.sub("<address>", said)


def _reason(meaning: str, said: str) -> str:
    return f"{meaning}: {said[:_WORDS_LIMIT]}" if said else meaning


def _delay_s(said: str, headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, named in words (a number of them, or a date) or by Retry-After; or None."""
    seconds = _AFTER_SECONDS.search(said)
    if seconds is not None:
        return float(seconds[1])
    date = _AFTER_DATE.search(said)
    if date is None:
        return retry_after_s(headers)
    try:
        at = parsedate_to_datetime(date[1])
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
