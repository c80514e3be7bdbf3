"""The console's style, script and pictures, under an address that changes with their content."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAMES = ("console.css", "console.js", "messages.css", "compose.js", "htmx.min.js", "icon.svg")
PREFIX = "/console/static"


@cache
def _content(name: str) -> bytes:
    return files("messaging.console").joinpath("static", name).read_bytes()


@cache
def address(name: str) -> str:
    """The address of the file of that name as it is now."""
    return f"{PREFIX}/{name}?{hashlib.sha256(_content(name)).hexdigest()[:12]}"


def routes() -> list[Route]:
    """One for each file."""
    return [Route(f"{PREFIX}/{name}", _serving(name)) for name in _NAMES]


def _serving(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        tag = f'"{hashlib.sha256(_content(name)).hexdigest()[:32]}"'
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(_content(name), media_type=_KINDS[name.rpartition(".")[2]], headers=headers)

    return serve
