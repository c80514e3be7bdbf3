"""What every answer carries so that a browser does with it what we mean and nothing else: one standard, in one place.

An answer is data unless it says otherwise: nothing in it runs, loads, is framed or guessed to be another type. A page
names, by `page_policy`, the few things it may do (https://www.w3.org/TR/CSP3/). No policy of ours allows an inline
script; style and script are files of ours or known by their hash.
"""

from __future__ import annotations

import base64
import hashlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOTHING = "default-src 'none'"
_CLOSED = "base-uri 'none'; frame-ancestors 'none'"
_HSTS_S = 365 * 24 * 3600

POLICY = f"{_NOTHING}; {_CLOSED}; form-action 'none'"
"""Of an answer that is no page."""
FILE_POLICY = f"sandbox; {POLICY}; style-src 'unsafe-inline'; img-src data:; media-src data:"
"""Of what somebody stored. It is a document of no origin (`sandbox`), so its own styles harm nobody but itself."""

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # our addresses hold ids, signed links and tokens
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Where the answer has none of its own."""
_OVER_TLS = (b"strict-transport-security", f"max-age={_HSTS_S}".encode())
"""Without `includeSubDomains`: what else lives under the name is not ours to decide (RFC 6797 §6.1.2)."""


def page_policy(*, style: str = "'none'", script: str = "'none'", more: str = "") -> str:
    """The policy of a page of ours whose forms go to us; `style` and `script` are CSP sources, `more` further rules."""
    return f"{_NOTHING}; style-src {style}; script-src {script}; form-action 'self'; {_CLOSED}{more and '; '}{more}"


def hash_source(content: str) -> str:
    """The CSP source of an inline element with that content (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


class PageSafety:
    """The application behind it answers with these headers, whatever it answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and complete the answer's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secure = scope["scheme"] == "https"

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                given += [pair for pair in _ALWAYS if pair[0] not in names]
                if secure:
                    given.append(_OVER_TLS)
                message["headers"] = given
            await send(message)

        await self._app(scope, receive, complete)
