"""The kinds of provider there are: channel, credentials, options and limits. Data; one entry a kind.

Names of credentials and options are those of the Appwrite API (camelCase), so that the HTTP API
and this catalogue need no translation. The adapter of a kind is the module `workers.providers.<name>`, or
what a package declares under the entry point `messaging.providers`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
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
    from_file: bool = False
    """Its value is the text of a file that the provider hands out, of several lines."""
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
    """Calls in hand per worker process: in flight, or with `connections` also waiting for one. A row is in hand from
    its claim until its outcome is recorded, which takes longer than the call."""
    connections: int = 1
    """Connections per worker process. Several are for protocols whose connections take one call at a time (HTTP/1.1,
    SMTP): they are the calls in flight, what servers and accounts limit."""
    rate_per_s: float | None = None
    """Messages a second an account may send over all workers; None: the provider tells by 429."""
    payload_limit_bytes: int | None = None
    address_format: str = "text"
    """What a target's address is for this kind: `text`, `hex` (two digits a byte, in lower case), or `subscription`
    (what a browser calls PushSubscription, as JSON)."""
    endpoint: str = ""
    """Base address of the real provider; `MESSAGING_ENDPOINTS__<KIND>` replaces it."""
    documentation: str = ""
    has_adapter: bool = True
    """False: an account of this kind can be kept, and not used, for there is no adapter to send with."""
    adapter: str = ""
    """The module of `workers.providers` that sends for it, where that is not called like the kind."""
    app: tuple[str, ...] = ()
    """The credentials and options (a dot leads into an object) that name the app an address belongs to: an account may
    stand in for another with the same values only. None: any account of the channel can reach any address."""
    has_receipts: bool = False
    """The provider tells later what became of a message."""
    finds_by_id: bool = False
    """Its receipts name its own message id only, so that is kept with each delivery."""
    adapts_rate: bool = False
    """The provider tells no rate: find it by trying, from `rate_per_s` on."""

    def first_rate(self, most: float | None) -> float | None:
        """Messages a second that an account begins with whose operator allows `most` (None: any); None: any."""
        if self.adapts_rate and self.rate_per_s is not None and most is not None:
            return min(self.rate_per_s, most)
        return most or self.rate_per_s

    @property
    def module(self) -> str:
        """The module of `workers.providers` that sends for it."""
        return self.adapter or self.name

    @property
    def calls_in_flight(self) -> int:
        """Calls a worker process can have in flight: as many as are in hand, or as there are connections for."""
        return self.concurrency if self.connections == 1 else min(self.concurrency, self.connections)

    @property
    def unavailable(self) -> str | None:
        """Why no account of this kind can be enabled, or None where one can."""
        if self.has_adapter:
            return None
        return (
            f"{self.title} can't send yet: this version has no adapter for it. The provider is kept as it is;"
            f" use another kind for {self.channel} until then."
        )

    def is_option(self, name: str) -> bool:
        """Whether that is one of its options, and no credential."""
        return any(field.name == name for field in self.options)

    def field(self, name: str) -> Field | None:
        """The credential or option of that name, or None."""
        return next((f for f in (*self.credentials, *self.options) if f.name == name), None)


BROUGHT_GROUP = "messaging.kinds"
"""The entry points by which a package brings kinds of its own: each names a `ProviderKind`."""


def with_brought(ours: Mapping[str, ProviderKind]) -> dict[str, ProviderKind]:
    """Ours, and the kinds of installed packages. One that can't be used is left out with a warning."""
    found = dict(ours)
    for entry in entry_points(group=BROUGHT_GROUP):
        try:
            kind = entry.load()
        except Exception as error:  # noqa: BLE001  somebody else's package may fail in any way
            warnings.warn(f"Provider kind '{entry.name}' can't be loaded: {error}", stacklevel=1)
            continue
        if not isinstance(kind, ProviderKind) or kind.name != entry.name:
            warnings.warn(f"'{entry.value}' is no ProviderKind named '{entry.name}'; it is left out.", stacklevel=1)
        elif kind.name in found:
            warnings.warn(f"Provider kind '{kind.name}' exists already; '{entry.value}' is left out.", stacklevel=1)
        else:
            found[kind.name] = kind
    return found


