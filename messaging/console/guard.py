"""Who may do what: the session's cookie, the token in each form, and where a request comes from.

A form counts only with the token of its session (OWASP's synchronizer token), and never when the browser says that
another site sent it (`Sec-Fetch-Site`, https://www.w3.org/TR/fetch-metadata/). `Origin` says nothing here: our pages
send no referrer, and it is `null` then.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

_SESSION = "heliograph_console"
_SIGN_IN = "heliograph_sign_in"
_OURS = frozenset({"same-origin", "none"})


def _cookie(name: str, *, secure: bool) -> str:
    return f"__Host-{name}" if secure else name


def session_secret(cookies: Mapping[str, str], *, secure: bool) -> str | None:
    """The secret of the session the browser is in."""
    return cookies.get(_cookie(_SESSION, secure=secure))


def session_cookie(secret: str | None, *, secure: bool, lasts_s: int) -> str:
    """The header that makes a browser keep the session, or forget it (None). Lax: a link in a mail leads inside."""
    return _set(_SESSION, secret, secure=secure, lasts_s=lasts_s, site="Lax")


def csrf_token(secret: str) -> str:
    """What each form of that session carries."""
    return hashlib.sha256(b"form of " + secret.encode()).hexdigest()


def is_token(secret: str, said: str) -> bool:
    """Whether a form carried the session's token."""
    return hmac.compare_digest(csrf_token(secret).encode(), said.encode(errors="replace"))


def comes_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether the browser says that another site sent the request."""
    return headers.get("sec-fetch-site", "none") not in _OURS


def sign_in_secret(cookies: Mapping[str, str], *, secure: bool) -> str:
    """What ties the sign-in form to this browser, so that nobody signs somebody else in; made where there is none."""
    return cookies.get(_cookie(_SIGN_IN, secure=secure)) or secrets.token_urlsafe(24)


def sign_in_cookie(secret: str | None, *, secure: bool) -> str:
    """The header that makes a browser keep that for a quarter of an hour, or forget it (None)."""
    return _set(_SIGN_IN, secret, secure=secure, lasts_s=900, site="Strict")


def _set(name: str, value: str | None, *, secure: bool, lasts_s: int, site: str) -> str:
    lasts = lasts_s if value is not None else 0
    ends = f"Path=/; Max-Age={lasts}; HttpOnly; SameSite={site}{'; Secure' if secure else ''}"
    return f"{_cookie(name, secure=secure)}={value or ''}; {ends}"
