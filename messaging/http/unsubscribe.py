"""The link in bulk mail: one click of the mail program, or of the reader, ends it (RFC 8058).

The program POSTs `List-Unsubscribe=One-Click`, without cookies and without a token of a form: the signed link is what
authorises it, and no session counts here. A person who follows the link sees a page with a
button, for a GET must change nothing: link scanners follow every link.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from messaging import unsubscribe_links
from messaging.http.context import Context
from messaging.http.page_safety import hash_source, page_policy
from messaging.ids import parse_delivery_tag
from messaging.store import opt_outs
from messaging.store.engine import AWAY

_STYLE = """
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1.5rem }
body { color: #1b1b1f }
button { font: inherit; padding: .6rem 1.4rem; border: 0; border-radius: .5rem; background: #1b4dd8; color: #fff }
@media (prefers-color-scheme: dark) { body { background: #16161a; color: #e8e8ec } }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1><p>{text}</p>{form}</body></html>
"""
_BUTTON = '<form method="post"><button name="List-Unsubscribe" value="One-Click">{label}</button></form>'
_HEADERS = {"content-security-policy": page_policy(style=hash_source(_STYLE))}


def routes(context: Context) -> list[Route]:
    """GET and POST /v1/unsubscribe/{token}."""

    async def answer(request: Request) -> Response:
        tag = unsubscribe_links.read(context.vault, request.path_params["token"])
        name = None if tag is None else parse_delivery_tag(tag)
        if name is None:
            return _page("This link is not complete", "Follow it from the message again.", HTTPStatus.NOT_FOUND)
        back = request.query_params.get("subscribe") == "1"

        def work(connection: Connection) -> str | None:
            if request.method == "GET":
                return opt_outs.reader(connection, *name)
            return opt_outs.opt_in(connection, *name) if back else opt_outs.opt_out(connection, *name)

        def run() -> str | None:
            with context.engine.begin() as connection:
                return work(connection)

        try:
            reader = await context.in_thread(run)
        except AWAY:
            return _page("One moment, please", "Try it again in a minute.", HTTPStatus.SERVICE_UNAVAILABLE)
        if reader is None:
            return _page("You get no more mail from us", "This address is not on our lists any more.")
        if request.method == "GET":
            text = f"No more newsletters to {reader}? Messages you ask for yourself, such as a code, still come."
            return _page("Unsubscribe", text, label="Unsubscribe")
        if back:
            return _page("Welcome back", f"Newsletters to {reader} go on.")
        return _page(
            "You are unsubscribed",
            f"{reader} gets no more newsletters.",
            label="I want them after all",
            path="?subscribe=1",
        )

    return [Route(f"{unsubscribe_links.PATH}/{{token}}", answer, methods=["GET", "POST"])]


def _page(
    title: str, text: str, status: HTTPStatus = HTTPStatus.OK, *, label: str | None = None, path: str = ""
) -> Response:
    form = "" if label is None else _BUTTON.format(label=escape(label))
    if path:
        form = form.replace("<form ", f'<form action="{escape(path)}" ')
    page = _PAGE.format(title=escape(title), text=escape(text), form=form, style=_STYLE)
    return HTMLResponse(page, status, _HEADERS)
