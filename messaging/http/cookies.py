"""The cookies a session travels in, and the header that stands in where a browser keeps no cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from messaging.clock import clock
from messaging.store import sessions

FALLBACK = "x-fallback-cookies"
PREFIX = "a_session_"
_LEGACY = "_legacy"
_LONGEST_FALLBACK = 8192


def cookie_name(project: str) -> str:
    """Name of a project's session cookie."""
    return f"{PREFIX}{project}"


def secrets_of(project: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Iterator[str]:
    """The session secrets a request carries, those that count most first.

    `X-Appwrite-Session` is somebody's decision, and nothing else counts beside it. A browser that keeps cookies
    may still carry an older fallback.
    """
    chosen = headers.get("x-appwrite-session")
    if chosen:
        yield chosen
        return
    name = cookie_name(project)
    for found in (cookies.get(name), cookies.get(name + _LEGACY), _fallback(headers.get(FALLBACK, ""), name)):
        if found:
            yield found


def _fallback(header: str, name: str) -> str | None:
    if not header or len(header) > _LONGEST_FALLBACK:
        return None
    try:
        said = json.loads(header)
    except (ValueError, RecursionError):
        return None
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, str) else None


def setting(
    project: str, secret: str, expires_at: datetime, *, secure: bool, has_origin: bool
) -> tuple[tuple[str, str], ...]:
    """Headers that make a browser keep the session."""
    lasts_s = min(max(0, round((expires_at - clock.now()).total_seconds())), sessions.LONGEST_S)
    return _headers(project, secret, expires_at, lasts_s, secure=secure, has_origin=has_origin)


def clearing(project: str, *, secure: bool, has_origin: bool) -> tuple[tuple[str, str], ...]:
    """Headers that make a browser forget the session."""
    return _headers(project, "", datetime.fromtimestamp(0, UTC), 0, secure=secure, has_origin=has_origin)


def _headers(
    project: str, secret: str, expires_at: datetime, lasts_s: int, *, secure: bool, has_origin: bool
) -> tuple[tuple[str, str], ...]:
    name = cookie_name(project)
    ends = f"Path=/; Expires={format_datetime(expires_at.astimezone(UTC), usegmt=True)}; Max-Age={lasts_s}; HttpOnly"
    # A page of another site gets its cookie back only with SameSite=None, which browsers take only with Secure.
    site = "; Secure; SameSite=None" if secure else "; SameSite=Lax"
    found = [
        ("set-cookie", f"{name}={secret}; {ends}{site}"),
        # for browsers from before 2020, which refuse a SameSite=None they don't know
        ("set-cookie", f"{name}{_LEGACY}={secret}; {ends}{'; Secure' if secure else ''}"),
    ]
    if has_origin:
        found.append((FALLBACK, json.dumps({name: secret} if secret else {})))
    return tuple(found)
