"""Who and what the demonstration needs: five providers against the sandbox, and people with targets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from messaging.channel import Channel
from messaging.client.messaging import Messaging
from messaging.local import sandbox_accounts
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.store.bulk_rows import BulkRow
from messaging.store.bulk_subscribe import BulkProgress, BulkResult

NEWS = "news"
"""Everybody's push targets."""
BETA = "beta"
"""Some of them again: an address in two topics gets one message."""
LETTER = "letter"
"""Everybody's email targets."""
TEXTS = "texts"
"""Everybody's SMS targets."""

ONE_IN_BETA = 20
_BETA_REMAINDER = 5
ONE_IN_DEAD = 10
_DEAD_REMAINDER = 1

DEAD_APNS = "dead0410"
DEAD_FCM = "magic-unregistered-"
"""Magic tokens: the sandbox answers that the app is gone from the device."""

ADA = "ada"
_KINDS = ("apns", "fcm", "sendgrid", "smtp", "twilio")


@dataclass(frozen=True, kw_only=True)
class People:
    """What was made."""

    users: int
    dead: int
    in_beta: int
    results: Mapping[str, BulkResult]


def add_providers(messaging: Messaging, sandbox: Mapping[str, str], endpoint: str) -> list[str]:
    """Kinds of the five providers, configured against the sandbox, which reports to `endpoint` (ending in /v1)."""
    addresses = SandboxAddresses.read(sandbox)
    for priority, kind in enumerate(_KINDS):
        fields = sandbox_accounts.fields(kind, addresses)
        made = messaging.providers.create(kind, provider_id=kind, priority=priority, **fields)
        changes = sandbox_accounts.report_to(kind, fields, addresses, f"{endpoint}/receipts/{made.receipt_key}")
        if changes:
            messaging.providers.update(kind, **changes)
    return list(_KINDS)


def add_people(messaging: Messaging, users: int, moved: Callable[[str, int], None]) -> People:
    """Users with push (half APNs, half FCM), email and SMS targets, in topics; `moved` gets (topic, rows)."""
    for topic in (NEWS, BETA, LETTER, TEXTS):
        messaging.topics.create(topic, name=topic.capitalize())
    # living ones: a dead token is skipped from its first verdict on, so how many a later message meets is chance
    beta = [number for number in range(users) if number // 2 % ONE_IN_BETA == _BETA_REMAINDER]
    lists: tuple[tuple[str, Channel, Iterator[BulkRow]], ...] = (
        (NEWS, Channel.PUSH, (push_row(number) for number in range(users))),
        (BETA, Channel.PUSH, (push_row(number) for number in beta)),
        (LETTER, Channel.EMAIL, (email_row(number) for number in range(users))),
        (TEXTS, Channel.SMS, (sms_row(number) for number in range(users))),
    )
    results: dict[str, BulkResult] = {}
    for topic, channel, rows in lists:
        at_topic = partial(_moved, moved, topic)
        results[topic] = messaging.topics.subscribe_many(topic, rows, channel=channel, progress=at_topic)
    messaging.users.create(ADA, name="Ada", phone="+4930901820")
    # this address is the SMTP server's: a target uses the provider it names
    messaging.targets.create("ada@example.com", channel=Channel.EMAIL, user_id=ADA, provider_id="smtp")
    return People(
        users=users,
        dead=sum(is_dead(number) for number in range(users)),
        in_beta=len(beta),
        results=results,
    )


def _moved(moved: Callable[[str, int], None], topic: str, so_far: BulkProgress) -> None:
    moved(topic, so_far.rows)


def is_dead(number: int) -> bool:
    """Whether the push token of that person is dead; APNs and FCM have half of them each."""
    return number // 2 % ONE_IN_DEAD == _DEAD_REMAINDER


def push_row(number: int) -> BulkRow:
    """A push target: even numbers are Apple's, odd ones Android's."""
    digest = hashlib.sha256(f"device {number}".encode()).hexdigest()
    if number % 2 == 0:
        token = DEAD_APNS + digest[8:] if is_dead(number) else "00" + digest[2:]
        return BulkRow(line=number + 1, address=token, user_id=f"person-{number}", provider_id="apns")
    token = DEAD_FCM + digest[:40] if is_dead(number) else f"device-{digest}"
    return BulkRow(line=number + 1, address=token, user_id=f"person-{number}", provider_id="fcm")


def email_row(number: int) -> BulkRow:
    """An email target."""
    return BulkRow(line=number + 1, address=f"person.{number}@example.com", user_id=f"person-{number}")


def sms_row(number: int) -> BulkRow:
    """An SMS target."""
    return BulkRow(line=number + 1, address=f"+4930{number:07d}", user_id=f"person-{number}")
