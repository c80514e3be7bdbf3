"""How a page is asked for and answered: signed in, allowed, in a thread, and written down where it changed things."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from messaging.console import guard
from messaging.console.answers import Answer, Done, Download, Page
from messaging.console.desk import Desk
from messaging.console.rendering import render
from messaging.console.visit import Visit
from messaging.errors import ConflictError, MessagingError, NotFoundError
from messaging.http.page_safety import page_policy
from messaging.store import audit, operators
from messaging.store.engine import AWAY
from messaging.store.operators import OperatorRole

_log = structlog.get_logger(__name__)

Handler = Callable[[Visit], Answer]

HEADERS = {
    "Content-Security-Policy": page_policy(
        style="'self'", script="'self'", more="img-src 'self' data:; connect-src 'self'; frame-src 'self'"
    )
}
_FRAME_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}
MOST_BYTES = 64 << 20
"""Of a form with a file; a million addresses are about 30 MB."""
_FIELD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One page or form."""

    path: str
    method: str
    role: OperatorRole
    action: str
    handler: Handler


class Pages:
    """The pages of one subject."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    @property
    def entries(self) -> Sequence[Entry]:
        """What is registered."""
        return tuple(self._entries)

    def get(self, path: str, *, role: OperatorRole = OperatorRole.VIEWER) -> Callable[[Handler], Handler]:
        """Show the page at `path` (after /console) to those with the role."""
        return self._add(path, "GET", role, "")

    def post(
        self, path: str, *, action: str, role: OperatorRole = OperatorRole.OPERATOR
    ) -> Callable[[Handler], Handler]:
        """Take the form sent to `path`. `action` is what the audit log calls it; empty where nothing is changed."""
        return self._add(path, "POST", role, action)

    def _add(self, path: str, method: str, role: OperatorRole, action: str) -> Callable[[Handler], Handler]:
        def keep(handler: Handler) -> Handler:
            self._entries.append(Entry(f"/console{path}", method, role, action, handler))
            return handler

        return keep

    def routes(self, desk: Desk) -> list[Route]:
        """A route for each."""
        return [Route(entry.path, _endpoint(desk, entry), methods=[entry.method]) for entry in self._entries]


def _endpoint(desk: Desk, entry: Entry) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        secure = request.scope["scheme"] == "https"
        secret = guard.session_secret(request.cookies, secure=secure)
        if secret is None:
            return to_sign_in(request)
        if request.method == "POST" and guard.comes_from_elsewhere(request.headers):
            return error_page(HTTPStatus.FORBIDDEN, "Another site sent this form. Nothing was done.")
        if request.method == "POST" and not await desk.context.in_thread(lambda: _may_send(desk, secret), long=True):
            return to_sign_in(request)  # before a byte of a large file is read
        try:
            form = await _form(request) if request.method == "POST" else FormData()
        except _TooLargeError as error:
            return error_page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except HTTPException as error:
            return error_page(HTTPStatus.BAD_REQUEST, f"The form can't be read: {error.detail}. Nothing was done.")
        try:
            made = await desk.context.in_thread(lambda: _answered(desk, entry, request, secret, form), long=True)
        finally:
            await form.close()
        return to_sign_in(request) if made is None else made

    return answer


def _may_send(desk: Desk, secret: str) -> bool:
    """Whether somebody is signed in with that secret; so it seems while the database is away, which is told later."""
    try:
        with desk.engine.begin() as connection:
            return operators.of_secret(connection, secret) is not None
    except AWAY:
        return True


class _TooLargeError(Exception):
    pass


async def _form(request: Request) -> FormData:
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal():
        raise _TooLargeError("The form does not say how long it is. Nothing was done.")
    if int(length) > MOST_BYTES:
        raise _TooLargeError(f"The form has {int(length):,} bytes; at most {MOST_BYTES:,}. Send the file in parts.")
    return await request.form(max_files=4, max_fields=2000, max_part_size=_FIELD_BYTES)


def _answered(desk: Desk, entry: Entry, request: Request, secret: str, form: FormData) -> Response | None:
    """The answer; None for somebody who is not signed in (any more)."""
    try:
        with desk.engine.begin() as connection:
            found = operators.of_secret(connection, secret)
    except AWAY:
        return error_page(HTTPStatus.SERVICE_UNAVAILABLE, "The database is away. Try again in a minute.")
    if found is None:
        return None
    operator, notice = found
    visit = Visit(
        desk=desk,
        operator=operator,
        secret=secret,
        csrf=guard.csrf_token(secret),
        notice=notice,
        path=request.url.path,
        places=dict(request.path_params),
        query=dict(request.query_params),
        form={name: value for name, value in form.multi_items() if isinstance(value, str)},
        lists=_lists(form),
        files={name: value for name, value in form.multi_items() if isinstance(value, UploadFile)},
        is_partial=request.headers.get("hx-request") == "true",
    )
    if not operator.role.may(entry.role):
        return _error(visit, HTTPStatus.FORBIDDEN, f"This needs the role {entry.role}; yours is {operator.role}.")
    if request.method == "POST" and not guard.is_token(
        secret, visit.form.get("csrf") or request.headers.get("x-csrf-token", "")
    ):
        return _error(
            visit, HTTPStatus.FORBIDDEN, "The form is older than your session. Load the page again. Nothing was done."
        )
    return _respond(visit, entry)


def _respond(visit: Visit, entry: Entry) -> Response:
    try:
        made = entry.handler(visit)
        if isinstance(made, Done):
            return _done(visit, entry, made)
        if isinstance(made, Download):
            _note(visit, entry.action, made.subject, made.details)
            return StreamingResponse(
                iterate_in_threadpool(chunk.encode() for chunk in made.chunks),
                media_type=made.kind,
                headers={"Content-Disposition": f'attachment; filename="{made.name}"'},
            )
        return shown(visit, made)
    except MessagingError as error:
        return _error(visit, _status_of(error), str(error))
    except AWAY:
        return _error(visit, HTTPStatus.SERVICE_UNAVAILABLE, "The database is away. Try again in a minute.")
    except DBAPIError as error:
        _log.exception("A page failed in the database.", page=entry.path)
        said = "The database took too long for this page." if _timed_out(error) else "The page failed; see the log."
        return _error(visit, HTTPStatus.INTERNAL_SERVER_ERROR, said)


def _status_of(error: MessagingError) -> HTTPStatus:
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.CONFLICT if isinstance(error, ConflictError) else HTTPStatus.BAD_REQUEST


def _timed_out(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "57014"  # query_canceled


def _done(visit: Visit, entry: Entry, done: Done) -> Response:
    _note(visit, entry.action if done.action is None else done.action, done.subject, done.details)
    if done.notice:
        with visit.begin() as connection:
            operators.tell(connection, visit.secret, done.notice)
    return RedirectResponse(done.path, HTTPStatus.SEE_OTHER)


def _note(visit: Visit, action: str, subject: str, details: Mapping[str, Any]) -> None:
    if action:
        with visit.begin() as connection:
            audit.note(
                connection,
                operator=visit.operator.email,
                project=visit.project,
                action=action,
                subject=subject,
                details=details,
            )


def shown(visit: Visit, page: Page) -> Response:
    """The page as HTML. A notice that waited is said on it, and not again."""
    if page.frame:
        return HTMLResponse(render(page.template, page.values), page.status, _FRAME_HEADERS)
    if visit.notice and not visit.is_partial:
        with visit.begin() as connection:
            operators.tell(connection, visit.secret, None)
    return HTMLResponse(render(page.template, _around(visit) | dict(page.values)), page.status, HEADERS)


def _around(visit: Visit) -> dict[str, Any]:
    return {
        "visit": visit,
        "operator": visit.operator,
        "csrf": visit.csrf,
        "notice": None if visit.is_partial else visit.notice,
        "project": visit.project,
        "home": visit.home,
        "projects": [] if visit.is_partial else visit.desk.project_ids(),
        "flower": visit.desk.settings.flower_url,
        "sandbox": visit.desk.settings.sandbox_url is not None,
    }


def _error(visit: Visit, status: HTTPStatus, said: str) -> Response:
    values: Mapping[str, Any] = {"status": status, "said": said}
    return shown(visit, Page("error.html", values, status))


def error_page(status: HTTPStatus, said: str) -> Response:
    """A page for somebody of whom nothing is known."""
    return HTMLResponse(render("bare_error.html", {"status": status, "said": said}), status, HEADERS)


def to_sign_in(request: Request) -> Response:
    """Where to sign in; the page that was asked for comes after it."""
    back = request.url.path if request.method == "GET" else "/console"
    if request.method == "GET" and request.url.query:
        back += f"?{request.url.query}"
    path = "/console/sign-in" + ("" if back == "/console" else f"?{urlencode({'next': back})}")
    if request.headers.get("hx-request") == "true":
        return Response(status_code=HTTPStatus.OK, headers={"HX-Redirect": path})
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def _lists(form: FormData) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found
