"""Events of Amazon SES as JSON objects, by the words of `messaging.receipt.Event`.

Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

_OLDER = frozenset({"Bounce", "Complaint", "Delivery"})


def event(
    word: str,
    *,
    address: str,
    message_id: str,
    content: Mapping[str, Any],
    tags: Mapping[str, str],
    configuration_set: str | None,
    now: dt.datetime,
) -> dict[str, Any] | None:
    """The event of that word about a mail to `address`.

    Without a configuration set it is a feedback notification, without tags, or None: there are three of them.
    """
    at = f"{now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    name, about, detail = _details(address, at)[word]
    mail: dict[str, Any] = {
        "timestamp": at,
        "source": content["from"],
        "sendingAccountId": "000000000000",
        "messageId": message_id,
        "destination": [address],
    }
    if configuration_set is None:
        return {"notificationType": name, about: detail, "mail": mail} if name in _OLDER else None
    mail |= {
        "headersTruncated": False,
        "headers": [{"name": header, "value": value} for header, value in content["headers"]],
        "commonHeaders": {"subject": content["subject"], "messageId": message_id},
        "tags": {"ses:configuration-set": [configuration_set], "ses:source-ip": ["127.0.0.1"]}
        | {tag: [value] for tag, value in tags.items()},
    }
    return {"eventType": name, "mail": mail, about: detail}


def _details(address: str, at: str) -> Mapping[str, tuple[str, str, dict[str, Any]]]:
    """By word: SES's name of the event, of the object about it, and the object."""
    feedback = {"timestamp": at, "feedbackId": f"sandbox-{uuid.uuid4()}", "reportingMTA": "dsn; sandbox.localhost"}
    seen = {"timestamp": at, "ipAddress": "127.0.0.1", "userAgent": "sandbox"}

    def failed(status: str, text: str) -> list[dict[str, str]]:
        diagnosis = f"smtp; {text} <{address}>"
        return [{"emailAddress": address, "action": "failed", "status": status, "diagnosticCode": diagnosis}]

    def subscription(*, left: bool) -> dict[str, Any]:
        new, old = {"unsubscribeAll": left}, {"unsubscribeAll": not left}
        preferences = {"newTopicPreferences": new, "oldTopicPreferences": old}
        return {"timestamp": at, "contactList": "news", "source": "UnsubscribeHeader", **preferences}

    hard, soft = failed("5.1.1", "550 5.1.1 user unknown"), failed("4.2.2", "452 4.2.2 mailbox full")
    delayed = failed("4.4.1", "421 4.4.1 unable to connect")
    delivery = {"processingTimeMillis": 7, "recipients": [address], "smtpResponse": "250 2.6.0 Message received"}
    return {
        "accepted": ("Send", "send", {}),
        "delivered": ("Delivery", "delivery", {"timestamp": at, **delivery}),
        "deferred": (
            "DeliveryDelay",
            "deliveryDelay",
            {"timestamp": at, "delayType": "TransientCommunicationFailure", "delayedRecipients": delayed},
        ),
        "bounced_hard": (
            "Bounce",
            "bounce",
            feedback | {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": hard},
        ),
        "bounced_soft": (
            "Bounce",
            "bounce",
            feedback | {"bounceType": "Transient", "bounceSubType": "MailboxFull", "bouncedRecipients": soft},
        ),
        "complained": (
            "Complaint",
            "complaint",
            feedback | {"complaintFeedbackType": "abuse", "complainedRecipients": [{"emailAddress": address}]},
        ),
        "rejected": ("Reject", "reject", {"reason": "Bad content"}),
        "opened": ("Open", "open", seen),
        "clicked": ("Click", "click", seen | {"link": "https://example.org/"}),
        "unsubscribed": ("Subscription", "subscription", subscription(left=True)),
        "resubscribed": ("Subscription", "subscription", subscription(left=False)),
    }
