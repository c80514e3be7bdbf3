"""Amazon SNS, as far as the subscriber of a topic can see it: messages signed by a certificate made at run time.

A subscriber gets a SubscriptionConfirmation first, and everything else once it has fetched the SubscribeURL.
Source: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

import base64
import datetime as dt
import json
import secrets
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from messaging.local.sandbox.webhooks import Post, Webhooks

_ASK_AGAIN_S = 2.0
_MOST_WAITING = 100_000
_SIGNED: Mapping[str, Sequence[str]] = {
    "Notification": ("Message", "MessageId", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def topic_arn(region: str) -> str:
    """The topic every account of a region reports to."""
    return f"arn:aws:sns:{region}:000000000000:sandbox-ses"


@dataclass
class _Subscriber:
    """One address, and what waits for its confirmation."""

    confirmed: bool = False
    asked_at: float = float("-inf")
    waiting: deque[Post] = field(default_factory=lambda: deque(maxlen=_MOST_WAITING))


class Sns:
    """Publishes to whoever confirmed."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._subscribers: dict[str, _Subscriber] = {}
        self._tokens: dict[str, str] = {}

    def publish(self, url: str, region: str, messages: Sequence[str]) -> None:
        """Tell the subscriber at `url` these messages of the region's topic, in order."""
        subscriber = self._subscribers.setdefault(url, _Subscriber())
        posts = [self.signed(url, region, "Notification", text) for text in messages]
        if subscriber.confirmed:
            self._webhooks.post(posts)
            return
        subscriber.waiting.extend(posts)
        now = time.monotonic()
        if now - subscriber.asked_at >= _ASK_AGAIN_S:
            subscriber.asked_at = now
            token = secrets.token_hex(32)
            self._tokens[token] = url
            self._webhooks.post([self.signed(url, region, "SubscriptionConfirmation", _INVITATION, token=token)])

    def confirm(self, query: str) -> bool:
        """A GET of a SubscribeURL, by its query: whether its token is one of ours. What waited is told now."""
        asked = parse_qs(query)
        url = self._tokens.get(asked.get("Token", [""])[0])
        if url is None or asked.get("Action") != ["ConfirmSubscription"]:
            return False
        subscriber = self._subscribers[url]
        subscriber.confirmed = True
        self._webhooks.post(list(subscriber.waiting))
        subscriber.waiting.clear()
        return True

    @property
    def certificate(self) -> bytes:
        """The signing certificate, PEM."""
        return self._identity[1].public_bytes(Encoding.PEM)

    @property
    def certificate_name(self) -> str:
        """The last part of its address: another one for another certificate, as at AWS."""
        return f"SimpleNotificationService-{self._identity[1].fingerprint(SHA256()).hex()[:32]}.pem"

    @cached_property
    def _identity(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=365))
            .sign(key, SHA256())
        )
        return key, certificate

    def signed(self, url: str, region: str, kind: str, text: str, *, token: str | None = None) -> Post:
        """A message of that kind, ready to be told; `token` is for a SubscriptionConfirmation."""
        host = f"https://sns.{region}.amazonaws.com/"
        arn = topic_arn(region)
        fields = {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": arn,
            "Message": text,
            "Timestamp": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "SignatureVersion": "2",
            "SigningCertURL": f"{host}{self.certificate_name}",
        }
        if token is not None:
            subscribe = f"{host}?Action=ConfirmSubscription&TopicArn={arn}&Token={token}"
            fields |= {"Token": token, "SubscribeURL": subscribe}
        else:
            fields["UnsubscribeURL"] = f"{host}?Action=Unsubscribe&SubscriptionArn={arn}:0"
        signed = "".join(f"{name}\n{fields[name]}\n" for name in _SIGNED[kind])
        key = self._identity[0]
        fields["Signature"] = base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), SHA256())).decode()
        headers = {
            "content-type": "text/plain; charset=UTF-8",
            "user-agent": "Amazon Simple Notification Service Agent",
            "x-amz-sns-message-type": kind,
            "x-amz-sns-message-id": fields["MessageId"],
            "x-amz-sns-topic-arn": arn,
        }
        return Post(url=url, body=json.dumps(fields).encode(), headers=headers)


_INVITATION = (
    "You have chosen to subscribe to the topic. To confirm the subscription, visit the SubscribeURL included in this "
    "message."
)
