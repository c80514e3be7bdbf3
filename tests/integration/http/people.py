"""People at their browsers: each has cookies of their own and no API key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from tests.integration.http.api import PATIENCE_S, Api

PASSWORD = "correct horse battery"


@contextmanager
def browser(api: Api, *, origin: str | None = None, user_agent: str | None = None) -> Iterator[Api]:
    """A client without a key that keeps cookies; with `origin`, that of a page."""
    sent: dict[str, str] = {}
    if origin is not None:
        sent["origin"] = origin
    if user_agent is not None:
        sent["user-agent"] = user_agent
    with httpx.Client(timeout=PATIENCE_S, headers=sent) as client:
        yield replace(api, client=client, key="")


def has_account(api: Api, name: str, *, password: str = PASSWORD) -> str:
    """The id of a new account with the address `name`@example.com, opened by a server (which no limit counts)."""
    body = {"userId": name, "email": f"{name}@example.com", "password": password, "name": name.title()}
    return str(api.ok("POST", "/account", body)["$id"])


def signs_in(
    person: Api, name: str, *, password: str = PASSWORD, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The session of the account with the address `name`@example.com."""
    body = {"email": f"{name}@example.com", "password": password}
    session: dict[str, Any] = person.ok("POST", "/account/sessions/email", body, key=False, headers=headers)
    return session


def session_secret(api: Api, user_id: str) -> str:
    """The secret of a session that a server makes."""
    return str(api.ok("POST", f"/users/{user_id}/sessions", {})["secret"])


def speaking(secret: str) -> dict[str, str]:
    """The header of a request with that session."""
    return {"x-appwrite-session": secret}
