"""The page a message is written on, whether it is a new one or one that waits."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging.channel import Channel, Lane, OnUnknown
from messaging.client.words import word
from messaging.console import compose_form, preview
from messaging.console.answers import Answer, Done, Page
from messaging.console.compose_form import Typed
from messaging.console.visit import Visit
from messaging.content import PUSH_TYPES
from messaging.errors import MessagingError, NotFoundError
from messaging.message import Push
from messaging.producer import Accepted
from messaging.status import MessageState
from messaging.store import audience_search
from messaging.store.messages import MessageView

LOOKING = frozenset({"preview", "find"})
"""Buttons that only show something."""


def channel_of(visit: Visit) -> Channel:
    """The channel in the path; raises `NotFoundError`."""
    said = visit.places["channel"]
    if said not in set(Channel):
        raise NotFoundError("channel", said)
    return word(Channel, "channel", said)


def form(
    visit: Visit,
    channel: Channel,
    said: Typed,
    *,
    message: MessageView | None = None,
    error: MessagingError | None = None,
) -> Page:
    """The form with what was typed; `message` is the one that is changed, `error` why it was refused."""
    with visit.begin() as connection:
        choices = audience_search.search(connection, visit.project_number, channel, said.get("q", "").strip())
        topics = audience_search.topics(connection, visit.project_number, compose_form.entries(said, "topics"))
    field = "" if error is None else compose_form.field_of(error)
    values: dict[str, Any] = {
        "channel": channel,
        "said": said,
        "message": message,
        "chosen": {name: compose_form.entries(said, name) for name in compose_form.LISTS},
        "topics": topics,
        "choices": choices,
        "q": said.get("q", "").strip(),
        "lanes": list(Lane),
        "on_unknown": list(OnUnknown),
        "push_types": [(each, each) for each in sorted(PUSH_TYPES)],
        "errors": {} if error is None else {field: compose_form.said_of(error)},
        "error": None if error is None else str(error),
    }
    status = HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST
    return Page("compose.html", values | preview_values(visit, channel, said), status)


def preview_values(visit: Visit, channel: Channel, said: Typed) -> dict[str, Any]:
    """What the preview shows: the message, whom it would reach, and what is missing."""
    content: dict[str, Any] = dict(said)
    problem = reached = nobody = None
    try:
        parsed = compose_form.content_of(channel, said)
        content["data"] = parsed.data if isinstance(parsed, Push) else {}
    except MessagingError as error:
        problem, content["data"] = str(error), {}
    try:
        with visit.begin() as connection:
            reached = preview.reach(visit, connection, compose_form.audience_of(channel, said))
            served = channel in audience_search.served_channels(connection, visit.project_number)
    except MessagingError as error:
        nobody, served = str(error), True
    return {
        "preview": preview.shown(channel, content),
        "problem": problem,
        "reach": reached,
        "nobody": nobody,
        "served": served,
    }


def accepted(visit: Visit, made: Accepted) -> Answer:
    """Its hints are published, and its page comes next."""
    visit.desk.leave(made.hints)
    notices = {
        MessageState.DRAFT: "The draft is kept. It is sent when somebody says so.",
        MessageState.SCHEDULED: "The message is scheduled.",
        MessageState.FAILED: "The message could not be sent; the reason stands below.",
    }
    actions = {MessageState.DRAFT: "message.draft", MessageState.SCHEDULED: "message.schedule"}
    return Done(
        f"{visit.home}/messages/{made.public_id}",
        notices.get(made.state, "The message is on its way."),
        made.public_id,
        action=actions.get(made.state),
    )
