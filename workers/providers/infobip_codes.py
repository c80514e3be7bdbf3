"""Infobip's statuses and errors: what each means for a message, in an answer and in a delivery report.

Source: https://www.infobip.com/docs/essentials/api-essentials/response-status-and-error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from messaging.outcome import Action, Outcome

DUPLICATE = "23"
"""The message id was used before: the first message stands."""
FLOODING_S = 3600.0
"""A number gets 20 texts an hour, and 6 that are alike."""

STATUSES: Mapping[str, tuple[Action, str]] = {
    "2": (Action.DELIVERED, "delivered to the operator, who tells no more"),
    "3": (Action.ACCEPTED, "sent to the operator"),
    "4": (Action.NONE, "refused by the operator"),
    "5": (Action.DELIVERED, "delivered"),
    "6": (Action.STOP_PROVIDER, "no route to that network: ask Infobip for it"),
    "7": (Action.ACCEPTED, "on its way to the operator"),
    "8": (Action.DISABLE_TARGET, "the number has no known prefix"),
    "9": (Action.NONE, "could not be delivered"),
    "10": (Action.SUPPRESS_TARGET, "the recipient has opted out (do not disturb)"),
    "11": (Action.STOP_PROVIDER, "the sender is blocked for the account: correct from"),
    "12": (Action.QUOTA, "the account's credit does not suffice: top it up"),
    "13": (Action.STOP_PROVIDER, "the sender is not allowed: correct from"),
    "14": (Action.SUPPRESS_TARGET, "the number is on the account's block list"),
    "15": (Action.NONE, "expired before it was delivered"),
    "17": (Action.QUOTA, "the prepaid package has run out: renew it"),
    "18": (Action.STOP_PROVIDER, "a test account sends to its registered numbers only"),
    "19": (Action.STOP_PROVIDER, "no route for the account: ask Infobip for it"),
    # Of one number alone: RETRY_AFTER would hold up the whole account for that hour.
    "20": (Action.RETRY, "too many texts to the same number within an hour"),
    "21": (Action.RETRY, "system error at Infobip"),
    DUPLICATE: (Action.ACCEPTED, "accepted before under the same id"),
    "24": (Action.REJECT_MESSAGE, "the message's header is not valid"),
    "25": (Action.REJECT_MESSAGE, "the message is too long"),
    "26": (Action.ACCEPTED, "accepted"),
    "29": (Action.NONE, "expired at the operator"),
    "51": (Action.REJECT_MESSAGE, "a recipient is missing"),
    "52": (Action.DISABLE_TARGET, "not a valid number"),
    "87": (Action.REJECT_MESSAGE, "held back by Infobip's protection against fraud"),
    "100": (Action.RETRY, "refused by Infobip's platform"),
}
"""By `status.id` of a message."""

ERRORS: Mapping[str, tuple[Action, str]] = {
    "1": (Action.DISABLE_TARGET, "the subscriber is not known"),
    "9": (Action.DISABLE_TARGET, "the subscriber is not allowed on the network"),
    "568": (Action.DISABLE_TARGET, "the number can't receive text messages"),
    "573": (Action.SUPPRESS_TARGET, "blocked by the recipient"),
    "603": (Action.SUPPRESS_TARGET, "the recipient has opted out (STOP)"),
    "629": (Action.DISABLE_TARGET, "the number can't receive text messages"),
    "2050": (Action.SUPPRESS_TARGET, "the number is on a block list"),
    "3041": (Action.DISABLE_TARGET, "the number is no longer in use"),
}
"""By `error.id` of a report that calls the error permanent; other permanent ones refuse the message."""

LIMITS: Mapping[str, tuple[Action, str]] = {
    "541": (Action.RETRY_AFTER, "the account's limit is reached"),
    "542": (Action.QUOTA, "the account's quota is used up"),
    "4099": (Action.QUOTA, "the account's monthly limit is reached"),
    "4202": (Action.QUOTA, "the campaign's daily limit in the US is reached"),
}
"""By `error.id`, permanent or not."""

BY_HTTP: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "refused"),
    401: (Action.STOP_PROVIDER, "the API key is refused: set it anew, and the account's own baseUrl"),
    403: (Action.STOP_PROVIDER, "the API key may not send text messages: allow it"),
    404: (Action.STOP_PROVIDER, "no such resource: check baseUrl"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status of an answer that speaks for the whole request."""

