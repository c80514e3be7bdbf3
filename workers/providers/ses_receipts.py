"""What became of mail sent through Amazon SES, as it tells an SNS topic that reports to the account's address.

Both forms are read: events published by a configuration set (`eventType`), which carry our tag, and feedback
notifications of an identity (`notificationType`), which lead to the delivery by the message id.

The topic should be named in the option topicArn. Without it any message that AWS signed is believed, from whomever's
topic: then the secret path of the address is all that tells ours from another's.
Sources: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html,
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.outcome import Action
from messaging.receipt import Event, Inbound, Receipt, UnreadableReceiptError
from workers.providers.base import Account, Fetch
from workers.providers.receipt_parts import iso_time
from workers.providers.ses_sns import SUBSCRIPTION, UNSUBSCRIPTION, confirm, verified
from workers.providers.smtp_replies import scrub

_TAG_NAME = "delivery"


@dataclass(frozen=True)
class Meaning:
    """What an event says."""

    event: Event
    action: Action
    words: str = ""


EVENTS: Mapping[str, Meaning] = {
    "Send": Meaning(Event.ACCEPTED, Action.NONE),
    "Delivery": Meaning(Event.DELIVERED, Action.DELIVERED),
    "Complaint": Meaning(Event.COMPLAINED, Action.SUPPRESS_TARGET, "reported as spam"),
    "Reject": Meaning(Event.REJECTED, Action.REJECT_MESSAGE, "refused: SES found a virus"),
    "Rendering Failure": Meaning(Event.REJECTED, Action.REJECT_MESSAGE, "the template could not be filled in"),
    "DeliveryDelay": Meaning(Event.DEFERRED, Action.NONE, "delayed: SES goes on trying"),
    "Open": Meaning(Event.OPENED, Action.NONE),
    "Click": Meaning(Event.CLICKED, Action.NONE),
}
"""By eventType or notificationType; a bounce is told by its own type."""

BOUNCES: Mapping[str, Meaning] = {
    "Permanent": Meaning(Event.BOUNCED_HARD, Action.DISABLE_TARGET, "bounced for good"),
    "Transient": Meaning(Event.BOUNCED_SOFT, Action.NONE, "bounced; the address may be good"),
    "Undetermined": Meaning(Event.BOUNCED_SOFT, Action.NONE, "bounced, SES can't tell why"),
}
"""By bounceType."""

_CONTENT_REFUSED = Meaning(Event.REJECTED, Action.NONE, "the recipient's server refused the content")
_SUBTYPES: Mapping[str, Meaning] = {
    "MessageTooLarge": _CONTENT_REFUSED,
    "ContentRejected": _CONTENT_REFUSED,
    "AttachmentRejected": _CONTENT_REFUSED,
    "UnsubscribedRecipient": Meaning(Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "has unsubscribed at SES"),
    "Suppressed": Meaning(Event.BOUNCED_HARD, Action.DISABLE_TARGET, "not sent: on the suppression list of SES"),
    "OnAccountSuppressionList": Meaning(
        Event.BOUNCED_HARD, Action.DISABLE_TARGET, "not sent: on the account's suppression list"
    ),
}
"""By bounceSubType, where it says more than the type."""

_UNSUBSCRIBED = Meaning(Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "unsubscribed from all of the contact list")
_RESUBSCRIBED = Meaning(Event.RESUBSCRIBED, Action.UNSUPPRESS_TARGET, "subscribed to the contact list again")

_DETAIL: Mapping[str, tuple[str, str]] = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "Delivery": ("delivery", "recipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Reject": ("reject", ""),
    "Rendering Failure": ("failure", ""),
    "Open": ("open", ""),
    "Click": ("click", ""),
    "Subscription": ("subscription", ""),
}
"""The object an event is about, and the field of it that lists whom."""


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
    """The receipts in one SNS message; none for a subscription, which is confirmed through `fetch`.

    Raises `ForgedReceiptError` and `UnreadableReceiptError`, and `OSError` when SNS can't be reached.
    """
    message = await verified(inbound, str(account.options.get("topicArn") or ""), fetch)
    if message["Type"] == SUBSCRIPTION:
        await confirm(message, fetch)
    if message["Type"] in {SUBSCRIPTION, UNSUBSCRIPTION}:
        return []
    return receipts_of(message.get("Message", ""), message.get("MessageId", ""))


def receipts_of(text: str, message_id: str) -> Sequence[Receipt]:
    """The receipts in the event `text`, one for each recipient it names; `message_id` is SNS's.

    We send to one recipient a request, so another one's is of somebody else's message.
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        if text.startswith("Successfully validated SNS topic"):
            return []
        raise UnreadableReceiptError("the SNS message holds no event of SES") from None
    if not isinstance(event, dict):
        raise UnreadableReceiptError("the SNS message holds no event of SES")
    name = str(event.get("eventType") or event.get("notificationType") or "")
    detail_name, list_name = _DETAIL.get(name, ("", ""))
    detail, mail = _dict(event.get(detail_name)), _dict(event.get("mail"))
    meaning = _meaning(name, detail)
    if meaning is None:
        return []
    named = detail.get(list_name)
    recipients = named if isinstance(named, list) and named else [{}]
    return [
        Receipt(
            event=meaning.event,
            key=f"{message_id}:{place}" if place else message_id,
            tag=_tag(mail),
            provider_message_id=_text(mail.get("messageId")),
            at=iso_time(detail.get("timestamp"), None) or iso_time(mail.get("timestamp"), None),
            action=meaning.action,
            code=_code(name, detail),
            reason=_reason(meaning.words, detail, _dict(recipient)),
        )
        for place, recipient in enumerate(recipients)
    ]


def _meaning(name: str, detail: Mapping[str, Any]) -> Meaning | None:
    """None for what is no news of a delivery: an event we don't know, or a reader who says it is no spam."""
    if name == "Bounce":
        bounce = BOUNCES.get(str(detail.get("bounceType")), BOUNCES["Undetermined"])
        return _SUBTYPES.get(str(detail.get("bounceSubType")), bounce)
    if name == "Subscription":
        left, had_left = (_has_left(detail.get(f"{which}TopicPreferences")) for which in ("new", "old"))
        return _UNSUBSCRIBED if left else _RESUBSCRIBED if had_left else None
    if name == "Complaint" and detail.get("complaintFeedbackType") == "not-spam":
        return None
    return EVENTS.get(name)


def _has_left(preferences: object) -> bool:
    return _dict(preferences).get("unsubscribeAll") is True


def _code(name: str, detail: Mapping[str, Any]) -> str:
    if name == "Bounce":
        return f"{detail.get('bounceType', '')}/{detail.get('bounceSubType', '')}"[:100]
    if name == "Complaint":
        return str(detail.get("complaintFeedbackType") or detail.get("complaintSubType") or name)[:100]
    if name == "DeliveryDelay":
        return str(detail.get("delayType") or name)[:100]
    return name if name in {"Reject", "Rendering Failure"} else ""


def _reason(words: str, detail: Mapping[str, Any], recipient: Mapping[str, Any]) -> str:
    said = recipient.get("diagnosticCode") or detail.get("errorMessage") or ""
    return f"{words}: {scrub(str(said))}" if words and said else words


def _tag(mail: Mapping[str, Any]) -> str | None:
    values = _dict(mail.get("tags")).get(_TAG_NAME)
    return _text(values[0]) if isinstance(values, list) and values else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
