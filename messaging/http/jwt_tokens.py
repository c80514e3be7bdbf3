"""JSON Web Tokens that speak for a user, an hour at most, and not longer than the session they came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from messaging.vault import Vault

LONGEST_S = 3600
DEFAULT_S = 900
_ALGORITHM = "HS256"
_NEEDED = ["exp", "iat", "projectId", "userId", "sessionId"]


class TokenError(ValueError):
    """The token was not made by us, has expired, or is another project's. Ask for a new one."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Whom a token speaks for; no session id for one that a server made for a user without a session."""

    user_id: str
    session_id: str


def make_token(vault: Vault, project: str, spoken: Spoken, *, duration_s: int, now: datetime | None = None) -> str:
    """A token for `duration_s` seconds."""
    at = now or datetime.now(UTC)
    claims: dict[str, Any] = {
        "projectId": project,
        "userId": spoken.user_id,
        "sessionId": spoken.session_id,
        "iat": at,
        "exp": at + timedelta(seconds=duration_s),
    }
    return jwt.encode(claims, vault.token_key, algorithm=_ALGORITHM)


def read_token(vault: Vault, project: str, token: str) -> Spoken:
    """Whom the token speaks for; raises `TokenError`."""
    try:
        claims = jwt.decode(token, vault.token_key, algorithms=[_ALGORITHM], options={"require": _NEEDED})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenError("The token is not valid, or no longer.") from None
    if claims["projectId"] != project:
        raise TokenError("The token is another project's.")
    return Spoken(str(claims["userId"]), str(claims["sessionId"]))