PENDING, UNDELIVERABLE, DELIVERED, EXPIRED, REJECTED = "1", "2", "3", "4", "5"
"""`status.groupId`"""
_BY_GROUP: Mapping[str, Action] = {
    PENDING: Action.ACCEPTED,
    DELIVERED: Action.DELIVERED,
    REJECTED: Action.REJECT_MESSAGE,
}
"""For statuses that are not in the table."""
_NUMBER = re.compile(r"[0-9]{1,6}")
_SYSTEM_ERROR = "21"
_FLOODING = "20"

_ONE_ROUTE = frozenset({"6", "19"})
"""About the network of one number: the account works otherwise."""


def classify_status(status: Mapping[str, object], message_id: str) -> Outcome:
    """What the status of one message in an answer says; `message_id` is ours, and Infobip's from then on.

    A message that is accepted under an id used before has that as its code.
    """
    number, group = _number(status.get("id")), _number(status.get("groupId"))
    action, meaning = STATUSES.get(number, (None, ""))
    if action in {Action.ACCEPTED, Action.DELIVERED} or (action is None and group in {PENDING, DELIVERED}):
        code = DUPLICATE if number == DUPLICATE else ""
        return Outcome(Action.ACCEPTED, code, provider_message_id=message_id)
    if action is Action.NONE or (action is None and group in {UNDELIVERABLE, EXPIRED}):
        return Outcome(Action.RETRY, number, meaning or "could not be delivered")
    if action is None and group == REJECTED:
        return Outcome(Action.REJECT_MESSAGE, number, "rejected for a reason that is not known")
    if action is None:
        return Outcome(Action.AMBIGUOUS_RETRY, number, "a status that can't be read", outage=True)
    delay_s = FLOODING_S if number == _FLOODING else None
    return Outcome(
        action,
        number,
        meaning,
        retry_after_s=delay_s,
        one_route=number in _ONE_ROUTE,
        outage=number == _SYSTEM_ERROR,
    )


def classify_report(status: Mapping[str, object], error: Mapping[str, object]) -> Outcome:
    """What status and error of a delivery report say: a rejection by its status, other failures by their error."""
    number, group = _number(status.get("id")), _number(status.get("groupId"))
    failure, permanent = _number(error.get("id")) or "0", error.get("permanent") is True
    action, meaning = STATUSES.get(number, (_BY_GROUP.get(group, Action.NONE), ""))
    if action is Action.DELIVERED:
        return Outcome(action)
    code = number if failure == "0" else f"{number} {failure}".strip()
    if action is Action.ACCEPTED:
        return Outcome(action, "" if failure == "0" else code, meaning)
    if failure in LIMITS:
        action, meaning = LIMITS[failure]
    elif group != REJECTED and failure != "0":
        action, meaning = _failure(failure, meaning, permanent=permanent, expired=group == EXPIRED)
    return Outcome(action, code, meaning)


def _failure(error: str, meaning: str, *, permanent: bool, expired: bool) -> tuple[Action, str]:
    """What an error says of a message that was not rejected as such; `meaning` is that of its status."""
    if permanent:
        return ERRORS.get(error, (Action.REJECT_MESSAGE, f"{meaning or 'could not be delivered'}, for good"))
    return Action.NONE if expired else Action.RETRY, meaning or "could not be delivered this time"


def is_status(status: Mapping[str, object]) -> bool:
    """Whether it says anything."""
    return bool(_number(status.get("id")) or _number(status.get("groupId")))


def is_rejected(status: Mapping[str, object]) -> bool:
    """Whether a message was not taken."""
    return _number(status.get("groupId")) == REJECTED


def _number(value: object) -> str:
    """A number as text; empty for what is none."""
    text = str(value) if isinstance(value, int | str) else ""
    return text if _NUMBER.fullmatch(text) else ""
