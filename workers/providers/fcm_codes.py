"""What Google's answers mean: FCM's error codes and those of the token endpoint, with the words for the ledger.

Sources: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and
https://firebase.google.com/docs/cloud-messaging/error-codes
"""

from __future__ import annotations

import email.utils
import json
from collections.abc import Mapping

from messaging.clock import clock
from messaging.outcome import Action, Outcome

CODES: Mapping[str, tuple[Action, str]] = {
    "INVALID_ARGUMENT": (Action.REJECT_MESSAGE, "FCM refuses the message or the token as invalid."),
    "INVALID_ARGUMENT+BadRequest": (Action.REJECT_MESSAGE, "FCM refuses a field of the message."),
    "THIRD_PARTY_AUTH_ERROR": (
        Action.STOP_PROVIDER,
        "The APNs key or web push key in the Firebase project is missing or invalid.",
    ),
    "UNAUTHENTICATED": (Action.REFRESH_AUTH_RETRY, "The access token is invalid or has expired."),
    "SENDER_ID_MISMATCH": (Action.DISABLE_TARGET, "The token belongs to another Firebase project."),
    "PERMISSION_DENIED": (
        Action.STOP_PROVIDER,
        "The service account may not send: enable the FCM API and give it the role.",
    ),
    "UNREGISTERED": (Action.DISABLE_TARGET, "The app is no longer on the device, or its token changed."),
    "NOT_FOUND": (Action.STOP_PROVIDER, "The Firebase project does not exist: check project_id."),
    "payload too large": (Action.REJECT_MESSAGE, "The message is larger than FCM takes."),
    "QUOTA_EXCEEDED": (Action.RETRY_AFTER, "The project, the device or the topic is over its rate."),
    "INTERNAL": (Action.RETRY, "Google had an internal error."),
    "UNAVAILABLE": (Action.RETRY_AFTER, "Google's service is overloaded."),
    "UNSPECIFIED_ERROR": (Action.RETRY, "Google gave no reason."),
}
"""FCM's error code (or, where it gives none, the status) -> what follows, and why in words."""

QUOTA_PAUSE_S = 60.0
"""Pause after a 429 without Retry-After: quotas are refilled by the minute."""

_BY_STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "payload too large",
    429: "QUOTA_EXCEEDED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_FCM_ERROR = "google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "google.rpc.BadRequest"


def classify(status: int, body: bytes, *, retry_after: str | None = None, payload_accepted: bool = False) -> Outcome:
    """The outcome an answer means.

    Judged by ``details[].errorCode``, since the top-level status is shared by a dead token and a
    wrong project. INVALID_ARGUMENT retires the address only when `payload_accepted` (the same
    payload has succeeded for another token) and the answer says that the token is invalid.
    """
    answer = _object(body)
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP
        name = answer.get("name")
        if isinstance(name, str) and name:
            # `projects/…/messages/` before it is the same for all; what Google's exports call the message id is left
            return Outcome(Action.ACCEPTED, provider_message_id=name.rpartition("/")[2] or name)
        reason = f"FCM answered {status} without a name."
        return Outcome(Action.AMBIGUOUS_RETRY, code="unreadable", reason=reason, outage=True)
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    code = _code(status, error)
    action, reason = CODES[code]
    text = str(error.get("message") or "").lower()
    if code == "INVALID_ARGUMENT" and payload_accepted and "registration token" in text:
        action, reason = Action.DISABLE_TARGET, "The token is not a valid FCM registration token."
    delay_s = parse_retry_after(retry_after)
    if code == "QUOTA_EXCEEDED" and delay_s is None:
        delay_s = QUOTA_PAUSE_S
    if code == "UNAVAILABLE" and delay_s is None:
        action = Action.RETRY  # one of many may fail so: the account pauses only where Google says for how long
    return Outcome(
        action,
        code=code,
        reason=reason,
        retry_after_s=delay_s if action is Action.RETRY_AFTER else None,
        outage=status >= 500,  # noqa: PLR2004 - HTTP
    )


def classify_token_endpoint(status: int | None, code: str = "", *, retry_after: str | None = None) -> Outcome:
    """The outcome of a message that could not be sent because no access token was to be had.

    `status` is None when the endpoint was not reached; `code` is the OAuth error (RFC 6749 section 5.2).
    """
    shown = code or str(status or "unreachable")
    if status is None or status == 408 or status >= 500:  # noqa: PLR2004 - HTTP
        reason = "Google's token endpoint gave no token; it is tried again."
        return Outcome(Action.RETRY, code=shown, reason=reason, outage=True)
    if status == 429:  # noqa: PLR2004 - HTTP
        delay_s = parse_retry_after(retry_after)
        reason = "Google's token endpoint is over its rate."
        return Outcome(Action.RETRY_AFTER, code=shown, reason=reason, retry_after_s=delay_s)
    reason = "Google's token endpoint refuses the service account: check serviceAccountJSON and this machine's clock."
    return Outcome(Action.STOP_PROVIDER, code=shown, reason=reason)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a Retry-After of seconds or a date (RFC 9110 section 10.2.3), or None."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until - clock.now()).total_seconds())


def _code(status: int, error: Mapping[str, object]) -> str:
    details = error.get("details")
    bad_request = False
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        kind = str(detail.get("@type", ""))
        if kind.endswith(_FCM_ERROR) and detail.get("errorCode") in CODES:
            return str(detail["errorCode"])
        bad_request |= kind.endswith(_BAD_REQUEST)
    if bad_request:
        return "INVALID_ARGUMENT+BadRequest"
    if status == 413:  # noqa: PLR2004 - HTTP
        return "payload too large"
    given = str(error.get("status") or "")
    if given == "RESOURCE_EXHAUSTED":
        return "QUOTA_EXCEEDED"
    if given in CODES:
        return given
    return _BY_STATUS.get(status) or ("INTERNAL" if status >= 500 else "UNSPECIFIED_ERROR")  # noqa: PLR2004 - HTTP


def _object(body: bytes) -> Mapping[str, object]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
