"""What Apple's answers mean: its table of reasons, each with the action and the words for the ledger.

Source: "Handling notification responses from APNs",
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping

from messaging.outcome import ACCEPTED, Action, Outcome

_OURS = "This is a fault of this program: please report it."

CODES: Mapping[str, tuple[Action, str]] = {
    # 400
    "BadCollapseId": (Action.REJECT_MESSAGE, "The collapse id is longer than 64 bytes."),
    "BadDeviceToken": (Action.DISABLE_TARGET, "The device token is malformed or of the other environment."),
    "BadExpirationDate": (Action.REJECT_MESSAGE, f"apns-expiration is invalid. {_OURS}"),
    "BadMessageId": (Action.REJECT_MESSAGE, f"apns-id is not a canonical UUID. {_OURS}"),
    "BadPriority": (Action.REJECT_MESSAGE, f"apns-priority is not 1, 5 or 10. {_OURS}"),
    "BadTopic": (Action.STOP_PROVIDER, "The topic is invalid: check the provider's bundleId."),
    "DeviceTokenNotForTopic": (Action.DISABLE_TARGET, "The device token belongs to another app than the bundleId."),
    "DuplicateHeaders": (Action.REJECT_MESSAGE, f"A header was sent twice. {_OURS}"),
    "IdleTimeout": (Action.RECONNECT_RETRY, "The connection had been idle for too long."),
    "InvalidPushType": (Action.REJECT_MESSAGE, "The push type is invalid for this content."),
    "MissingDeviceToken": (Action.DISABLE_TARGET, "The device token is empty."),
    "MissingTopic": (Action.STOP_PROVIDER, "The topic is missing: set the provider's bundleId."),
    "PayloadEmpty": (Action.REJECT_MESSAGE, "The payload is empty."),
    "TopicDisallowed": (Action.STOP_PROVIDER, "The key may not push to this bundleId."),
    # 403
    "BadCertificate": (Action.STOP_PROVIDER, "The certificate is invalid."),
    "BadCertificateEnvironment": (Action.STOP_PROVIDER, "The certificate is for the other environment."),
    "ExpiredProviderToken": (Action.REFRESH_AUTH_RETRY, "The provider token is older than an hour."),
    "Forbidden": (Action.STOP_PROVIDER, "The key may not do this."),
    "InvalidProviderToken": (
        Action.STOP_PROVIDER,
        "The provider token was refused: check authKey, authKeyId, teamId and the environment.",
    ),
    "MissingProviderToken": (Action.STOP_PROVIDER, "The provider token is missing."),
    "UnrelatedKeyIdInToken": (Action.RECONNECT_RETRY, "The connection was opened with another key."),
    "BadEnvironmentKeyIdInToken": (Action.STOP_PROVIDER, "The key is for the other environment: check `sandbox`."),
    # 404, 405
    "BadPath": (Action.REJECT_MESSAGE, f"The path is invalid. {_OURS}"),
    "MethodNotAllowed": (Action.REJECT_MESSAGE, f"The method is not POST. {_OURS}"),
    # 410
    "ExpiredToken": (Action.DISABLE_TARGET, "The device token has expired."),
    "Unregistered": (Action.DISABLE_TARGET, "The app is no longer on the device, or its token changed."),
    # 413
    "PayloadTooLarge": (Action.REJECT_MESSAGE, "The payload is larger than 4096 bytes (5120 for VoIP)."),
    # 429
    "TooManyProviderTokenUpdates": (
        Action.RETRY_AFTER,
        "The provider token changed more than once in 20 minutes: does another program use the same key?",
    ),
    "TooManyRequests": (Action.RETRY, "Too many notifications to this device in a short time."),
    # 500, 503
    "InternalServerError": (Action.RETRY, "Apple had an internal error."),
    "ServiceUnavailable": (Action.RETRY, "Apple's service is unavailable."),
    "Shutdown": (Action.RECONNECT_RETRY, "Apple's server is shutting down."),
}
"""Apple's reason -> what follows, and why in words."""

TOKEN_UPDATES_PAUSE_S = 60.0
"""Pause after TooManyProviderTokenUpdates: Apple names no time; the rule itself covers 20 minutes."""

_BY_STATUS: Mapping[int, Action] = {
    400: Action.REJECT_MESSAGE,
    403: Action.STOP_PROVIDER,
    404: Action.REJECT_MESSAGE,
    405: Action.REJECT_MESSAGE,
    410: Action.DISABLE_TARGET,
    413: Action.REJECT_MESSAGE,
    429: Action.RETRY,
}


def classify(status: int, body: bytes) -> Outcome:
    """The outcome an answer means; `dead_since` is set where a 410 tells the time.

    A reason that is not in the table is judged by its status. An answer that is neither a success
    nor an error is an unknown outcome.
    """
    if status == 200:  # noqa: PLR2004 - HTTP
        return ACCEPTED
    answer = _json(body)
    code = str(answer.get("reason") or status)
    known = CODES.get(code)
    if known is not None:
        action, reason = known
    else:
        server_error = status >= 500  # noqa: PLR2004 - HTTP
        action = _BY_STATUS.get(status, Action.RETRY if server_error else Action.AMBIGUOUS_RETRY)
        reason = f"Apple answered {status} with a reason this program does not know."
    return Outcome(
        action,
        code=code[:100],
        reason=reason,
        retry_after_s=TOKEN_UPDATES_PAUSE_S if action is Action.RETRY_AFTER else None,
        dead_since=_time(answer.get("timestamp")) if action is Action.DISABLE_TARGET else None,
        outage=not 400 <= status < 500,  # noqa: PLR2004 - HTTP
        throttled=status == 429 and action is Action.RETRY,  # noqa: PLR2004 - HTTP
    )


def _json(body: bytes) -> Mapping[str, object]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _time(milliseconds: object) -> dt.datetime | None:
    if not isinstance(milliseconds, int | float):
        return None
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
