"""Secrets at rest: credentials and tokens encrypted, addresses hashed, all under one secret key."""

from __future__ import annotations

import hashlib
import hmac
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from messaging.channel import Channel
from messaging.errors import SettingsError

_NONCE_BYTES = 12
_SHORTEST_KEY = 16


class Vault:
    """Encrypts and hashes under keys derived from the secret key (HKDF-SHA256, RFC 5869)."""

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < _SHORTEST_KEY:
            raise SettingsError("MESSAGING_SECRET_KEY is too short. Set 32 random characters or more.")
        secret = secret_key.encode()
        self._cipher = AESGCM(_derive(secret, b"messaging encryption"))
        self._hash_key = _derive(secret, b"messaging address hash")
        self.token_key = _derive(secret, b"messaging user tokens")
        """Signs the tokens (JWT) that speak for a user."""
        self._counter_key = _derive(secret, b"messaging rate limits")
        self._link_key = _derive(secret, b"messaging file links")
        self._unsubscribe_key = _derive(secret, b"messaging unsubscribe links")
        self._request_key = _derive(secret, b"messaging repeated requests")

    def seal(self, value: object) -> bytes:
        """`value` (anything JSON can hold) encrypted with AES-256-GCM."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, json.dumps(value).encode(), None)

    def open(self, sealed: bytes) -> object:
        """What was sealed; raises `SettingsError` if it was sealed under another secret key."""
        try:
            clear = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except InvalidTag:
            raise SettingsError(
                "Stored secrets can't be read with this MESSAGING_SECRET_KEY; set the one they were written with."
            ) from None
        value: object = json.loads(clear)
        return value

    def address_hash(self, channel: Channel, address: str) -> bytes:
        """A keyed hash (16 bytes) by which an address is found on the suppression list after its erasure."""
        return hmac.digest(self._hash_key, f"{channel}:{address.casefold()}".encode(), hashlib.sha256)[:16]

    def counter_name(self, said: str) -> str:
        """A keyed hash (hex) of what a rate limit counts, so that the counters hold no addresses."""
        return hmac.digest(self._counter_key, said.encode(errors="replace"), hashlib.sha256).hex()

    def request_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 by which a repeated request is known; a password in it can't be guessed from this."""
        return hmac.digest(self._request_key, said, hashlib.sha256)

    def unsubscribe_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 of what an unsubscribe link names."""
        return hmac.digest(self._unsubscribe_key, said, hashlib.sha256)

    def link_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 of what a link to a file says, so that nobody else can write one."""
        return hmac.digest(self._link_key, said, hashlib.sha256)


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)
