"""Signatures of the Standard Webhooks scheme, both ways.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

from messaging.errors import SettingsError
from messaging.receipt import ForgedReceiptError

TOLERANCE_S = 300
"""How far a signature's time may be from ours, either way."""
_PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key in a secret: base64 behind ``whsec_``, else the text itself; raises `SettingsError`."""
    secret = secret.strip()
    if not secret.startswith(_PREFIX):
        key = secret.encode("utf-8", "surrogatepass")
    else:
        encoded = secret.removeprefix(_PREFIX).rstrip("=")
        try:
            key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except ValueError:
            raise SettingsError("The webhook's secret begins with whsec_, and what follows is no base64.") from None
    if not key:
        raise SettingsError("The webhook's secret is missing: set the one the receiver has, whsec_… or a text.")
    return key


def signed_headers(key: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers that sign `body`."""
    timestamp = str(int(at.timestamp()))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": _signature(key, message_id, timestamp, body),
    }


def verify(key: bytes, headers: Mapping[str, str], body: bytes, received_at: datetime) -> None:
    """Return for a body signed with `key` within five minutes of `received_at`; raises `ForgedReceiptError`.

    The header may hold several signatures, while a secret is changed.
    """
    message_id, timestamp, signatures = (
        headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if not (message_id and signatures and timestamp.isascii() and timestamp.isdecimal()):
        raise ForgedReceiptError("webhook-id, webhook-timestamp or webhook-signature is missing or malformed")
    # Held against each other as text: base64 has several spellings of the same bytes.
    expected = _signature(key, message_id, timestamp, body).encode("ascii")
    given = (one.encode("utf-8", "surrogatepass") for one in signatures.split())
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise ForgedReceiptError("no signature in webhook-signature is that of this body under the account's secret")
    if abs(int(timestamp[:15]) - received_at.timestamp()) > TOLERANCE_S:
        raise ForgedReceiptError("it was signed more than five minutes ago, or the clocks differ")


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body, sha256)
    return f"v1,{b64encode(digest).decode('ascii')}"
