"""Provider accounts on the sandbox, and audiences whose addresses no other test uses."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from messaging.client.messaging import Messaging
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import (
    apns_credentials,
    fcm_credentials,
    sendgrid_credentials,
    smtp_credentials,
    twilio_credentials,
)
from messaging.store.bulk_rows import BulkRow

SENDER = "news@shop.example"


def configure(client: Messaging, sandbox: Mapping[str, str]) -> None:
    """One account of each kind, its id the kind's name."""
    addresses = SandboxAddresses.read(sandbox)
    control = addresses.control
    fields: Mapping[str, Mapping[str, Any]] = {
        "apns": apns_credentials(control),
        "fcm": fcm_credentials(control, addresses.fcm_token),
        "sendgrid": {"fromEmail": SENDER, **sendgrid_credentials()},
        "smtp": {"fromEmail": SENDER, **smtp_credentials(addresses)},
        "twilio": {"from": "+15005550006", **twilio_credentials()},
    }
    for priority, (kind, given) in enumerate(fields.items()):
        client.providers.create(kind, provider_id=kind, priority=priority, **given)


def apns_tokens(count: int) -> list[str]:
    """Device tokens: 64 hexadecimal digits, none of them a magic one."""
    ours = "a" + secrets.token_hex(8)[1:]
    return [f"{ours}{number:048x}" for number in range(count)]


def fcm_tokens(count: int) -> list[str]:
    """Registration tokens."""
    ours = secrets.token_hex(8)
    return [f"{ours}:device-{number}" for number in range(count)]


def emails(count: int) -> list[str]:
    """Mailboxes."""
    ours = secrets.token_hex(4)
    return [f"reader-{ours}-{number}@example.org" for number in range(count)]


def push_topic(client: Messaging, *, apns: Iterable[str] = (), fcm: Iterable[str] = ()) -> str:
    """A topic of devices; its id."""
    topic = client.topics.create(name="devices").id
    rows = [(token, kind) for kind, tokens in (("apns", apns), ("fcm", fcm)) for token in tokens]
    result = client.topics.subscribe_many(
        topic,
        (BulkRow(line=line, address=token, provider_id=kind) for line, (token, kind) in enumerate(rows, 1)),
        channel="push",
    )
    assert result.created == len(rows), result.rejected
    return topic


def email_topic(client: Messaging, addresses: Iterable[str]) -> str:
    """A topic of readers; its id."""
    topic = client.topics.create(name="readers").id
    rows = [BulkRow(line=line, address=address) for line, address in enumerate(addresses, 1)]
    assert client.topics.subscribe_many(topic, rows, channel="email").created == len(rows)
    return topic
