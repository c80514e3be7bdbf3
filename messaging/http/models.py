"""What answers look like: one JSON schema for each `model` that an operation names.

Fields are those of the Appwrite contract (response format 2.5) and ours beside them; the SDKs keep fields they don't
know. What is always there is required, also where it may be null.
"""

from __future__ import annotations

from collections.abc import Mapping

from messaging.http import answer_fields as f
from messaging.http.answer_fields import Schema
from messaging.http.models_of_messages import MESSAGES
from messaging.http.models_of_providers import PROVIDERS
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
    **PROVIDERS,
    **MESSAGES,
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
