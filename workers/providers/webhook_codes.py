"""What a receiver of our webhook protocol answers, and what follows: docs/reference/webhook-provider.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import httpx

from messaging.outcome import ACCEPTED, Action, Outcome
from workers.providers.base import Recipient

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "the receiver finds the request malformed"),
    401: (Action.STOP_PROVIDER, "the receiver refuses the signature: set the secret it has, and compare the clocks"),
    402: (Action.QUOTA, "the receiver's credit is used up"),
    403: (Action.STOP_PROVIDER, "the receiver refuses the account: let it in there, or set another secret"),
    404: (Action.STOP_PROVIDER, "nobody receives at that address: correct url"),
    405: (Action.STOP_PROVIDER, "the address takes no POST: correct url"),
    408: (Action.RETRY, "the request did not reach the receiver in time"),
    409: (Action.AMBIGUOUS_RETRY, "the receiver is still at work on the same request"),
    410: (Action.STOP_PROVIDER, "the receiver was closed: correct url"),
    413: (Action.REJECT_MESSAGE, "the request is too large for the receiver"),
    422: (Action.REJECT_MESSAGE, "the receiver refuses the message"),
    425: (Action.RETRY, "too early"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the receiver is unavailable"),
}
"""By HTTP status of the whole request. Other 5xx are unknown: the receiver may have taken some of it."""

STATUSES: Mapping[str, tuple[Action, str]] = {
    "accepted": (Action.ACCEPTED, ""),
    "failed": (Action.REJECT_MESSAGE, "the receiver could not send it"),
    "rejected": (Action.REJECT_MESSAGE, "the receiver refuses the content"),
    "retry": (Action.RETRY, "the receiver can't send it now"),
    "suppressed": (Action.SUPPRESS_TARGET, "the recipient does not want it"),
    "dead": (Action.DISABLE_TARGET, "the address is dead"),
}
"""By `status` of one recipient's result."""

_LONGEST_REASON = 200
_LONGEST_CODE = 64
_LONGEST_ID = 255
_NUMBER = re.compile(r"\+?\d[\d ()-]{5,}\d")
_TOKEN = re.compile(r"[A-Za-z0-9_:.-]{32,}")
_MAIL = re.compile(r"[^\s<>,;]+@[^\s<>,;]+")


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer means for all recipients of the request; one with results means what `read_results` says."""
    if httpx.codes.is_success(status):
        if not body.strip():
            return ACCEPTED
        reason = "a positive answer without readable results"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    outage = httpx.codes.is_server_error(status)
    if status in CODES:
        action, meaning = CODES[status]
    elif outage:
        action, meaning = Action.AMBIGUOUS_RETRY, "the receiver failed, and may have taken the message before"
    elif httpx.codes.is_client_error(status):
        action, meaning = Action.REJECT_MESSAGE, "refused"
    else:
        action, meaning = Action.STOP_PROVIDER, "redirected: set url to where it leads"
    delay_s = _seconds(headers.get("retry-after")) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    return Outcome(action, code=str(status), reason=meaning, retry_after_s=delay_s, outage=outage)


def read_results(status: int, body: bytes, recipients: Sequence[Recipient]) -> list[Outcome] | None:
    """One outcome per recipient from a positive answer's `results`; None where it has none for them."""
    if not httpx.codes.is_success(status):
        return None
    try:
        results = json.loads(body)["results"]
        by_tag = {str(result["delivery"]): result for result in results}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not any(recipient.tag in by_tag for recipient in recipients):
        return None
    return [_outcome(by_tag.get(recipient.tag), recipient.address) for recipient in recipients]


def clean(text: object, *secrets: str) -> str:
    """The text of somebody else without `secrets`, addresses, numbers and tokens; at most 200 characters."""
    said = str(text or "")[: 4 * _LONGEST_REASON]
    for secret in secrets:
        said = said.replace(secret, "<address>") if secret else said
    for pattern, word in ((_MAIL, "<address>"), (_NUMBER, "<number>"), (_TOKEN, "<token>")):
        said = pattern.sub(word, said)
    return " ".join(said.split())[:_LONGEST_REASON]


def _outcome(result: object, address: str) -> Outcome:
    if not isinstance(result, Mapping):
        return Outcome(Action.AMBIGUOUS_RETRY, "missing", "the answer has no result for this delivery")
    word = result.get("status")
    if not isinstance(word, str) or word not in STATUSES:
        return Outcome(
            Action.AMBIGUOUS_RETRY, "unknown status", "the answer's status for this delivery is none we know"
        )
    action, meaning = STATUSES[word]
    given_id = result.get("id")
    provider_message_id = str(given_id)[:_LONGEST_ID] if given_id else None
    if action is Action.ACCEPTED:
        return Outcome(action, provider_message_id=provider_message_id)
    said = clean(result.get("reason"), address)
    return Outcome(
        action,
        code=clean(result.get("code"), address)[:_LONGEST_CODE] or word,
        reason=f"{meaning}: {said}" if said else meaning,
        provider_message_id=provider_message_id,
        retry_after_s=_seconds(result.get("retryAfterSeconds")) if action is Action.RETRY else None,
    )


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
