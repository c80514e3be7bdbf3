"""Subscriptions of the sandbox's push service: a browser for every token, its keys made from the token alone.

So nothing has to be kept: whoever knows the token can hand out the subscription, and read what is sent to it.
Sources: https://www.w3.org/TR/push-api/, RFC 8291, RFC 8188.
"""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORIGIN = "https://push.sandbox.example"
"""Where the subscriptions say their push service is. The sandbox is reached by replacing the kind's endpoint, so that
an address stays the same whatever port the sandbox has."""

_HEADER_BYTES = 21
_POINT_BYTES = 65
_GROUP_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256: a private key is below it."""


class UndecipherableError(ValueError):
    """A body that the browser of a subscription couldn't read; the text says why."""


def subscription(token: str) -> str:
    """The address of the browser called `token`: its PushSubscription as compact JSON."""
    keys = {"p256dh": encoded(point(browser_key(token).public_key())), "auth": encoded(auth_secret(token))}
    return json.dumps({"endpoint": f"{ORIGIN}/{token}", "keys": keys}, separators=(",", ":"))


def browser_key(token: str) -> ec.EllipticCurvePrivateKey:
    """The private key that browser keeps to itself."""
    number = int.from_bytes(sha256(f"sandbox browser {token}".encode()).digest(), "big")
    return ec.derive_private_key(number % (_GROUP_ORDER - 1) + 1, ec.SECP256R1())


def auth_secret(token: str) -> bytes:
    """The 16 bytes it shares with the application."""
    return sha256(f"sandbox authentication {token}".encode()).digest()[:16]


def decipher(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The plaintext of a body of one aes128gcm record; raises `UndecipherableError`."""
    salt, size, id_length = body[:16], int.from_bytes(body[16:20], "big"), body[20] if len(body) > 20 else 0  # noqa: PLR2004  RFC 8188 §2.1
    sender, record = body[_HEADER_BYTES : _HEADER_BYTES + id_length], body[_HEADER_BYTES + id_length :]
    if id_length != _POINT_BYTES or not record or len(record) > size:
        raise UndecipherableError("not one record of aes128gcm under a P-256 key")
    try:
        shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = _derived(shared, auth, b"WebPush: info\0" + point(key.public_key()) + sender, 32)
        content_key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        padded = AESGCM(content_key).decrypt(_derived(secret, salt, b"Content-Encoding: nonce\0", 12), record, None)
    except (ValueError, InvalidTag) as error:
        raise UndecipherableError("not encrypted for this subscription") from error
    plaintext = padded.rstrip(b"\0")
    if not plaintext.endswith(b"\x02"):
        raise UndecipherableError("the last record doesn't end with its delimiter")
    return plaintext[:-1]


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as its 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)
