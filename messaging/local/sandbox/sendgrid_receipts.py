"""SendGrid's event webhook: events of many messages a request, signed with the private key it was registered with."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from messaging.local.sandbox.webhooks import Post, Webhook, WebhookRefusedError, events_for

_EVENTS: Mapping[str, Mapping[str, object]] = {
    "delivered": {"event": "delivered", "response": "250 2.0.0 OK"},
    "deferred": {"event": "deferred", "response": "451 4.3.0 Try again later", "attempt": "1"},
    "bounced_hard": {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
    },
    "bounced_soft": {
        "event": "bounce",
        "type": "blocked",
        "status": "4.2.2",
        "reason": "452 4.2.2 The mailbox is full",
        "bounce_classification": "Mailbox Unavailable",
    },
    "rejected": {"event": "dropped", "reason": "Spam Content (if Spam Checker app is enabled)"},
    "complained": {"event": "spamreport"},
    "unsubscribed": {"event": "unsubscribe"},
    "opened": {"event": "open", "useragent": "sandbox", "ip": "192.0.2.1"},
    "clicked": {"event": "click", "url": "https://example.org/", "useragent": "sandbox", "ip": "192.0.2.1"},
}
"""What SendGrid says, by event."""


@dataclass(frozen=True, slots=True)
class Told:
    """A copy that was accepted, as far as its events repeat it."""

    email: str
    message_id: str
    """X-Message-Id of the answer."""
    smtp_id: str
    custom_args: Mapping[str, Any]


def posts(webhook: Webhook, copies: Sequence[Told], *, now_s: int) -> Sequence[Post]:
    """What SendGrid tells of these copies: their first events in one request, the next ones in another."""
    rounds: list[list[dict[str, Any]]] = []
    for number, copy in enumerate(copies):
        for place, event in enumerate(events_for(copy.email)):
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(_event(copy, event, number, now_s + place))
    bodies = [json.dumps(events, separators=(",", ":")).encode() for events in rounds]
    return [signed(webhook, body + b"\r\n", now_s=now_s) for body in bodies]  # the line end is signed, too


def signed(webhook: Webhook, body: bytes, *, now_s: int) -> Post:
    """One request with that body; raises `WebhookRefusedError` where there is no key to sign with."""
    try:
        key = load_pem_private_key(webhook.key.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WebhookRefusedError("SendGrid signs with a P-256 key: register the webhook with its PEM as `key`")
    signature = key.sign(str(now_s).encode() + body, ec.ECDSA(hashes.SHA256()))
    return Post(
        url=webhook.url,
        body=body,
        headers={
            "content-type": "application/json;charset=utf-8",
            "user-agent": "SendGrid Event API",
            "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
            "x-twilio-email-event-webhook-timestamp": str(now_s),
        },
    )


def _event(copy: Told, event: str, number: int, at_s: int) -> dict[str, Any]:
    return {
        "email": copy.email,
        "timestamp": at_s,
        "smtp-id": copy.smtp_id,
        **_EVENTS[event],
        "sg_event_id": secrets.token_urlsafe(24),
        "sg_message_id": f"{copy.message_id}.recvd-sandbox-1-{number}.0",
        **copy.custom_args,
    }
