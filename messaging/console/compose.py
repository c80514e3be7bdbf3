"""Writing a message: a new one, or a copy of another."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from messaging.channel import Channel
from messaging.console import compose_form, preview
from messaging.console.answers import Answer, Done, Page
from messaging.console.compose_form import Typed
from messaging.console.compose_page import LOOKING, accepted, channel_of, form, preview_values
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import ConflictError, MessagingError, NotFoundError
from messaging.ids import is_valid_id, new_id
from messaging.producer import accept
from messaging.store import audience_search, messages
from messaging.store.operators import OperatorRole

pages = Pages()
_NAMED = {"topic": "topics", "user": "users", "target": "targets"}
"""Whom a link may name; the field of the form."""


@pages.get("/p/{project}/compose", role=OperatorRole.OPERATOR)
def choose(visit: Visit) -> Answer:
    """Which channel."""
    with visit.begin() as connection:
        served = audience_search.served_channels(connection, visit.project_number)
    asked = {name: visit.query[name] for name in _NAMED if visit.query.get(name)}
    values = {"channels": list(Channel), "served": served, "asked": f"?{urlencode(asked)}" if asked else ""}
    return Page("compose_channel.html", values)


@pages.get("/p/{project}/compose/{channel}", role=OperatorRole.OPERATOR)
def write(visit: Visit) -> Answer:
    """An empty form, or with `copy` one filled in with what another message says."""
    channel = channel_of(visit)
    said: Typed = {field: visit.query.get(name, "") for name, field in _NAMED.items()}
    if "copy" in visit.query:
        message = visit.messaging.get(visit.query["copy"])
        if message.channel is not channel:
            raise NotFoundError(f"{channel} message", message.id)
        said = compose_form.typed_of(message)
    return form(visit, channel, {**said, "id": new_id()})


@pages.post("/p/{project}/compose/{channel}", action="message.send")
def create(visit: Visit) -> Answer:
    """Send it, keep it as a draft, or show it.

    The form carries the id of the message it makes, so that a form sent twice makes one message.
    """
    channel = channel_of(visit)
    said = compose_form.typed(visit)
    if not is_valid_id(said.get("id", "")):
        said["id"] = new_id()
    if said.get("do") in LOOKING:
        return form(visit, channel, said)
    context = visit.desk.context
    try:
        with visit.begin() as connection:
            asked = compose_form.request_of(visit, connection, channel, said, draft=said.get("do") == "draft")
            request = replace(asked, id=said["id"])
            made = accept(connection, context.vault, context.settings, visit.project_number, request)
    except ConflictError as error:
        with visit.begin() as connection:
            if messages.state_of(connection, visit.project_number, said["id"]) is None:
                return form(visit, channel, said, error=error)
        path = f"{visit.home}/messages/{said['id']}"
        return Done(path, "That form had been sent before: this is its message. Nothing was sent twice.", action="")
    except MessagingError as error:
        return form(visit, channel, said, error=error)
    return accepted(visit, made)


@pages.post("/p/{project}/compose/{channel}/preview", action="")
def show_preview(visit: Visit) -> Answer:
    """How it would look and whom it would reach; nothing is written.

    A POST: a mail does not fit into an address, and addresses are logged.
    """
    channel = channel_of(visit)
    return Page("compose_preview.html", preview_values(visit, channel, compose_form.typed(visit)))


@pages.post("/p/{project}/compose/{channel}/frame", action="")
def show_frame(visit: Visit) -> Answer:
    """An email's body as its reader would see it."""
    channel_of(visit)
    return preview.frame(compose_form.typed(visit))


@pages.post("/p/{project}/compose/{channel}/choices", action="")
def find(visit: Visit) -> Answer:
    """Topics, users and targets to choose from, for htmx. By POST: an address would stay in logs."""
    channel = channel_of(visit)
    said = visit.text("q")
    with visit.begin() as connection:
        found = audience_search.search(connection, visit.project_number, channel, said)
    return Page("compose_choices.html", {"choices": found, "q": said, "chosen": {}})
