"""APNs provider tokens: ES256 signatures checked for real, with Apple's rules on their age and number."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt

from messaging.local.sandbox.keys import KeyFile, apns_key_name

MAX_AGE_S = 60 * 60
UPDATE_WINDOW_S = 20 * 60
MAX_TOKENS_IN_WINDOW = 2
"""Apple: a token changed more often than once in 20 minutes is refused; a third one within them is too many."""
_CLOCK_SKEW_S = 300

_BEARER = b"bearer "


class ProviderTokenError(Exception):
    """A provider token is refused; `reason` is Apple's word for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProviderToken:
    """A token whose signature was found good."""

    team_id: str
    key_id: str
    issued_at: float


class ProviderTokens:
    """Checks the `authorization` header of pushes; each distinct token is verified once."""

    def __init__(self, keys: KeyFile, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._known: dict[bytes, ProviderToken] = {}
        self._first_seen: dict[tuple[str, str], dict[bytes, float]] = {}

    def check(self, authorization: bytes | None) -> ProviderToken:
        """The token of the header; raises ProviderTokenError with status and reason as Apple's table has them.

        Source: developer.apple.com, "Establishing a token-based connection to APNs".
        """
        if authorization is None or authorization[:7].lower() != _BEARER:
            raise ProviderTokenError(403, "MissingProviderToken")
        token = self._known.get(authorization)
        now = self._clock()
        if token is None:
            token = self._verify(authorization)
            self._count(token, authorization, now)
            self._known[authorization] = token
        if token.issued_at < now - MAX_AGE_S:
            raise ProviderTokenError(403, "ExpiredProviderToken")
        return token

    def _verify(self, authorization: bytes) -> ProviderToken:
        try:
            text = authorization[len(_BEARER) :].decode("ascii")
            key_id = jwt.get_unverified_header(text)["kid"]
            team_id = jwt.decode(text, options={"verify_signature": False})["iss"]
            pem = self._keys.get(apns_key_name(team_id, key_id))
            if pem is None:
                raise ProviderTokenError(403, "InvalidProviderToken")
            claims = jwt.decode(
                text, pem, algorithms=["ES256"], leeway=_CLOCK_SKEW_S, options={"require": ["iss", "iat"]}
            )
            return ProviderToken(team_id=team_id, key_id=key_id, issued_at=float(claims["iat"]))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise ProviderTokenError(403, "InvalidProviderToken") from error

    def _count(self, token: ProviderToken, authorization: bytes, now: float) -> None:
        seen = self._first_seen.setdefault((token.team_id, token.key_id), {})
        for old, first_seen in list(seen.items()):
            if first_seen <= now - UPDATE_WINDOW_S:
                del seen[old]
        if len(seen) >= MAX_TOKENS_IN_WINDOW:
            raise ProviderTokenError(429, "TooManyProviderTokenUpdates")
        seen[authorization] = now
