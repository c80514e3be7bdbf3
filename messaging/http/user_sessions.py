"""Sessions and tokens that a server makes for its users."""

from __future__ import annotations

from typing import Any

from messaging.http import jwt_tokens
from messaging.http import parameters as p
from messaging.http.account import DURATION
from messaging.http.jwt_tokens import Spoken
from messaging.http.operations import Call, Operations
from messaging.http.render_session import rendered_session
from messaging.http.sessions import user_agent_of
from messaging.store import sessions, users

operations = Operations("users")

_RECENT = "recent"
_USER_ID = p.uid("userId", required=True)


@operations.add(
    "GET",
    "/users/{userId}/sessions",
    _USER_ID,
    p.flag_in_query("total", default=True, help="false: `total` is 0"),
    scopes=("users.read", "sessions.read"),
    model="sessionList",
)
def list_sessions(call: Call) -> dict[str, Any]:
    """The sessions of a user that have not ended, oldest first."""
    user = users.find(call.connection, call.project_id, call["userId"])
    found = [rendered_session(one, current=False) for one in sessions.of_user(call.connection, call.project_id, user)]
    return {"total": len(found) if call["total"] else 0, "sessions": found}


@operations.add(
    "POST",
    "/users/{userId}/sessions",
    _USER_ID,
    scopes=("users.write", "sessions.write"),
    status=201,
    model="session",
    keyed=False,  # a secret is never kept, not even for a repeated request
)
def create_session(call: Call) -> dict[str, Any]:
    """Sign a user in and get the session's secret."""
    made, secret = sessions.create(
        call.connection,
        call.project_id,
        user=users.find(call.connection, call.project_id, call["userId"]),
        provider="server",
        ip=call.address,
        user_agent=user_agent_of(call),
    )
    return rendered_session(made, current=False, secret=secret)


@operations.add(
    "POST",
    "/users/{userId}/jwts",
    _USER_ID,
    p.uid("sessionId", help="The session it ends with; `recent`, the default, is the user's newest."),
    DURATION,
    scopes=("users.write",),
    status=201,
    model="jwt",
    keyed=False,  # a token is a secret, and an old one is no use
)
def create_jwt(call: Call) -> dict[str, str]:
    """A token that speaks for a user; without a session of theirs it ends with its time alone."""
    user = users.find(call.connection, call.project_id, call["userId"])
    wanted = call["sessionId"] or _RECENT
    if wanted == _RECENT:
        found = sessions.of_user(call.connection, call.project_id, user)
        session_id = found[-1].id if found else ""
    else:
        session_id = sessions.get(call.connection, call.project_id, user, wanted).id
    spoken = Spoken(call["userId"], session_id)
    return {"jwt": jwt_tokens.make_token(call.vault, call.caller.project, spoken, duration_s=call["duration"])}
