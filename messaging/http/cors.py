"""Which pages may call from a browser, and with what (https://fetch.spec.whatwg.org/#http-cors-protocol).

A page of an allowed origin may call with cookies. With `*` any page may, but cookies don't count for pages that
are not named: they sign in with the fallback header, which no other page can send for them.

A session in a cookie is sent by the browser whoever asks. So what changes something counts with such a session only
where the browser says that a page of ours or of an allowed origin asks (`Origin`, else `Sec-Fetch-Site`), or where it
carries a header that no page elsewhere can send without a preflight
(https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from messaging import unsubscribe_links
from messaging.http.cookies import PREFIX
from messaging.http.dispatch import error_response
from messaging.http.errors import ApiError

_METHODS = "GET, POST, PUT, PATCH, DELETE"
_HEADERS = (
    "Accept, Origin, Cookie, Set-Cookie, Content-Type, Content-Range, X-Appwrite-Project, X-Appwrite-Key, "
    "X-Appwrite-Dev-Key, X-Appwrite-Locale, X-Appwrite-Mode, X-Appwrite-JWT, X-Appwrite-Organization, "
    "X-Appwrite-Response-Format, X-Appwrite-Timeout, X-Appwrite-ID, X-Appwrite-Timestamp, X-Appwrite-Session, "
    "X-Appwrite-Platform, X-Appwrite-Impersonate-User-Id, X-Appwrite-Impersonate-User-Email, "
    "X-Appwrite-Impersonate-User-Phone, X-SDK-Version, X-SDK-Name, X-SDK-Language, X-SDK-Platform, X-SDK-GraphQL, "
    "X-SDK-Profile, Range, Cache-Control, Expires, Pragma, X-Fallback-Cookies, X-Requested-With, X-Forwarded-For, "
    "X-Forwarded-User-Agent, Idempotency-Key"
)
_EXPOSED = (
    "X-Appwrite-Session, X-Fallback-Cookies, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
)
_PREFLIGHT_LASTS_S = 7200  # what Chromium keeps at most

_NATIVE = re.compile(r"appwrite-[a-z]+", re.ASCII)
"""Schemes by which the SDKs for phones and desktops name themselves; no page is served over one."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})
"""`none`: the person themselves, from the address bar (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header)."""
_OURS_ALONE = "x-appwrite-project"
"""The header every SDK sends; it is not among those a form or a simple request may carry."""
_NO_SESSION = (f"{unsubscribe_links.PATH}/", "/v1/receipts/")
"""Authorised by what their address says. Pages of ours there send `Origin: null`, as they give no referrer."""


class Trust(Enum):
    """How far an origin is trusted."""

    ALLOWED = "allowed"
    """It may call, and cookies count."""
    OPEN = "open"
    """It may call, as anyone may; cookies don't count."""
    UNKNOWN = "unknown"
    """It may not call."""


class Origins:
    """The origins that may call: host names (on any port), `host:port`, or `*` for any."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(each.lower() for each in allowed)

    def trust(self, origin: str, *, own: str) -> Trust:
        """How far the page of `origin` is trusted; `own` is the origin under which this API was called."""
        if origin == own or self._is_named(origin):
            return Trust.ALLOWED
        return Trust.OPEN if "*" in self._allowed else Trust.UNKNOWN

    def _is_named(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin)
            host, port = parts.hostname, parts.port
        except ValueError:
            return False
        if _NATIVE.fullmatch(parts.scheme):
            return True
        if parts.scheme not in _DEFAULT_PORTS or not host or origin != f"{parts.scheme}://{parts.netloc}":
            return False
        shown = f"[{host}]" if ":" in host else host
        return bool({shown, f"{shown}:{port or _DEFAULT_PORTS[parts.scheme]}"} & self._allowed)


class Cors:
    """The application behind it is called by pages of allowed origins only where cookies count."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._origins = Origins(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, refuse a foreign page that carries a session, or hand the request on."""
        if scope["type"] != "http" or not (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.getlist("origin")
        trust = self._trust(given, own=f"{scope['scheme']}://{headers.get('host', '')}")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(scope=message), given[0] if given else "", trust)
            await send(message)

        if scope["method"] == "OPTIONS":
            await _preflight()(scope, receive, answer)
        elif scope["path"].startswith(_NO_SESSION):
            await self._app(_without_cookies(scope), receive, answer)
        elif trust is Trust.UNKNOWN and _has_session(headers):
            await error_response(_unknown_origin(given[0]))(scope, receive, answer)
        elif trust is None and _has_session(headers) and not _may_come_so(scope["method"], headers):
            await error_response(_unknown_origin("another site"))(scope, receive, answer)
        else:
            await self._app(_without_cookies(scope) if trust is Trust.OPEN else scope, receive, answer)

    def _trust(self, given: Sequence[str], *, own: str) -> Trust | None:
        if not given:
            return None
        return self._origins.trust(given[0], own=own) if len(given) == 1 else Trust.UNKNOWN


def _preflight() -> Response:
    return Response(
        status_code=HTTPStatus.NO_CONTENT,
        headers={
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": _HEADERS,
            "access-control-max-age": str(_PREFLIGHT_LASTS_S),
        },
    )


def _complete(headers: MutableHeaders, origin: str, trust: Trust | None) -> None:
    """Say who may read the answer, and take away the cookies of those they don't count for."""
    headers.add_vary_header("Origin")
    if trust in {Trust.OPEN, Trust.UNKNOWN}:
        del headers["set-cookie"]
    if trust in {Trust.ALLOWED, Trust.OPEN}:
        # The SDK always asks with credentials: a browser takes neither `*` nor an answer without the second header.
        headers["access-control-allow-origin"] = origin
        headers["access-control-allow-credentials"] = "true"
        headers["access-control-expose-headers"] = _EXPOSED
    else:
        for name in ("access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"):
            del headers[name]


def _without_cookies(scope: Scope) -> Scope:
    return dict(scope, headers=[pair for pair in scope["headers"] if pair[0].lower() != b"cookie"])


def _may_come_so(method: str, headers: Headers) -> bool:
    """Whether a request with a session, and without an `Origin`, can't be the work of a page elsewhere."""
    if method in _CHANGES_NOTHING:
        return True
    site = headers.get("sec-fetch-site")
    return site in _OWN_SITES if site is not None else _OURS_ALONE in headers


def _has_session(headers: Headers) -> bool:
    return any(pair.strip().startswith(PREFIX) for header in headers.getlist("cookie") for pair in header.split(";"))


def _unknown_origin(origin: str) -> ApiError:
    return ApiError(
        HTTPStatus.FORBIDDEN,
        "general_unknown_origin",
        f"Invalid Origin. Pages of '{origin[:200]}' may not use a session here. Add its host to MESSAGING_HTTP_ORIGINS"
        " where that is wanted.",
    )
