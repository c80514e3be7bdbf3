"""The HTTP application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from messaging.http.health import routes as health_routes

if TYPE_CHECKING:
    from starlette.requests import Request

    from messaging.settings import Settings


async def _root(_request: Request) -> JSONResponse:
    """Where to go from here."""
    return JSONResponse({"name": "heliograph", "endpoint": "/v1", "health": "/health/ready"})


def create_app(settings: Settings) -> Starlette:
    """The application for `settings`; it opens no connection before the first request."""
    app = Starlette(routes=[Route("/", _root), *health_routes(settings)])
    app.state.settings = settings
    return app
