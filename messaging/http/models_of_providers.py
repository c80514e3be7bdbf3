"""What answers about providers look like, and about what was put aside on the way to them."""

from __future__ import annotations

from collections.abc import Mapping

from messaging.http import answer_fields as f
from messaging.http.answer_fields import Schema
from messaging.store.check_steps import CheckOutcome, StepName, StepState
from messaging.store.quarantine import What

PROVIDERS: Mapping[str, Schema] = {
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
}
