"""JSON Web Tokens that speak for a user, an hour at most, and not longer than the session they came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from messaging.clock import clock
from messaging.vault import Vault

LONGEST_S = 3600
DEFAULT_S = 900
_ALGORITHM = "HS256"
_NEEDED = ["exp", "iat", "projectId", "userId", "sessionId"]
_OPTIONS: Options = {"require": _NEEDED, "verify_exp": False, "verify_iat": False}
"""Times are compared here, with the clock that all API processes share; the library would take this machine's."""


class TokenError(ValueError):
    """The token was not made by us, has expired, or is another project's. Ask for a new one."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Whom a token speaks for; no session id for one that a server made for a user without a session."""

    user_id: str
    session_id: str


def make_token(vault: Vault, project: str, spoken: Spoken, *, duration_s: int, now: datetime | None = None) -> str:
    """A token for `duration_s` seconds."""
    at = now or clock.now()
    claims: dict[str, Any] = {
        "projectId": project,
        "userId": spoken.user_id,
        "sessionId": spoken.session_id,
        "iat": at,
        "exp": at + timedelta(seconds=duration_s),
    }
    # a key that was never rotated has no number
    headers = {"kid": str(vault.generation)} if vault.generation else None
    return jwt.encode(claims, vault.token_key, algorithm=_ALGORITHM, headers=headers)


def read_token(vault: Vault, project: str, token: str) -> Spoken:
    """Whom the token speaks for; raises `TokenError`."""
    try:
        claims = jwt.decode(token, _key(vault, token), algorithms=[_ALGORITHM], options=_OPTIONS)
        ended = int(claims["exp"]) <= clock.now_s()
    except (jwt.InvalidTokenError, TypeError, ValueError, RecursionError):
        raise TokenError("The token is not valid, or no longer.") from None
    if ended:
        raise TokenError("The token is not valid, or no longer.")
    if claims["projectId"] != project:
        raise TokenError("The token is another project's.")
    return Spoken(str(claims["userId"]), str(claims["sessionId"]))


def _key(vault: Vault, token: str) -> bytes:
    """The key the token says it is signed with; raises `ValueError` for one that is out of use, or never was."""
    found = vault.token_key_of(int(jwt.get_unverified_header(token).get("kid", "0")))
    if found is None:
        raise ValueError("no such key")
    return found
