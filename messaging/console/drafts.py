"""Messages that wait: changed, sent now, put to another time, deleted."""

from __future__ import annotations

from dataclasses import replace

from messaging.console import compose_form
from messaging.console.answers import Answer, Done
from messaging.console.compose_page import LOOKING, accepted, form
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import MessagingError, StateConflictError
from messaging.producer import Accepted, revise
from messaging.status import MessageState
from messaging.store import message_changes
from messaging.store.messages import MessageView
from messaging.store.operators import OperatorRole

pages = Pages()
UNSENT = frozenset({MessageState.DRAFT, MessageState.SCHEDULED})


@pages.get("/p/{project}/messages/{draft}/edit", role=OperatorRole.OPERATOR)
def edit(visit: Visit) -> Answer:
    """The form of a message that has not been sent."""
    message = _unsent(visit)
    return form(visit, message.channel, _typed(message), message=message)


@pages.post("/p/{project}/messages/{draft}/edit", action="message.send")
def change(visit: Visit) -> Answer:
    """Send what the form says, or keep it."""
    message = visit.messaging.get(visit.places["draft"])
    said = compose_form.typed(visit)
    if said.get("do") in LOOKING:
        return form(visit, message.channel, said, message=message)
    try:
        made = _revised(visit, said, message, draft=said.get("do") == "draft")
    except StateConflictError as error:
        return _too_late(visit, error)
    except MessagingError as error:
        return form(visit, message.channel, said, message=message, error=error)
    return accepted(visit, made)


@pages.post("/p/{project}/messages/{draft}/send", action="message.send")
def send(visit: Visit) -> Answer:
    """Send it now, as it is."""
    return _released(visit, {"when": "now"})


@pages.post("/p/{project}/messages/{draft}/reschedule", action="message.schedule")
def reschedule(visit: Visit) -> Answer:
    """Send it at another time."""
    return _released(visit, {"when": "at", "at": visit.text("at")})


@pages.post("/p/{project}/messages/{draft}/delete", action="message.delete")
def delete(visit: Visit) -> Answer:
    """Away with it, as long as nobody has got it."""
    try:
        message = _unsent(visit)
        with visit.begin() as connection:
            message_changes.lock_unsent(connection, visit.project_number, message.id)
            message_changes.delete(connection, visit.project_number, message.id)
    except StateConflictError as error:
        return _too_late(visit, error)
    return Done(f"{visit.home}/messages", "The message is deleted; nobody got it.", message.id)


def _unsent(visit: Visit) -> MessageView:
    message = visit.messaging.get(visit.places["draft"])
    if message.state not in UNSENT:
        raise StateConflictError(message.state, f"The message is {message.state}; only what waits can be changed.")
    return message


def _typed(message: MessageView) -> dict[str, str]:
    said = compose_form.typed_of(message)
    if "expires_at" in message.audience:  # somebody chose it
        lives_s = (message.expires_at - (message.scheduled_at or message.updated_at)).total_seconds()
        said["expires"] = str(max(1, round(lives_s / 3600)))
    if message.scheduled_at is not None:
        said |= {"when": "at", "at": f"{message.scheduled_at:%Y-%m-%dT%H:%M}"}
    return said


def _released(visit: Visit, time: dict[str, str]) -> Answer:
    try:
        message = _unsent(visit)
        made = _revised(visit, {**_typed(message), **time}, message, draft=False)
    except StateConflictError as error:
        return _too_late(visit, error)
    return accepted(visit, made)


def _revised(visit: Visit, said: dict[str, str], message: MessageView, *, draft: bool) -> Accepted:
    context = visit.desk.context
    with visit.begin() as connection:
        unsent = message_changes.lock_unsent(connection, visit.project_number, message.id)
        request = compose_form.request_of(visit, connection, message.channel, said, draft=draft)
        request = replace(request, id=unsent.public_id)
        return revise(connection, context.vault, context.settings, unsent, request)


def _too_late(visit: Visit, error: StateConflictError) -> Answer:
    return Done(f"{visit.home}/messages/{visit.places['draft']}", f"Nothing was changed: {error}", action="")