_SENDER = (
    Field(name="fromEmail", required=True, format=Format.EMAIL, help="address in From"),
    Field(name="fromName", default="", longest=128, help="name in From"),
    Field(name="replyToEmail", format=Format.EMAIL, help="address in Reply-To"),
    Field(name="replyToName", default="", longest=128, help="name in Reply-To"),
)
_WEBHOOK_URL = Field(name="url", required=True, longest=2048, help="https address that gets each batch")
_WEBHOOK_SECRET = Field(name="secret", required=True, secret=True, longest=512, help="whsec_… or text: signs both ways")
_FROM = Field(name="from", required=True, format=Format.SENDER, longest=256, help="sending number")

OURS: Mapping[str, ProviderKind] = {
    kind.name: kind
    for kind in (
        ProviderKind(
            name="apns",
            channel=Channel.PUSH,
            title="Apple Push Notification service",
            credentials=(
                Field(name="authKey", required=True, secret=True, from_file=True, help="text of the .p8 file"),
                Field(name="authKeyId", required=True, help="10-character key id"),
                Field(name="teamId", required=True, help="10-character team id"),
                Field(name="bundleId", required=True, help="app id, sent as apns-topic"),
            ),
            options=(Field(name="sandbox", type=bool, default=False, help="use Apple's development host"),),
            app=("bundleId", "sandbox"),
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
                    from_file=True,
                    help="service account file",
                ),
            ),
            app=("serviceAccountJSON.project_id",),
            task_size=1000,
            request_size=1,
            concurrency=500,
            rate_per_s=10_000,
            payload_limit_bytes=4096,
            endpoint="https://fcm.googleapis.com",
            documentation="https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send",
        ),
        ProviderKind(
            name="webpush",
            channel=Channel.PUSH,
            title="Web Push",
            credentials=(
                Field(
                    name="vapidPublicKey",
                    required=True,
                    help="65-byte P-256 key, base64url: what browsers subscribe with",
                ),
                Field(
                    name="vapidPrivateKey",
                    required=True,
                    secret=True,
                    from_file=True,
                    help="its 32-byte private key, base64url, or PEM",
                ),
                Field(
                    name="subject", required=True, longest=512, help="mailto: or https: of whom push services may ask"
                ),
            ),
            app=("vapidPublicKey",),
            task_size=500,
            request_size=1,
            concurrency=100,
            payload_limit_bytes=3993,
            address_format="subscription",
            documentation="https://www.rfc-editor.org/rfc/rfc8030",
        ),
        ProviderKind(
            name="sendgrid",
            channel=Channel.EMAIL,
            title="SendGrid",
            credentials=(
                Field(name="apiKey", required=True, secret=True, help="SG.… key with mail.send"),
                Field(name="webhookKey", help="verification key of the signed event webhook"),
            ),
            options=_SENDER,
            has_receipts=True,
            task_size=5000,
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
                Field(
                    name="dkimKey",
                    secret=True,
                    from_file=True,
                    help="PEM of an RSA or Ed25519 key: mail is signed with it (DKIM)",
                ),
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
                Field(name="dkimSelector", longest=63, help="selector under which dkimKey's public half is in the DNS"),
                Field(name="dkimDomain", longest=253, help="signing domain; that of fromEmail if not given"),
            ),
            task_size=600,
            request_size=1,
            concurrency=96,
            connections=24,  # twice makes 48: Postfix takes 50 of one client (smtpd_client_connection_count_limit)
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
                Field(
                    name="webhookKey",
                    secret=True,
                    help="secret of the shared key that signs webhooks, where authToken does not",
                ),
            ),
            options=(
                Field(
                    name="from",
                    required=True,
                    format=Format.SENDER,
                    longest=256,
                    help="sending number, or a messaging service (MG…)",
                ),
                Field(
                    name="statusCallback", help="address Twilio reports to; the account's receipt address if not given"
                ),
            ),
            has_receipts=True,
            task_size=1000,
            request_size=1,
            concurrency=200,
            connections=100,
            endpoint="https://api.twilio.com",
            documentation="https://www.twilio.com/docs/messaging/api/message-resource",
        ),
        # Without an adapter: the SDKs can set it up, so an account is kept until one can send with it.
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
                Field(name="webhookKey", secret=True, help="HTTP webhook signing key"),
            ),
            options=_SENDER,
            has_receipts=True,
            task_size=5000,
            request_size=1000,
            concurrency=2,
            payload_limit_bytes=25_000_000,
            endpoint="https://api.mailgun.net",
            documentation="https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages",
        ),
        ProviderKind(
            name="resend",
            channel=Channel.EMAIL,
            title="Resend",
            credentials=(
                Field(name="apiKey", required=True, secret=True, help="re_…"),
                Field(name="webhookKey", secret=True, help="whsec_… of the webhook"),
            ),
            options=_SENDER,
            has_receipts=True,
            rate_per_s=5 * 100,
            task_size=500,
            request_size=100,
            concurrency=2,
            payload_limit_bytes=40_000_000,
            endpoint="https://api.resend.com",
            documentation="https://resend.com/docs/api-reference/emails/send-email",
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
            options=(
                *_SENDER,
                Field(
                    name="configurationSet", longest=64, help="its event destination is an SNS topic that reports here"
                ),
                Field(name="topicArn", longest=256, help="the SNS topic receipts must come from"),
            ),
            has_receipts=True,
            rate_per_s=14,
            adapts_rate=True,
            task_size=500,
            request_size=50,
            concurrency=5,
            connections=20,
            payload_limit_bytes=40_000_000,
            documentation="https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html",
        ),
        ProviderKind(
            name="msg91",
            channel=Channel.SMS,
            title="MSG91",
            credentials=(
                Field(
                    name="templateId",
                    required=True,
                    help="id of the approved template; the text is its variable message, and VAR1",
                ),
                Field(name="senderId", required=True, help="registered sender"),
                Field(name="authKey", required=True, secret=True),
            ),
            has_receipts=True,
            task_size=200,
            request_size=100,
            concurrency=10,
            endpoint="https://control.msg91.com",
            documentation="https://docs.msg91.com/sms/send-sms",
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
            has_receipts=True,
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest-api.telesign.com",
            documentation="https://developer.telesign.com/enterprise/reference/sendsms",
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
            has_receipts=True,
            finds_by_id=True,
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest.textmagic.com",
            documentation="https://docs.textmagic.com/",
        ),
        ProviderKind(
            name="vonage",
            channel=Channel.SMS,
            title="Vonage",
            credentials=(
                Field(name="apiKey", required=True, help="names the account; the secret is apiSecret"),
                Field(name="apiSecret", required=True, secret=True),
                Field(name="webhookKey", secret=True, help="signature secret of the account"),
            ),
            options=(
                _FROM,
                Field(
                    name="signatureMethod",
                    default="md5hash",
                    choices=("md5hash", "md5", "sha1", "sha256", "sha512"),
                    help="how the account signs its webhooks",
                ),
            ),
            has_receipts=True,
            rate_per_s=30,
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://rest.nexmo.com",
            documentation="https://developer.vonage.com/en/api/sms",
        ),
        ProviderKind(
            name="infobip",
            channel=Channel.SMS,
            title="Infobip",
            credentials=(
                Field(
                    name="baseUrl",
                    required=True,
                    longest=253,
                    help="the account's own host, e.g. xyz123.api.infobip.com",
                ),
                Field(name="apiKey", required=True, secret=True),
            ),
            options=(_FROM,),
            has_receipts=True,
            task_size=200,
            request_size=100,
            concurrency=4,
            documentation="https://www.infobip.com/docs/api/channels/sms/outbound-sms/send-sms-messages",
        ),
        ProviderKind(
            name="plivo",
            channel=Channel.SMS,
            title="Plivo",
            credentials=(
                Field(name="authId", required=True),
                Field(name="authToken", required=True, secret=True),
            ),
            options=(_FROM,),
            has_receipts=True,
            task_size=200,
            request_size=1,
            concurrency=50,
            endpoint="https://api.plivo.com",
            documentation="https://www.plivo.com/docs/messaging/api/message/send-a-message/",
        ),
        *(
            ProviderKind(
                name=f"webhook_{channel}",
                channel=channel,
                title=f"Signed webhook ({channel})",
                credentials=(_WEBHOOK_URL, _WEBHOOK_SECRET),
                options=_SENDER if channel is Channel.EMAIL else (),
                adapter="webhook",
                app=("url",) if channel is Channel.PUSH else (),
                has_receipts=True,
                task_size=500,
                request_size=100,
                concurrency=10,
                documentation="https://www.standardwebhooks.com/",
            )
            for channel in Channel
        ),
    )
}


KINDS: Mapping[str, ProviderKind] = with_brought(OURS)
"""All of them: ours, and those that installed packages bring."""


def kind_of(name: str) -> ProviderKind:
    """The provider kind of that name; raises `InvalidArgumentError` naming those there are."""
    try:
        return KINDS[name]
    except KeyError:
        raise InvalidArgumentError(
            "kind", f"no provider kind '{name}'; there are: {', '.join(sorted(KINDS))}"
        ) from None
