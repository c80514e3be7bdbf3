"""What answers about messages look like: where they stand, what became of whom, and who would get one."""

from __future__ import annotations

from collections.abc import Mapping

from messaging.channel import Lane, OnUnknown, Role
from messaging.http import answer_fields as f
from messaging.http.answer_fields import Schema
from messaging.receipt import Event
from messaging.sms_segments import Encoding
from messaging.status import DeliveryStatus, MessageState

MESSAGES: Mapping[str, Schema] = {
    "message": f.model(
        "A message and what became of it.",
        {
            **f.stamped("message"),
            "providerType": f.channel("Its channel."),
            "topics": f.array("Ids of the topics it goes to."),
            "users": f.array("Ids of the users it goes to."),
            "targets": f.array("Ids of the targets it goes to."),
            "scheduledAt": f.or_null(f.time("When it is to be sent; null for at once.")),
            "deliveredAt": f.or_null(f.time("When it was finished.")),
            "deliveryErrors": f.or_null(f.array("Up to 100 sentences on what could not be delivered.")),
            "deliveredTotal": f.number("Recipients that a provider accepted it for."),
            "data": f.mapping("Its content; the fields are those it was created with."),
            "status": f.text(
                "Where it stands, in the words the SDKs know.",
                enum=["draft", "processing", "scheduled", "sent", "failed"],
            ),
            "state": f.word("Where it stands exactly.", MessageState),
            "failure": f.or_null(f.text("Why none of it could be sent, in words.")),
            "total": f.number("Recipients found so far."),
            "totals": f.mapping("How many recipients are in each state.", f.number("How many.")),
            "doubtful": f.number("Requests that left and were never answered."),
            "expanded": f.flag("Whether all recipients have been found."),
            "estimate": f.or_null(f.number("How many recipients there will be, before all are found.")),
            "waitingFor": f.or_null(f.text("What it waits for, in words.")),
            "lane": f.word("Which queues it takes.", Lane),
            "onUnknown": f.word("What to do where nobody knows whether a request was taken.", OnUnknown),
            "expiresAt": f.time("When the rest of it is given up."),
            "startedAt": f.or_null(f.time("When its recipients began to be looked up.")),
            "finishedAt": f.or_null(f.time("When nothing of it was left to be sent.")),
            "retried": f.number("Recipients it is sent to again; only in the answer of `retry-failed`."),
            "unserved": f.number(
                "Recipients that stay failed: their account is gone or disabled, and no enabled one may take over;"
                " only in the answer of `retry-failed`."
            ),
        },
        optional=("retried", "unserved"),
    ),
    "messageList": f.listing("messages", "message"),
    "delivery": f.model(
        "What became of a message for one recipient.",
        {
            **f.stamped("delivery"),
            "targetId": f.or_null(f.text("Id of the target; null when it has been deleted.")),
            "identifier": f.or_null(f.text("The token, address or number.")),
            "providerId": f.or_null(f.text("Id of the provider it went through.")),
            "status": f.word("Where it stands.", DeliveryStatus),
            "role": f.word("Why it is a recipient.", Role),
            "attempts": f.number("How often it was tried."),
            "doubts": f.number("Attempts whose outcome is unknown."),
            "providerMessageId": f.or_null(f.text("The provider's own id for it.")),
            "errorCode": f.or_null(f.text("The code of what went wrong.")),
            "error": f.or_null(f.text("What went wrong, in words.")),
            "acceptedAt": f.or_null(f.time("When the provider accepted it.")),
            "dueAt": f.or_null(f.time("When it is tried again.")),
            "pastAttempts": f.array(
                "Attempts that another one followed, in the order of time.", f.reference("pastAttempt")
            ),
            "events": f.array("What its provider told, in order.", f.reference("deliveryEvent")),
        },
    ),
    "pastAttempt": f.model(
        "What came of an attempt to deliver that another one followed.",
        {
            "attempt": f.number("1 on the first try."),
            "times": f.number("How often the provider said so; over 1 for answers that cost no attempt, such as 429."),
            "providerId": f.or_null(f.text("Id of the provider it went through; null when it has been deleted.")),
            "errorCode": f.or_null(f.text("The code of what went wrong.")),
            "error": f.or_null(f.text("What went wrong, in words.")),
            "firstAt": f.time("When the provider said so first."),
            "at": f.time("When it said so last."),
        },
    ),
    "deliveryEvent": f.model(
        "What a provider told about a delivery.",
        {
            "event": f.word("What happened.", Event),
            "at": f.time("When, by the provider's clock."),
            "code": f.or_null(f.text("The provider's code for it.")),
            "reason": f.or_null(f.text("The same in words.")),
        },
    ),
    "messageEvents": f.model(
        "What happened to the recipients of a message, as far as their providers tell.",
        {
            "total": f.number("All of them together."),
            "events": f.mapping("How many recipients by what happened.", f.number("How many.")),
        },
    ),
    "deliveryList": f.listing("deliveries", "delivery"),
    "smsPreview": f.model(
        "What a text message would take on the air.",
        {
            "encoding": f.word("The alphabet it is sent in: one character outside GSM-7 moves all of it.", Encoding),
            "parts": f.number("Parts it is sent and billed as.", minimum=1),
            "characters": f.number("Its characters."),
            "units": f.number("Its septets (GSM-7) or UTF-16 units (UCS-2): some characters take two."),
            "left": f.number("How many of them still fit into the last part."),
            "forcing": f.array("The characters that GSM-7 does not have; without them it were GSM-7."),
        },
    ),
    "resolved": f.model(
        "Who a message to an audience would reach now.",
        {
            "total": f.number("Targets of all channels."),
            "channels": f.array("By channel.", f.reference("resolvedChannel")),
        },
    ),
    "resolvedChannel": f.model(
        "Who it would reach on one channel.",
        {
            "providerType": f.channel("The channel."),
            "total": f.number("Targets it would go to."),
            "expired": f.number("Targets left out because they are dead."),
            "suppressed": f.number("Targets left out because they want nothing more."),
            "unserved": f.number("Targets no provider serves."),
            "providers": f.array("By provider.", f.reference("resolvedProvider")),
        },
    ),
    "resolvedProvider": f.model(
        "How many of them one provider would be asked to reach.",
        {"providerId": f.text("Id of the provider."), "total": f.number("Targets.")},
    ),
}
