"""Signing in and out, and one's own password."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from messaging.console import guard
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import Desk
from messaging.console.pages import HEADERS, Pages
from messaging.console.rendering import render
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError
from messaging.http.rate_limits import network_of
from messaging.store import audit, operators, rate_limits
from messaging.store.engine import AWAY
from messaging.store.operators import OperatorRole

PATH = "/console/sign-in"
_WINDOW_S = 300
_TRIES = 10
"""In five minutes, for an address people sign in with, and for a network."""
_LONGEST = 1000


class _Account(Pages):
    """Its own routes too: nobody is signed in there yet."""

    def routes(self, desk: Desk) -> list[Route]:
        return [*_sign_in_routes(desk), *super().routes(desk)]


pages = _Account()


@pages.get("/account")
def account(_visit: Visit) -> Answer:
    """One's own password."""
    return Page("account.html", {"error": None})


@pages.post("/account", action="operator.password", role=OperatorRole.VIEWER)
def change_password(visit: Visit) -> Answer:
    """Another password; whoever knew the old one is signed out."""
    with visit.begin() as connection:
        known = operators.sign_in(connection, email=visit.operator.email, password=visit.form.get("password", ""))
        if known is None:
            return Page("account.html", {"error": "That is not your password."}, HTTPStatus.BAD_REQUEST)
        try:
            operators.change(connection, known[0], password=visit.form.get("new_password", ""))
        except InvalidArgumentError as error:
            return Page("account.html", {"error": str(error)}, HTTPStatus.BAD_REQUEST)
    return Done("/console/sign-in", subject=visit.operator.id)


@pages.post("/sign-out", action="operator.sign_out", role=OperatorRole.VIEWER)
def sign_out(visit: Visit) -> Answer:
    """End the session."""
    with visit.begin() as connection:
        operators.sign_out(connection, visit.secret)
    return Done(PATH, subject=visit.operator.id)


def _sign_in_routes(desk: Desk) -> list[Route]:
    async def form(request: Request) -> Response:
        return _form(request)

    async def submit(request: Request) -> Response:
        secure = request.scope["scheme"] == "https"
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > 10 * _LONGEST:
            return _form(request, "Fill in both fields.", HTTPStatus.BAD_REQUEST)
        async with request.form(max_files=0, max_fields=10) as said:
            fields = {name: str(value)[:_LONGEST] for name, value in said.multi_items()}
        tied = guard.sign_in_secret(request.cookies, secure=secure)
        if guard.comes_from_elsewhere(request.headers) or not guard.is_token(tied, fields.get("csrf", "")):
            return _form(request, "This form was too old. Please sign in again.", HTTPStatus.FORBIDDEN)
        address = request.client.host if request.client else ""
        async with desk.context.hashing:
            secret, error, status = await desk.context.in_thread(lambda: _try(desk, fields, address), long=True)
        if secret is None:
            return _form(request, error, status)
        answer = RedirectResponse(_inside(fields.get("next", "")), HTTPStatus.SEE_OTHER)
        kept = guard.session_cookie(secret, secure=secure, lasts_s=operators.SESSION_S)
        answer.headers.append("set-cookie", kept)
        answer.headers.append("set-cookie", guard.sign_in_cookie(None, secure=secure))
        return answer

    return [Route(PATH, form, methods=["GET"]), Route(PATH, submit, methods=["POST"])]


def _try(desk: Desk, fields: dict[str, str], address: str) -> tuple[str | None, str, HTTPStatus]:
    """(secret, "", status) of a new session, or why there is none."""
    email = fields.get("email", "").strip()
    names = [f"console network={network_of(address)}", f"console email={email.casefold()}"]
    try:
        with desk.engine.begin() as connection:
            counted = [
                rate_limits.count(connection, desk.context.vault.counter_name(name), window_s=_WINDOW_S)
                for name in names
            ]
        if any(hits.count > _TRIES for hits in counted):
            left = max(hits.seconds_left for hits in counted)
            return None, f"Too many attempts. Try again in {left} seconds.", HTTPStatus.TOO_MANY_REQUESTS
        with desk.engine.begin() as connection:
            found = operators.sign_in(connection, email=email, password=fields.get("password", ""))
            if found is not None:
                audit.note(connection, operator=found[0].email, action="operator.sign_in", subject=found[0].id)
                return found[1], "", HTTPStatus.OK
            if not operators.any_exist(connection):
                return None, "There is no operator yet: messaging operator add EMAIL", HTTPStatus.UNAUTHORIZED
    except AWAY:
        return None, "The database is away. Try again in a minute.", HTTPStatus.SERVICE_UNAVAILABLE
    return None, "Address and password don't match.", HTTPStatus.UNAUTHORIZED


def _form(request: Request, error: str | None = None, status: HTTPStatus = HTTPStatus.OK) -> Response:
    secure = request.scope["scheme"] == "https"
    tied = guard.sign_in_secret(request.cookies, secure=secure)
    values = {
        "csrf": guard.csrf_token(tied),
        "error": error,
        "next": _inside(request.query_params.get("next", "")),
    }
    answer = HTMLResponse(render("sign_in.html", values), status, HEADERS)
    answer.headers.append("set-cookie", guard.sign_in_cookie(tied, secure=secure))
    return answer


def _inside(path: str) -> str:
    """`path` where it is a page of ours, else the console's first: nobody is sent elsewhere after signing in."""
    is_ours = path.startswith("/console") and "\\" not in path and "//" not in path and path.isprintable()
    return path if is_ours and not path.startswith(PATH) else "/console"
