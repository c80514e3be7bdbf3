"""Signing in and out over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging import passwords
from messaging.http import cookies
from messaging.http import parameters as p
from messaging.http.account import signed_in
from messaging.http.caller import blocked
from messaging.http.errors import ApiError
from messaging.http.operations import Access, Answer, Call, Limit, Operations
from messaging.http.render_session import rendered_session
from messaging.ids import new_id
from messaging.store import accounts, sessions, users
from messaging.store.sessions import SessionView

operations = Operations("account")

CURRENT = "current"
_HOUR_S = 3600
_SESSION_ID = p.uid("sessionId", required=True, help="An id, or `current`.")


@operations.add(
    "POST",
    "/account/sessions/email",
    p.email("email", required=True),
    p.text("password", longest=passwords.LONGEST, required=True),
    p.integer("duration", least=60, most=sessions.LONGEST_S, help="Seconds until the session ends; a year by default."),
    scopes=("sessions.write",),
    access=Access.ANYONE,
    status=201,
    model="session",
    keyed=False,  # a secret is never kept, not even for a repeated request
    hashes=True,
    limits=(
        Limit(calls=10, window_s=_HOUR_S, by=("address", "email")),
        # guesses from many addresses; wide enough that one stranger alone can't lock the owner out
        Limit(calls=100, window_s=_HOUR_S, by=("email",)),
    ),
)
def create_email_password_session(call: Call) -> Answer:
    """Sign in with an email address and a password."""
    _refuse_signed_in(call)
    found = accounts.credentials_of(call.connection, call.project_id, call["email"])
    kept = found.password_hash if found is not None else None
    # an unknown address costs as much as a wrong password, so that nobody learns who has an account
    if not passwords.is_password(call["password"], kept) or found is None or kept is None:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "user_invalid_credentials",
            "Invalid credentials. Please check the email and password.",
        )
    if found.blocked:
        raise blocked()
    if passwords.is_outdated(kept):
        accounts.renew_password_hash(call.connection, found.user, passwords.hash_password(call["password"]))
    return _start(call, user=found.user, provider="email", provider_uid=call["email"], duration_s=call["duration"])


@operations.add(
    "POST",
    "/account/sessions/anonymous",
    scopes=("sessions.write",),
    access=Access.ANYONE,
    status=201,
    model="session",
    keyed=False,  # (as above)
    limits=(Limit(calls=50, window_s=_HOUR_S, by=("address",)),),
)
def create_anonymous_session(call: Call) -> Answer:
    """Sign in as a new user without a name."""
    _refuse_signed_in(call)
    made = users.create(call.connection, call.vault, call.project_id, user_id=new_id())
    number = users.find(call.connection, call.project_id, made.id)
    accounts.mark_anonymous(call.connection, number)
    return _start(call, user=number, provider="anonymous")


@operations.add(
    "GET",
    "/account/sessions/{sessionId}",
    _SESSION_ID,
    scopes=("account",),
    access=Access.SESSION,
    model="session",
)
def get_session(call: Call) -> dict[str, Any]:
    """A session of the signed-in user."""
    found = _own(call)
    return rendered_session(found, current=found.number == signed_in(call).session)


@operations.add(
    "DELETE",
    "/account/sessions/{sessionId}",
    _SESSION_ID,
    scopes=("account",),
    access=Access.SESSION,
    status=204,
    limits=(Limit(calls=100, window_s=_HOUR_S, by=("user", "address")),),
)
def delete_session(call: Call) -> Answer:
    """Sign out; devices registered in the session get no more push messages."""
    found = _own(call)
    sessions.delete(call.connection, found.number)
    if found.number != signed_in(call).session:
        return Answer()
    return Answer(
        headers=cookies.clearing(call.caller.project, secure=call.secure, has_origin="origin" in call.headers)
    )


def user_agent_of(call: Call) -> str:
    """The User-Agent of whom the call is for: a server may pass on that of its own caller."""
    forwarded = call.headers.get("x-forwarded-user-agent", "") if call.caller.is_key else ""
    return forwarded or call.headers.get("user-agent", "")


def _own(call: Call) -> SessionView:
    user = signed_in(call)
    wanted = user.session_id if call["sessionId"] == CURRENT else call["sessionId"]
    return sessions.get(call.connection, call.project_id, user.user, wanted)


def _refuse_signed_in(call: Call) -> None:
    if call.caller.user is not None:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "user_session_already_exists",
            "Creation of a session is prohibited when a session is active. Sign out first.",
        )


def _start(call: Call, *, user: int, provider: str, provider_uid: str = "", duration_s: int | None = None) -> Answer:
    made, secret = sessions.create(
        call.connection,
        call.project_id,
        user=user,
        provider=provider,
        provider_uid=provider_uid,
        ip=call.address,
        user_agent=user_agent_of(call),
        duration_s=duration_s,
    )
    accounts.saw(call.connection, user)
    return Answer(
        body=rendered_session(made, current=True, secret=secret if call.caller.is_key else ""),
        headers=cookies.setting(
            call.caller.project,
            secret,
            made.expires_at,
            secure=call.secure,
            has_origin="origin" in call.headers,
        ),
    )
