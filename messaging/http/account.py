"""People's own accounts over HTTP: opening one, reading it, and tokens that speak for it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging import passwords
from messaging.http import jwt_tokens
from messaging.http import parameters as p
from messaging.http.caller import SignedIn
from messaging.http.errors import ApiError
from messaging.http.jwt_tokens import Spoken
from messaging.http.operations import Access, Call, Limit, Operations
from messaging.http.render_user import rendered_user
from messaging.store import accounts, users

operations = Operations("account")

_HOUR_S = 3600
DURATION = p.integer(
    "duration",
    least=0,
    most=jwt_tokens.LONGEST_S,
    default=jwt_tokens.DEFAULT_S,
    help="Seconds the token is good for.",
)


@operations.add("GET", "/account", scopes=("account",), access=Access.SESSION, model="user")
def get_account(call: Call) -> dict[str, Any]:
    """The signed-in user."""
    return rendered_user(call.connection, call.project_id, signed_in(call).user_id)


@operations.add(
    "POST",
    "/account",
    p.custom_id("userId"),
    p.email("email", required=True),
    p.text("password", shortest=passwords.SHORTEST, longest=passwords.LONGEST, required=True),
    p.text("name", longest=users.LONGEST_NAME),
    scopes=("sessions.write",),
    access=Access.ANYONE,
    status=201,
    model="user",
    taken="user_already_exists",
    hashes=True,
    limits=(Limit(calls=10, window_s=_HOUR_S, by=("address",)),),
)
def create_account(call: Call) -> dict[str, Any]:
    """Open an account with an email address and a password; sign in separately."""
    accounts.create(
        call.connection,
        call.vault,
        call.project_id,
        user_id=call["userId"],
        email=call["email"].lower(),
        password_hash=passwords.hash_password(call["password"]),
        name=call["name"] or "",
    )
    return rendered_user(call.connection, call.project_id, call["userId"])


@operations.add(
    "POST",
    "/account/jwts",
    DURATION,
    scopes=("account",),
    access=Access.SESSION,
    status=201,
    model="jwt",
    keyed=False,  # a token is a secret, and an old one is no use
    limits=(Limit(calls=120, window_s=60, by=("user",)),),
)
def create_jwt(call: Call) -> dict[str, str]:
    """A token that speaks for the user for a while, and no longer than the session lasts."""
    user = signed_in(call)
    if user.by_jwt:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "user_jwt_creation_denied",
            "A JWT can't make another one. Ask with the session it came from.",
        )
    spoken = Spoken(user.user_id, user.session_id)
    return {"jwt": jwt_tokens.make_token(call.vault, call.caller.project, spoken, duration_s=call["duration"])}


def signed_in(call: Call) -> SignedIn:
    """The user who calls; raises `ApiError` for anybody else."""
    if call.caller.user is None:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "general_unauthorized_scope", "Sign in first.")
    return call.caller.user
