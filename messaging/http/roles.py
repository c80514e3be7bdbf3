"""The roles of a caller, as topics and buckets name them in their permissions."""

from __future__ import annotations

from messaging.http.caller import Caller

_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}"
PATTERN = (
    rf"any|guests|users(?:/(?:verified|unverified))?|user:{_ID}(?:/(?:verified|unverified))?"
    rf"|team:{_ID}(?:/{_ID})?|member:{_ID}|label:[A-Za-z0-9]{{1,36}}"
)
"""Regular expression of a role as a topic or a permission names it."""


def roles_of(caller: Caller) -> frozenset[str]:
    """`any`, then `guests`, or `users`, `user:ID` and `label:NAME` of the signed-in user.

    An API key has no roles of its own: permissions don't bind it (`Caller.is_key`).
    """
    user = caller.user
    if user is None:
        return frozenset({"any", "guests"})
    verified = "verified" if user.verified else "unverified"
    return frozenset(
        {
            "any",
            "users",
            f"users/{verified}",
            f"user:{user.user_id}",
            f"user:{user.user_id}/{verified}",
            *(f"label:{label}" for label in user.labels),
        }
    )
