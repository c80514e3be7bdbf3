"""What answers look like: one JSON schema for each `model` that an operation names.

Fields are those of the Appwrite contract (response format 2.5) and ours beside them; the SDKs keep fields they don't
know. What is always there is required, also where it may be null.
"""

from __future__ import annotations

from collections.abc import Mapping

from messaging.channel import Lane, OnUnknown, Role
from messaging.http import answer_fields as f
from messaging.http.answer_fields import Schema
from messaging.receipt import Event
from messaging.sms_segments import Encoding
from messaging.status import DeliveryStatus, MessageState
from messaging.store.check_steps import CheckOutcome, StepName, StepState
from messaging.store.quarantine import What
from messaging.store.suppressions import Scope

_SESSION_CLIENT = {
    "provider": f.text("How the user signed in, e.g. `email`, `anonymous` or `server`."),
    "providerUid": f.text("The user's id at that provider."),
    "providerAccessToken": f.text("Always empty: there are no OAuth providers."),
    "providerAccessTokenExpiry": f.text("Always empty."),
    "providerRefreshToken": f.text("Always empty."),
    "ip": f.text("Address the session was made from."),
    "osCode": f.text("Code of the operating system, from the User-Agent."),
    "osName": f.text("Its name."),
    "osVersion": f.text("Its version."),
    "clientType": f.text("Kind of client, e.g. `browser`."),
    "clientCode": f.text("Code of the client."),
    "clientName": f.text("Its name."),
    "clientVersion": f.text("Its version."),
    "clientEngine": f.text("Its engine."),
    "clientEngineVersion": f.text("Version of the engine."),
    "deviceName": f.text("Kind of device, e.g. `smartphone`."),
    "deviceBrand": f.text("Its brand."),
    "deviceModel": f.text("Its model."),
    "countryCode": f.text("Country of the address, ISO 3166-1 alpha-2."),
    "countryName": f.text("Name of that country."),
}

_ERROR = f.model(
    "An answer other than success.",
    {
        "message": f.text("What is wrong, and what to do about it."),
        "code": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
        "type": f.text("One word for the kind of error, e.g. `topic_not_found`.", pattern="^[a-z0-9_]+$"),
        "version": f.text("Version of the contract that is kept."),
    },
)

