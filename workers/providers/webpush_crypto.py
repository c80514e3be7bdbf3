"""What a push service needs of us: a body only the browser can read, and a token that says who sends.

Sources: RFC 8291 (encryption for Web Push), RFC 8188 (aes128gcm), RFC 8292 (VAPID).
"""

from __future__ import annotations

import os
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from messaging.clock import clock
from messaging.errors import SettingsError

RECORD_BYTES = 4096
"""The body is one record: https://www.rfc-editor.org/rfc/rfc8291#section-4"""
POINT_BYTES = 65
AUTH_BYTES = 16
_SALT_BYTES = 16
_SCALAR_BYTES = 32
_TAG_BYTES = 16
_LAST_RECORD = b"\x02"
PLAINTEXT_LIMIT_BYTES = RECORD_BYTES - (_SALT_BYTES + 4 + 1 + POINT_BYTES) - _TAG_BYTES - len(_LAST_RECORD)
"""3993: what is left of a record after header, tag and delimiter."""

TOKEN_LIFETIME_S = 12 * 3600
"""Half of what RFC 8292 §2 allows, so that no clock makes it too much."""
_RENEWED_BEFORE_S = 6 * 3600
_ORIGINS_LIMIT = 256
"""There are a handful of push services; whoever makes up more only makes us sign more."""


class Vapid:
    """The key pair browsers subscribed with, and the tokens signed with it: one per push service, for hours."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, subject: str, *, now_s: Callable[[], float] = clock.now_s
    ) -> None:
        self._key = key
        self._subject = subject
        self._now_s = now_s
        self._headers: dict[str, tuple[float, str]] = {}
        self.public = _unpadded(point(key.public_key()))
        """The public key as browsers take it: `applicationServerKey`."""

    def authorization(self, origin: str) -> str:
        """The Authorization header for the push service at `origin` (scheme, host and port)."""
        now_s = self._now_s()
        expires_s, header = self._headers.get(origin, (0.0, ""))
        if expires_s - now_s < _RENEWED_BEFORE_S:
            expires_s = int(now_s) + TOKEN_LIFETIME_S
            claims = {"aud": origin, "exp": expires_s, "sub": self._subject}
            header = f"vapid t={jwt.encode(claims, self._key, algorithm='ES256')}, k={self.public}"
            if len(self._headers) >= _ORIGINS_LIMIT:
                self._headers.clear()
            self._headers[origin] = expires_s, header
        return header


def vapid_key(public: str, private: str) -> ec.EllipticCurvePrivateKey:
    """The private key of the pair; raises `SettingsError` for what is no P-256 key, and for keys of two pairs."""
    key = _private_key(private)
    try:
        given = from_base64url(public)
    except ValueError:
        given = b""
    if given != point(key.public_key()):
        raise SettingsError(
            "vapidPublicKey is not the public half of vapidPrivateKey: set both keys of the pair browsers know."
        )
    return key


def encrypt(
    plaintext: bytes,
    reader: ec.EllipticCurvePublicKey,
    auth: bytes,
    *,
    own: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body for one subscription: `reader` and `auth` are its two keys; `own` and `salt` are made anew for each."""
    own = ec.generate_private_key(ec.SECP256R1()) if own is None else own
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    ours = point(own.public_key())
    shared = own.exchange(ec.ECDH(), reader)
    secret = _derived(shared, salt=auth, info=b"WebPush: info\0" + point(reader) + ours, length=32)
    content_key = _derived(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _derived(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    record = AESGCM(content_key).encrypt(nonce, plaintext + _LAST_RECORD, None)
    return salt + RECORD_BYTES.to_bytes(4, "big") + bytes((POINT_BYTES,)) + ours + record


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as its 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def from_base64url(text: str) -> bytes:
    """The bytes of base64url, padded or not; raises `ValueError`."""
    standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    return b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _private_key(text: str) -> ec.EllipticCurvePrivateKey:
    key: object = None
    try:
        if "-----BEGIN" in text:
            key = load_pem_private_key(text.encode(), None)
        else:
            scalar = from_base64url(text)
            long_enough = len(scalar) == _SCALAR_BYTES
            key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1()) if long_enough else None
    except (ValueError, TypeError):
        pass
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError("vapidPrivateKey is no P-256 key: set its 32 bytes in base64url, or its PEM text.")
    return key


def _derived(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def _unpadded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
