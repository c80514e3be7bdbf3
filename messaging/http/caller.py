"""Who is calling: the project, and the API key or signed-in user that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Connection

from messaging.errors import NotFoundError
from messaging.http.errors import ApiError
from messaging.store import api_keys, projects

NO_PROJECT = "No Appwrite project was specified. Please specify your project ID when initializing your Appwrite SDK."
UNKNOWN_PROJECT = (
    "Project with the requested ID could not be found. Please check the value of the X-Appwrite-Project header to"
    " ensure the correct project ID is being used."
)


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A user with a session."""

    user: int
    user_id: str
    email: str
    labels: tuple[str, ...]
    session: int
    """Number of the session."""
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


def identify_project(connection: Connection, headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[int, str]:
    """Number and id of the project named in `X-Appwrite-Project` or `?project=`; raises `ApiError`."""
    named = headers.get("x-appwrite-project") or query.get("project") or ""
    if not named:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "general_access_forbidden", NO_PROJECT)
    try:
        return projects.find(connection, named.replace("\0", "")), named
    except NotFoundError:
        raise ApiError(HTTPStatus.NOT_FOUND, "project_not_found", UNKNOWN_PROJECT) from None


def identify_key(connection: Connection, headers: Mapping[str, str], project_id: int) -> api_keys.ApiKeyView | None:
    """The valid API key of this project in `X-Appwrite-Key`; an unknown one makes the caller a guest."""
    secret = headers.get("x-appwrite-key")
    if not secret:
        return None
    key = api_keys.verify(connection, secret)
    return key if key is not None and key.project == project_id else None
