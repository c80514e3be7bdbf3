"""What push services answer, and what follows.

Sources: RFC 8030 §5 and §8.4, RFC 8292 §4.2,
https://mozilla-services.github.io/autopush-rs/errors.html,
https://developer.apple.com/documentation/usernotifications/sending-web-push-notifications-in-web-apps-and-browsers,
https://learn.microsoft.com/en-us/windows/apps/windows-app-sdk/notifications/push-notifications/troubleshooting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx

from messaging.clock import clock
from messaging.outcome import ACCEPTED, Action, Outcome

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "the push service finds headers or encryption malformed"),
    401: (Action.STOP_PROVIDER, "the VAPID token is refused: check vapidPublicKey, vapidPrivateKey and subject"),
    403: (Action.DISABLE_TARGET, "subscribed with another VAPID key"),
    404: (Action.DISABLE_TARGET, "the subscription has expired"),
    406: (Action.RETRY_AFTER, "too many requests"),
    410: (Action.DISABLE_TARGET, "the subscription is gone"),
    413: (Action.REJECT_MESSAGE, "the payload is too large"),
    429: (Action.RETRY_AFTER, "too many requests"),
    500: (Action.RETRY, "internal error at the push service"),
    502: (Action.RETRY, "the push service can't reach its own server"),
    503: (Action.RETRY_AFTER, "the push service is unavailable"),
}
"""By HTTP status; 406 is Microsoft's 429. Other 5xx are unknown, for there is no idempotency key."""

REASONS: Mapping[str, tuple[Action, str]] = {
    "BadJwtToken": (
        Action.STOP_PROVIDER,
        "Apple refuses the VAPID token: subject must be a mailto: or https: address that can be reached",
    ),
    "UnauthorizedRegistration": (Action.STOP_PROVIDER, "the VAPID token is refused: check keys and subject"),
    "VapidPkHashMismatch": (Action.DISABLE_TARGET, "subscribed with another VAPID key"),
    "VAPID public key mismatch": (Action.DISABLE_TARGET, "subscribed with another VAPID key"),
}
"""By the push service's own words, which say more than its status: a reason of Apple's, a message of Mozilla's."""

_CREATED, _TAKEN = 201, 202


def classify(status: int, body: bytes, headers: Mapping[str, str], now: Callable[[], datetime] = clock.now) -> Outcome:
    """What an answer means for the subscription it is about.

    The id of an accepted message, its Location, is kept nowhere: whoever has it can delete the message.
    """
    if status in {_CREATED, _TAKEN}:
        return ACCEPTED
    said = _said(body)
    if said in REASONS and httpx.codes.is_client_error(status):
        action, meaning = REASONS[said]
        return Outcome(action, code=said if " " not in said else str(status), reason=meaning)
    outage = httpx.codes.is_server_error(status) or httpx.codes.is_success(status)
    if status in CODES:
        action, meaning = CODES[status]
    elif outage:  # also a 2xx that says neither yes nor no
        action, meaning = Action.AMBIGUOUS_RETRY, "the push service may or may not have taken the message"
    elif httpx.codes.is_client_error(status):
        action, meaning = Action.REJECT_MESSAGE, "refused"
    else:
        action, meaning = Action.DISABLE_TARGET, "redirected: a subscription's endpoint never moves"
    delay_s = _retry_after_s(headers, now) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    return Outcome(action, code=str(status), reason=meaning, retry_after_s=delay_s, outage=outage)


def _said(body: bytes) -> str:
    """Apple's `reason`, Mozilla's `message`, or the plain text of others."""
    try:
        document = json.loads(body)
        return str(document.get("reason") or document.get("message") or "")
    except (ValueError, AttributeError, RecursionError):
        return body.decode("utf-8", "replace").strip()


def _retry_after_s(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Seconds of Retry-After, which is a number or a date (RFC 9110 §10.2.3)."""
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError):
        return None
