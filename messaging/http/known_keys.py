"""API keys seen a moment ago: a server that sends many messages need not be looked up for each."""

from __future__ import annotations

import hashlib
import time

from sqlalchemy import Connection

from messaging.clock import clock
from messaging.store import api_keys
from messaging.store.api_keys import ApiKeyView

LASTS_S = 1.0
"""So long a key that was revoked may still be taken."""
_MOST = 1000


class KnownKeys:
    """Valid keys by the hash of their secret. Used by several threads: each step is one operation on a dict."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[float, ApiKeyView]] = {}

    def verify(self, connection: Connection, secret: str) -> ApiKeyView | None:
        """The key of that secret, or None if there is none or it has expired."""
        name = _hashed(secret)
        known = self._recalled(name)
        if known is not None:
            return None if _has_expired(known) else known
        key = api_keys.verify(connection, secret)
        if key is None:
            self._seen.pop(name, None)
            return None
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[name] = (time.monotonic() + LASTS_S, key)
        return key

    def recall(self, secret: str) -> ApiKeyView | None:
        """The key of that secret, if it was seen a moment ago and has not expired since."""
        known = self._recalled(_hashed(secret))
        return None if known is None or _has_expired(known) else known

    def _recalled(self, name: bytes) -> ApiKeyView | None:
        until, key = self._seen.get(name, (0.0, None))
        return key if time.monotonic() < until else None


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _has_expired(key: ApiKeyView) -> bool:
    return key.expires_at is not None and key.expires_at <= clock.now()
