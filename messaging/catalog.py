"""The kinds of provider there are: channel, credentials, options and limits. Data; one entry a kind.

Names of credentials and options are those of the Appwrite API (camelCase), so that the HTTP API
and this catalogue need no translation. The adapter of a kind is the module `workers.providers.<name>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Format(StrEnum):
    """Texts that are more than text."""

    EMAIL = "email"
    """An email address."""
    SENDER = "sender"
    """Where an SMS comes from: a phone number, a short code, a messaging service or a short name."""
    HOSTS = "hosts"
    """Mail servers as `name`, `name:port` or `tls://name:port`, with semicolons between them."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One credential or option of a provider kind."""

    name: str
    type: type = str
    required: bool = False
    """Without it the provider cannot be enabled."""
    first: bool = False
    """Over HTTP, without it the provider cannot even be created (as the SDKs have it)."""
    default: object = None
    secret: bool = False
    format: Format | None = None
    """What a text must be, where not every text will do."""
    choices: tuple[str, ...] = ()
    """The words it may be; none: any."""
    longest: int | None = None
    least: int | None = None
    most: int | None = None
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
    has_adapter: bool = True
    """False: an account of this kind can be kept, and not used, for there is no adapter to send with."""

    @property
    def unavailable(self) -> str | None:
        """Why no account of this kind can be enabled, or None where one can."""
        if self.has_adapter:
            return None
        return (
            f"{self.title} can't send yet: this version has no adapter for it. The provider is kept as it is;"
            f" use another kind for {self.channel} until then."
        )

    def field(self, name: str) -> Field | None:
        """The credential or option of that name, or None."""
        return next((f for f in (*self.credentials, *self.options) if f.name == name), None)


_SENDER = (
    Field(name="fromEmail", required=True, format=Format.EMAIL, help="address in From"),
    Field(name="fromName", default="", longest=128, help="name in From"),
    Field(name="replyToEmail", format=Format.EMAIL, help="address in Reply-To"),
    Field(name="replyToName", default="", longest=128, help="name in Reply-To"),
)
_FROM = Field(name="from", required=True, format=Format.SENDER, longest=256, help="sending number")

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
                Field(
                    name="host",
                    required=True,
                    first=True,
                    format=Format.HOSTS,
                    longest=1024,
                    help="host name, or several as mx1.example.org:25;tls://mx2.example.org:587",
                ),
                Field(name="port", type=int, default=587, least=1, most=65_535),
                Field(name="username", default=""),
                Field(name="password", default="", secret=True),
            ),
            options=(
                *_SENDER,
                Field(
                    name="encryption",
                    default="none",
                    choices=("none", "ssl", "tls"),
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
                Field(
                    name="from",
                    required=True,
                    format=Format.SENDER,
                    longest=256,
                    help="sending number, or a messaging service (MG…)",
                ),
                Field(name="statusCallback", help="address Twilio reports to"),
            ),
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://api.twilio.com",
            documentation="https://www.twilio.com/docs/messaging/api/message-resource",
        ),
        # Kinds without an adapter: the SDKs can set them up, so an account is kept until one can send with it.
        ProviderKind(
            name="appwrite",
            channel=Channel.PUSH,
            title="Appwrite Push",
            credentials=(),
            options=(
                Field(name="qos", type=int, least=0, most=1, help="MQTT quality of service"),
                Field(name="expiry", type=int, least=0, most=604_800, help="seconds a message waits for its device"),
            ),
            task_size=1000,
            request_size=1,
            concurrency=100,
            documentation="https://appwrite.io/docs/products/messaging",
            has_adapter=False,
        ),
        ProviderKind(
            name="mailgun",
            channel=Channel.EMAIL,
            title="Mailgun",
            credentials=(
                Field(name="apiKey", required=True, secret=True),
                Field(name="domain", required=True, help="sending domain"),
                Field(name="isEuRegion", type=bool, required=True, help="the domain is in Mailgun's EU region"),
            ),
            options=_SENDER,
            task_size=1000,
            request_size=1000,
            concurrency=2,
            payload_limit_bytes=25_000_000,
            endpoint="https://api.mailgun.net",
            documentation="https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages",
            has_adapter=False,
        ),
        ProviderKind(
            name="resend",
            channel=Channel.EMAIL,
            title="Resend",
            credentials=(Field(name="apiKey", required=True, secret=True, help="re_…"),),
            options=_SENDER,
            task_size=500,
            request_size=100,
            concurrency=2,
            payload_limit_bytes=40_000_000,
            endpoint="https://api.resend.com",
            documentation="https://resend.com/docs/api-reference/emails/send-email",
            has_adapter=False,
        ),
        ProviderKind(
            name="ses",
            channel=Channel.EMAIL,
            title="Amazon SES",
            credentials=(
                Field(name="accessKey", required=True, help="access key id"),
                Field(name="secretKey", required=True, secret=True),
                Field(name="region", required=True, longest=128, help="e.g. eu-central-1"),
            ),
            options=_SENDER,
            task_size=500,
            request_size=50,
            concurrency=10,
            payload_limit_bytes=10_000_000,
            documentation="https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html",
            has_adapter=False,
        ),
        ProviderKind(
            name="msg91",
            channel=Channel.SMS,
            title="MSG91",
            credentials=(
                Field(name="templateId", required=True, help="id of the approved template"),
                Field(name="senderId", required=True, help="registered sender"),
                Field(name="authKey", required=True, secret=True),
            ),
            task_size=200,
            request_size=100,
            concurrency=10,
            endpoint="https://control.msg91.com",
            documentation="https://docs.msg91.com/",
            has_adapter=False,
        ),
        ProviderKind(
            name="telesign",
            channel=Channel.SMS,
            title="Telesign",
            credentials=(
                Field(name="customerId", required=True),
                Field(name="apiKey", required=True, secret=True),
            ),
            options=(_FROM,),
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest-api.telesign.com",
            documentation="https://developer.telesign.com/enterprise/reference/sendsms",
            has_adapter=False,
        ),
        ProviderKind(
            name="textmagic",
            channel=Channel.SMS,
            title="Textmagic",
            credentials=(
                Field(name="username", required=True),
                Field(name="apiKey", required=True, secret=True),
            ),
            options=(_FROM,),
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest.textmagic.com",
            documentation="https://docs.textmagic.com/",
            has_adapter=False,
        ),
        ProviderKind(
            name="vonage",
            channel=Channel.SMS,
            title="Vonage",
            credentials=(
                Field(name="apiKey", required=True, help="names the account; the secret is apiSecret"),
                Field(name="apiSecret", required=True, secret=True),
            ),
            options=(_FROM,),
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest.nexmo.com",
            documentation="https://developer.vonage.com/en/api/sms",
            has_adapter=False,
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
