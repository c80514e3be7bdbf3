"""Messages of Amazon SNS, which bring the events of SES: their signature, and the confirmation of a subscription.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from messaging.receipt import ForgedReceiptError, Inbound, UnreadableReceiptError
from workers.providers.base import Fetch
from workers.providers.receipt_parts import json_of

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

_SIGNED: Mapping[str, Sequence[str]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    UNSUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: Mapping[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}
# The region is spelt out: sns.s3.amazonaws.com and sns.s3-us-west-2.amazonaws.com are somebody's bucket named sns.
_HOST = r"https://sns\.[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?/"
_CERTIFICATE_URL = re.compile(_HOST + r"[A-Za-z0-9_.-]+\.pem\Z")
_SUBSCRIBE_URL = re.compile(_HOST + r"\?[!-~]+\Z")
_CACHED_AT_MOST = 16

_certificates: dict[str, x509.Certificate] = {}
"""By address: SNS changes them once a year or so."""


async def verified(inbound: Inbound, topic_arn: str, fetch: Fetch) -> Mapping[str, str]:
    """The text fields of the SNS message in `inbound`, signed by AWS and, where `topic_arn` is set, of that topic.

    Raises `UnreadableReceiptError` and `ForgedReceiptError`, and `OSError` when the certificate can't be had.
    """
    message = _fields(inbound.body)
    if inbound.headers.get("x-amz-sns-message-type") != message.get("Type"):
        raise ForgedReceiptError("no message of SNS: its header and its body name different types")
    names, algorithm = _SIGNED.get(message.get("Type", "")), _HASHES.get(message.get("SignatureVersion", ""))
    if names is None or algorithm is None:
        raise ForgedReceiptError("no signed message of SNS: switch raw message delivery off for the subscription")
    url = message.get("SigningCertURL", "")
    if not _CERTIFICATE_URL.match(url):
        raise ForgedReceiptError("the signing certificate is not at an address of SNS")
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    key = _key(await _certificate(url, fetch), inbound.received_at)
    try:
        key.verify(_signature(message.get("Signature", "")), text.encode("utf-8"), PKCS1v15(), algorithm())
    except (InvalidSignature, ValueError):
        raise ForgedReceiptError("the signature of the SNS message is wrong") from None
    if topic_arn and message.get("TopicArn") != topic_arn:
        raise ForgedReceiptError("the SNS message is of another topic than the account's topicArn")
    return message


async def confirm(message: Mapping[str, str], fetch: Fetch) -> None:
    """Answer a SubscriptionConfirmation; raises `ForgedReceiptError` for an address that is not of SNS, `OSError`."""
    url = message.get("SubscribeURL", "")
    if not _SUBSCRIBE_URL.match(url):
        raise ForgedReceiptError("the subscription is to be confirmed at an address that is not of SNS")
    await fetch(url)


def _fields(body: bytes) -> Mapping[str, str]:
    document = json_of(body, "no JSON: SNS sends nothing else")
    if not isinstance(document, dict):
        raise UnreadableReceiptError("no JSON object: SNS sends nothing else")
    return {name: value for name, value in document.items() if isinstance(value, str)}


async def _certificate(url: str, fetch: Fetch) -> x509.Certificate:
    if url not in _certificates:
        try:
            certificate = x509.load_pem_x509_certificate(await fetch(url))
        except ValueError:
            raise UnreadableReceiptError("the signing certificate of SNS can't be read") from None
        if len(_certificates) >= _CACHED_AT_MOST:
            _certificates.clear()
        _certificates[url] = certificate
    return _certificates[url]


def _signature(text: str) -> bytes:
    """The bytes in base64, written as only one text can write them; raises `ValueError`."""
    signature = b64decode(text, validate=True)
    if b64encode(signature).decode("ascii") != text:
        raise ValueError("not the canonical form")
    return signature


def _key(certificate: x509.Certificate, at: datetime) -> RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ForgedReceiptError("the signing certificate holds no RSA key")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise ForgedReceiptError("the signing certificate is out of date")
    return key
