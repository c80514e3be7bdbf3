"""The kinds of provider there are: channel, credentials, options and limits. Data; one entry a kind.

Names of credentials and options are those of the Appwrite API (camelCase), so that the HTTP API
and this catalogue need no translation. The adapter of a kind is the module `workers.providers.<name>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Field:
    """One credential or option of a provider kind."""

    name: str
    type: type = str
    required: bool = False
    """Without it the provider cannot be enabled."""
    default: object = None
    secret: bool = False
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderKind:
    """What the rest of the program needs to know about a kind of provider."""

    name: str
    channel: Channel
    title: str
    credentials: tuple[Field, ...]
    options: tuple[Field, ...] = ()
    task_size: int
    """Deliveries a batch holds, that is, one Celery task leases."""
    request_size: int
    """Recipients the provider takes in one call."""
    concurrency: int
    """Calls in flight per worker process."""
    connections: int = 1
    """Connections per worker process."""
    rate_per_s: float | None = None
    """Messages a second an account may send over all workers; None: the provider tells by 429."""
    payload_limit_bytes: int | None = None
    address_format: str = "text"
    """What a target's address is for this kind: `text`, or `hex` (two digits a byte, in lower case)."""
    endpoint: str = ""
    """Base address of the real provider; `MESSAGING_ENDPOINTS__<KIND>` replaces it."""
    documentation: str = ""

    def field(self, name: str) -> Field | None:
        """The credential or option of that name, or None."""
        return next((f for f in (*self.credentials, *self.options) if f.name == name), None)


_SENDER = (
    Field(name="fromEmail", required=True, help="address in From"),
    Field(name="fromName", default="", help="name in From"),
    Field(name="replyToEmail", help="address in Reply-To"),
    Field(name="replyToName", default="", help="name in Reply-To"),
)

KINDS: Mapping[str, ProviderKind] = {
    kind.name: kind
    for kind in (
        ProviderKind(
            name="apns",
            channel=Channel.PUSH,
            title="Apple Push Notification service",
            credentials=(
                Field(name="authKey", required=True, secret=True, help="text of the .p8 file"),
                Field(name="authKeyId", required=True, help="10-character key id"),
                Field(name="teamId", required=True, help="10-character team id"),
                Field(name="bundleId", required=True, help="app id, sent as apns-topic"),
            ),
            options=(Field(name="sandbox", type=bool, default=False, help="use Apple's development host"),),
            task_size=1000,
            request_size=1,
            concurrency=500,
            payload_limit_bytes=4096,
            address_format="hex",
            endpoint="https://api.push.apple.com",
            documentation="https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns",
        ),
        ProviderKind(
            name="fcm",
            channel=Channel.PUSH,
            title="Firebase Cloud Messaging",
            credentials=(
                Field(
                    name="serviceAccountJSON",
                    type=dict,
                    required=True,
                    secret=True,
                    help="service account file",
                ),
            ),
            task_size=1000,
            request_size=1,
            concurrency=500,
            rate_per_s=10_000,
            payload_limit_bytes=4096,
            endpoint="https://fcm.googleapis.com",
            documentation="https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send",
        ),
        ProviderKind(
            name="sendgrid",
            channel=Channel.EMAIL,
            title="SendGrid",
            credentials=(Field(name="apiKey", required=True, secret=True, help="SG.… key with mail.send"),),
            options=_SENDER,
            task_size=1000,
            request_size=1000,
            concurrency=2,
            payload_limit_bytes=30_000_000,
            endpoint="https://api.sendgrid.com",
            documentation="https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send",
        ),
        ProviderKind(
            name="smtp",
            channel=Channel.EMAIL,
            title="SMTP server",
            credentials=(
                Field(name="host", required=True, help="host name"),
                Field(name="port", type=int, default=587),
                Field(name="username", default=""),
                Field(name="password", default="", secret=True),
            ),
            options=(
                *_SENDER,
                Field(
                    name="encryption",
                    default="none",
                    help="none, ssl (implicit TLS) or tls (STARTTLS required)",
                ),
                Field(name="autoTLS", type=bool, default=True, help="use STARTTLS where the server offers it"),
                Field(name="mailer", default="", help="X-Mailer header"),
            ),
            task_size=200,
            request_size=1,
            concurrency=10,
            payload_limit_bytes=25_000_000,
            documentation="https://www.rfc-editor.org/rfc/rfc5321",
        ),
        ProviderKind(
            name="twilio",
            channel=Channel.SMS,
            title="Twilio",
            credentials=(
                Field(name="accountSid", required=True, help="AC…"),
                Field(name="authToken", required=True, secret=True),
            ),
            options=(
                Field(name="from", required=True, help="sending number, or a messaging service (MG…)"),
                Field(name="statusCallback", help="address Twilio reports to"),
            ),
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://api.twilio.com",
            documentation="https://www.twilio.com/docs/messaging/api/message-resource",
        ),
    )
}


def kind_of(name: str) -> ProviderKind:
    """The provider kind of that name; raises `InvalidArgumentError` naming those there are."""
    try:
        return KINDS[name]
    except KeyError:
        raise InvalidArgumentError(
            "kind", f"no provider kind '{name}'; there are: {', '.join(sorted(KINDS))}"
        ) from None
