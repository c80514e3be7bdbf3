"""`//v1///messaging` is `/v1/messaging`: an endpoint given with a trailing slash works."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_MANY = re.compile("/{2,}")


class CollapseSlashes:
    """The application behind it sees paths with single slashes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, its path put right."""
        if scope["type"] == "http" and "//" in scope["path"]:
            scope = dict(scope, path=_MANY.sub("/", scope["path"]))
        await self._app(scope, receive, send)