MODELS: Mapping[str, Schema] = {
    "error": _ERROR,
    "any": f.mapping("A JSON object."),
    "healthStatus": f.model(
        "Whether the system could do its work now.",
        {
            "name": f.text("What was asked."),
            "ping": f.number("How long the answer took, in milliseconds."),
            "status": f.text("`pass` or `fail`.", enum=["pass", "fail"]),
            "reason": f.text("Why it failed."),
        },
        optional=("reason",),
    ),
    "topic": f.model(
        "A named gathering of targets.",
        {
            **f.stamped("topic"),
            "name": f.text("Its name."),
            "emailTotal": f.number("Email targets that are subscribed."),
            "smsTotal": f.number("SMS targets that are subscribed."),
            "pushTotal": f.number("Push targets that are subscribed."),
            "subscribe": f.array("Roles that may subscribe themselves."),
            "description": f.text("What it is for; may be empty."),
            "qos": f.or_null(f.number("Kept for the SDKs; no provider uses it.")),
            "expiry": f.or_null(f.number("Kept for the SDKs; no provider uses it.")),
        },
    ),
    "topicList": f.listing("topics", "topic"),
    "subscriber": f.model(
        "A target's subscription to a topic.",
        {
            **f.stamped("subscription"),
            "targetId": f.text("Id of the target."),
            "target": f.reference("target"),
            "userId": f.text("Id of the user the target belongs to."),
            "userName": f.text("Name of that user."),
            "topicId": f.text("Id of the topic."),
            "providerType": f.channel("Channel of the target."),
        },
    ),
    "subscriberList": f.listing("subscribers", "subscriber"),
    "bulkSubscription": f.model(
        "What became of many subscribers at once.",
        {
            "created": f.number("How many were subscribed."),
            "existing": f.number("How many had been already, or are named again."),
            "rejected": f.array(
                "The first 10,000 that can't be used.",
                f.model(
                    "One that can't be used.",
                    {
                        "list": f.text("Where it stands.", enum=["targets", "addresses", "csv"]),
                        "line": f.number("Line of the file, or place in the list, counted from 1."),
                        "reason": f.text("Why, in words."),
                    },
                ),
            ),
            "rejectedTotal": f.number("How many can't be used."),
        },
    ),
    "suppression": f.model(
        "An address that is not written to. The address itself is not kept.",
        {
            "$id": f.text("Its id, made of the channel and a keyed hash of the address."),
            "$createdAt": f.time("Since when it reaches so far."),
            "providerType": f.channel("Channel of the address."),
            "scope": f.word("How far it reaches: `bulk` lets a password code out.", Scope),
            "reason": f.text(
                "Why: `bounced_hard`, `complained` or `unsubscribed`, perhaps with the provider's code; or what"
                " whoever added it said."
            ),
        },
    ),
    "suppressionList": f.listing("suppressions", "suppression"),
    "suppressionImport": f.model(
        "What became of a list of addresses.",
        {
            "rows": f.number("How many were read."),
            "added": f.number("How many are new on the list."),
            "raised": f.number("How many reached bulk mail only, and now everything."),
            "already": f.number("How many were on the list as far as asked, or are named again."),
            "invalid": f.array(
                "The first 100 that can't be used.",
                f.model(
                    "One that can't be used.",
                    {
                        "line": f.number("Line of the file, or place in the list, counted from 1."),
                        "reason": f.text("Why, in words."),
                    },
                ),
            ),
            "invalidTotal": f.number("How many can't be used."),
        },
    ),
    "target": f.model(
        "One address of one user: a device's token, an email address or a phone number.",
        {
            **f.stamped("target"),
            "name": f.text("Its name, e.g. that of the device; may be empty."),
            "userId": f.text("Id of the user it belongs to; empty for an address without a user."),
            "providerId": f.or_null(f.text("Id of the provider it is sent through; null for the channel's first.")),
            "providerType": f.channel("Its channel."),
            "identifier": f.text("The token, address or number."),
            "expired": f.flag("Whether the provider said that it is dead."),
        },
    ),
    "targetList": f.listing("targets", "target"),
    "provider": f.model(
        "An account at a provider.",
        {
            **f.stamped("provider"),
            "name": f.text("Its name."),
            "provider": f.text("The kind, the last word of the path it is made at."),
            "enabled": f.flag("Whether messages are sent through it."),
            "type": f.channel("The channel it serves."),
            "credentials": f.mapping("Which credentials are set; secrets are never returned."),
            "options": f.mapping("Its options, e.g. `fromEmail`."),
            "missing": f.array("Credentials and options it still needs before it can be enabled."),
            "unavailable": f.or_null(f.text("Why this kind can't be used here.")),
            "priority": f.number("Lower is tried first.", minimum=-1_000_000),
            "weight": f.number("Its share of the traffic among accounts of the same priority."),
            "limits": f.reference("providerLimits"),
            "stoppedAt": f.or_null(f.time("When it was stopped: by a refusal, an outage or an empty account.")),
            "stoppedReason": f.or_null(f.text("Why, in words.")),
            "stoppedUntil": f.or_null(f.time("When it is tried again by itself; null: not before it is changed.")),
        },
    ),
    "providerLimits": f.model(
        "How fast an account may send, over all workers and machines; null where only its kind's own limits hold.",
        {
            "perSecond": f.or_null(f.decimal("Messages a second.")),
            "perMinute": f.or_null(f.number("Messages a minute.")),
            "concurrency": f.or_null(f.number("Requests in flight at once.")),
            "warmUp": f.flag("A new email account starts slowly: 200 on its first day, twice as many on each further."),
        },
    ),
    "providerList": f.listing("providers", "provider"),
    "providerCheck": f.model(
        "A test of an account: whether its provider takes it, and what became of a test message.",
        {
            **f.stamped("check"),
            "providerId": f.text("Id of the provider."),
            "sendTo": f.or_null(f.text("Where the test message goes; null where none is sent.")),
            "messageId": f.or_null(f.text("Id of the test message, once it is accepted.")),
            "outcome": f.or_null(f.word("How it ended; null while it goes on.", CheckOutcome)),
            "steps": f.array("What is done, in order.", f.reference("providerCheckStep")),
        },
    ),
    "providerCheckStep": f.model(
        "One step of a check.",
        {
            "name": f.word("Which step.", StepName),
            "state": f.word("How it went; `skipped` is no failure.", StepState),
            "detail": f.text("The same in words."),
            "at": f.or_null(f.time("When it ended.")),
            "tookMs": f.or_null(f.number("How long it took, in milliseconds.")),
        },
    ),
    "providerCheckList": f.listing("checks", "providerCheck"),
    "providerLog": f.listing("entries", "providerLogEntry"),
    "providerLogEntry": f.model(
        "Something that happened to an account.",
        {
            "$id": f.text("Id of the entry."),
            "$createdAt": f.time("When it happened."),
            "what": f.text("What: `stopped`, `paused`, `started`, `checked` or `quarantined`."),
            "reason": f.text("Why, or how it went, in words."),
        },
    ),
    "quarantineList": f.listing("entries", "quarantineEntry"),
    "quarantineEntry": f.model(
        "Something that ended one worker after the other and was put aside.",
        {
            "$id": f.text("Id of the entry."),
            "$createdAt": f.time("When it was put aside."),
            "what": f.word("What it is.", What),
            "reason": f.text("Why, in words."),
            "deliveries": f.number("Deliveries put aside with it."),
            "messageId": f.or_null(f.text("Id of the message.")),
            "targetId": f.or_null(f.text("Id of the target, for a single delivery.")),
            "taskId": f.or_null(f.text("Id of the task, for a task that never became a message.")),
            "taskName": f.or_null(f.text("Name of that task.")),
            "replayedAt": f.or_null(f.time("When it was last tried again; it is gone once that worked.")),
        },
    ),
    "quarantineReplay": f.model(
        "What became of an entry that was tried again.",
        {"deliveries": f.number("Deliveries queued again; 0 for a fan-out or a task, which follow within a second.")},
    ),
    "providerReceipts": f.model(
        "How the receipts of an account fare, as far as they are kept.",
        {
            "applied": f.number("Requests that took effect."),
            "waiting": f.number("Those a worker has not looked at."),
            "refused": f.number("Those that were forged, unreadable, or about messages of somebody else."),
            "held": f.number("Those that wait for a key to verify them with."),
            "lastAt": f.or_null(f.time("When the last one came.")),
            "lastRefusal": f.or_null(f.text("Why the last one was put aside.")),
            "receiptsUrl": f.or_null(f.text("Where the provider is to report to. Whoever knows it can.")),
            "hint": f.or_null(f.text("What can be done about it, if anything.")),
        },
    ),
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
    "user": f.model(
        "A person or a service that messages can be sent to.",
        {
            **f.stamped("user"),
            "name": f.text("The user's name; may be empty."),
            "password": f.null("Never told."),
            "hash": f.null("Never told."),
            "hashOptions": f.null("Never told."),
            "registration": f.time("When the user was created."),
            "status": f.flag("false: blocked, can't sign in."),
            "labels": f.array("Labels; `label:NAME` is a role."),
            "passwordUpdate": f.time_or_empty("When the password was last set; empty without one."),
            "email": f.text("Email address; may be empty."),
            "phone": f.text("Phone number in E.164; may be empty."),
            "emailVerification": f.flag("Whether the address is verified."),
            "phoneVerification": f.flag("Whether the number is verified."),
            "mfa": f.flag("Always false: there is no second factor."),
            "prefs": f.mapping("The user's own settings."),
            "targets": f.array("Everything the user can be reached at.", f.reference("target")),
            "accessedAt": f.time_or_empty("When the user was last seen; empty for never."),
        },
    ),
    "userList": f.listing("users", "user"),
    "session": f.model(
        "A user's sign-in.",
        {
            **f.stamped("session"),
            "userId": f.text("Id of the user."),
            "expire": f.time("When it ends."),
            **_SESSION_CLIENT,
            "current": f.flag("Whether this request was made with it."),
            "factors": f.array("How the user proved who they are, e.g. `password`."),
            "secret": f.text("What to sign in with (`X-Appwrite-Session`); only for an API key that just made it."),
            "mfaUpdatedAt": f.text("Always empty."),
        },
    ),
    "sessionList": f.listing("sessions", "session"),
    "logList": f.model(
        "An empty page: no audit logs are kept; older SDKs still ask.",
        {"total": f.number("Always 0."), "logs": f.array("Always empty.", {"type": "object"})},
    ),
    "bucket": f.model(
        "A place for files.",
        {
            **f.stamped("bucket"),
            "$permissions": f.array("Who may do what with all of its files."),
            "fileSecurity": f.flag("Whether files have permissions of their own as well."),
            "name": f.text("Its name."),
            "description": f.text("What it is for; may be empty."),
            "enabled": f.flag("Whether users reach it; API keys always do."),
            "maximumFileSize": f.number("The largest file it takes, in bytes."),
            "allowedFileExtensions": f.array("The only file extensions it takes; none: any."),
            "compression": f.text("Always `none`.", const="none"),
            "encryption": f.flag("Always false."),
            "antivirus": f.flag("Always false."),
            "transformations": f.flag("Always false."),
            "stripMetadata": f.flag("Always false."),
            "totalSize": f.number("Bytes of its files."),
        },
    ),
    "bucketList": f.listing("buckets", "bucket"),
    "file": f.model(
        "A file of a bucket.",
        {
            **f.stamped("file"),
            "bucketId": f.text("Id of its bucket."),
            "$permissions": f.array("Who may do what with it, where its bucket has `fileSecurity`."),
            "name": f.text("Its name."),
            "folder": f.text("Always empty.", const=""),
            "key": f.text("The same as its name."),
            "signature": f.text("MD5 of its bytes, in hexadecimal; empty until all of them have come."),
            "mimeType": f.text("Its media type, by how it begins and by its name."),
            "sizeOriginal": f.number("Its bytes."),
            "sizeActual": f.number("The same."),
            "chunksTotal": f.number("Pieces it is sent in."),
            "chunksUploaded": f.number("Pieces that have come, counted without a gap from the first."),
            "encryption": f.flag("Always false."),
            "compression": f.text("Always `none`.", const="none"),
        },
    ),
    "fileList": f.listing("files", "file"),
    "jwt": f.model("A token that speaks for a user.", {"jwt": f.text("For the header `X-Appwrite-JWT`.")}),
}
"""Schema by the name that an operation's `model` has."""
