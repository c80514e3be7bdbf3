"""The HTTP application."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from messaging import tracing
from messaging.http.context import Context
from messaging.http.cors import Cors
from messaging.http.direct import Direct
from messaging.http.dispatch import endpoint, error_response
from messaging.http.errors import ApiError
from messaging.http.health import routes as health_routes
from messaging.http.metrics import Metrics
from messaging.http.page_safety import PageSafety
from messaging.http.receipts import routes as receipt_routes
from messaging.http.reference_page import routes as reference_routes
from messaging.http.slashes import CollapseSlashes
from messaging.http.surface import OPERATIONS
from messaging.http.unsubscribe import routes as unsubscribe_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from messaging.settings import Settings


async def _root(_request: Request) -> JSONResponse:
    """Where to go from here."""
    return JSONResponse(
        {
            "name": "heliograph",
            "endpoint": "/v1",
            "health": "/health/ready",
            "reference": "/v1/docs",
            "openapi": "/v1/openapi.json",
            "console": "/console",
        }
    )


async def _not_found(_request: Request, _error: Exception) -> Response:
    return error_response(
        ApiError(404, "general_route_not_found", "Route not found. Please ensure the endpoint is configured correctly.")
    )


async def _not_allowed(request: Request, _error: Exception) -> Response:
    allowed = {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return error_response(
        ApiError(
            405,
            "general_method_not_allowed",
            f"There is no {request.method} {request.url.path}.",
            headers={"Allow": ", ".join(sorted(allowed))},  # RFC 9110 §15.5.6
        )
    )


def _nothing_more(_context: Context) -> Sequence[Route]:
    return ()


def create_app(settings: Settings, more: Callable[[Context], Sequence[Route]] = _nothing_more) -> PageSafety:
    """The application for `settings`; it opens no connection before the first request. `more` adds routes to it."""
    context = Context(settings)
    metrics = Metrics(context)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tracing.set_up(settings, "api")
        yield
        metrics.close()
        context.close()
        tracing.shut_down()

    endpoints = {
        (operation.method, f"/v1{operation.path}"): metrics.requests.counted(operation, endpoint(context, operation))
        for operation in OPERATIONS
    }
    routes = [Route(path, answer, methods=[method]) for (method, path), answer in endpoints.items()]
    app = Starlette(
        routes=[
            Route("/", _root),
            *health_routes(settings),
            *metrics.routes(),
            *reference_routes(OPERATIONS),
            *receipt_routes(context),
            *unsubscribe_routes(context),
            *more(context),
            *routes,
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # an empty id is not found; it is no list, by way of a redirect
    app.state.settings = settings
    whole = {place: answer for place, answer in endpoints.items() if "{" not in place[1]}
    return PageSafety(CollapseSlashes(Cors(Direct(app, whole), settings.http_origins)))
