"""Who is calling: the project, and the API key or signed-in user that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Connection

from messaging.errors import NotFoundError
from messaging.http import cookies
from messaging.http.errors import ApiError
from messaging.http.jwt_tokens import TokenError, read_token
from messaging.http.known_keys import KnownKeys
from messaging.ids import is_valid_id
from messaging.store import accounts, api_keys, projects, sessions
from messaging.store.sessions import SessionView
from messaging.vault import Vault

NO_PROJECT = "No Appwrite project was specified. Please specify your project ID when initializing your Appwrite SDK."
UNKNOWN_PROJECT = (
    "Project with the requested ID could not be found. Please check the value of the X-Appwrite-Project header to"
    " ensure the correct project ID is being used."
)


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A user with a session, or whom a server's token speaks for."""

    user: int
    """Number of the user."""
    user_id: str
    email: str
    labels: tuple[str, ...]
    session: int | None
    """Number of the session; None for a server's token that came from no session."""
    session_id: str
    verified: bool = False
    by_jwt: bool = False


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who speaks, for which project. Neither a key nor a user: a guest."""

    project_id: int
    """Number of the project; 0 where the operation needs none."""
    project: str = ""
    """Public id of the project."""
    key: api_keys.ApiKeyView | None = None
    user: SignedIn | None = None

    @property
    def is_key(self) -> bool:
        """Whether an API key speaks: permissions of single objects don't apply to it."""
        return self.key is not None

    def may(self, scopes: tuple[str, ...]) -> bool:
        """Whether its API key has one of `scopes` (a key without scopes has all)."""
        return self.key is not None and (not self.key.scopes or bool(set(scopes) & set(self.key.scopes)))


def identify_server(
    connection: Connection, keys: KnownKeys, headers: Mapping[str, str], query: Mapping[str, str]
) -> tuple[int, str, api_keys.ApiKeyView | None]:
    """Number and id of the project named in `X-Appwrite-Project` or `?project=`, and its valid key, if one was sent.

    A key brings its project along, so a server's call asks the database once. Raises `ApiError`; an unknown key makes
    the caller a guest.
    """
    named = headers.get("x-appwrite-project") or query.get("project") or ""
    if not named:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "general_access_forbidden", NO_PROJECT)
    if not is_valid_id(named):
        raise ApiError(HTTPStatus.NOT_FOUND, "project_not_found", UNKNOWN_PROJECT)
    secret = headers.get("x-appwrite-key")
    key = keys.verify(connection, secret) if secret else None
    if key is not None and key.project_id == named:
        return key.project, named, key
    try:
        number = projects.find(connection, named)
    except NotFoundError:
        raise ApiError(HTTPStatus.NOT_FOUND, "project_not_found", UNKNOWN_PROJECT) from None
    if secret and key is None and api_keys.has_expired(connection, secret):
        raise ApiError(
            HTTPStatus.UNAUTHORIZED, "project_key_expired", "The API key has expired. Send one that has not."
        )
    return number, named, None


def recall_server(keys: KnownKeys, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller | None:
    """The caller that `identify_server` would find, if its key was seen a moment ago; asks no database."""
    named = headers.get("x-appwrite-project") or query.get("project")
    secret = headers.get("x-appwrite-key")
    key = keys.recall(secret) if secret else None
    if key is None or key.project_id != named:
        return None
    return Caller(project_id=key.project, project=key.project_id, key=key)


def carries_user(caller: Caller, headers: Mapping[str, str], sent_cookies: Mapping[str, str]) -> bool:
    """Whether there is anything that `identify_user` would look at."""
    return bool(headers.get("x-appwrite-jwt")) or any(cookies.secrets_of(caller.project, headers, sent_cookies))


def identify_user(
    connection: Connection,
    vault: Vault,
    caller: Caller,
    *,
    headers: Mapping[str, str],
    sent_cookies: Mapping[str, str],
) -> SignedIn | None:
    """The user whose session or token the request carries; raises `ApiError`. What is outdated makes a guest."""
    session = _session(connection, caller, headers, sent_cookies)
    token = headers.get("x-appwrite-jwt")
    if not token:
        return None if session is None else _signed_in(connection, session)
    if session is not None:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "user_jwt_and_cookie_set",
            "The request carries both a session and a JWT. Send one of them.",
        )
    return _of_token(connection, vault, caller, token)


def _session(
    connection: Connection, caller: Caller, headers: Mapping[str, str], sent_cookies: Mapping[str, str]
) -> SessionView | None:
    for secret in cookies.secrets_of(caller.project, headers, sent_cookies):
        found = sessions.of_secret(connection, caller.project_id, secret)
        if found is not None:
            return found
    return None


def _of_token(connection: Connection, vault: Vault, caller: Caller, token: str) -> SignedIn:
    refused = ApiError(
        HTTPStatus.UNAUTHORIZED,
        "user_jwt_invalid",
        "The JWT is not valid, has expired, or its session has ended. Make another one.",
    )
    try:
        spoken = read_token(vault, caller.project, token)
    except TokenError:
        raise refused from None
    if spoken.session_id:
        session = sessions.of_id(connection, caller.project_id, spoken.session_id)
        if session is None or session.user_id != spoken.user_id:
            raise refused
        return _signed_in(connection, session, by_jwt=True)
    user = accounts.views(connection, caller.project_id, [spoken.user_id]).get(spoken.user_id)
    if user is None:
        raise refused
    if user.blocked:
        raise blocked()
    return SignedIn(
        user=user.number,
        user_id=user.id,
        email=user.email or "",
        labels=user.labels,
        session=None,
        session_id="",
        verified=user.email_verified or user.phone_verified,
        by_jwt=True,
    )


def _signed_in(connection: Connection, session: SessionView, *, by_jwt: bool = False) -> SignedIn:
    if session.blocked:
        raise blocked()
    if not session.seen_today:
        accounts.saw(connection, session.user)
    return SignedIn(
        user=session.user,
        user_id=session.user_id,
        email=session.email,
        labels=session.labels,
        session=session.number,
        session_id=session.id,
        verified=session.verified,
        by_jwt=by_jwt,
    )


def blocked() -> ApiError:
    """The error for a user who is blocked."""
    return ApiError(
        HTTPStatus.FORBIDDEN,
        "user_blocked",
        "The current user has been blocked. Unblock the user with an API key, through the field `status`.",
    )
