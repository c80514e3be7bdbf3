"""One message: how far it is, what it says and to whom, why it failed, and what can be done to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sqlalchemy import text

from messaging.console import preview
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.drafts import UNSENT
from messaging.console.message_list import number, targets_named
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import NotFoundError
from messaging.status import DeliveryStatus
from messaging.store import received, recipients
from messaging.store.messages import MessageView
from messaging.store.operators import OperatorRole
from messaging.store.recipients import START, Place, RecipientPage

pages = Pages()
_LIMIT = 50


@pages.get("/p/{project}/messages/{message}")
def show(visit: Visit) -> Answer:
    """The message with a page of its recipients."""
    return _shown(visit, visit.messaging.get(visit.places["message"]))


@pages.get("/p/{project}/messages/{message}/progress")
def progress(visit: Visit) -> Answer:
    """The part of it that moves."""
    message = visit.messaging.get(visit.places["message"])
    has_moved = visit.query.get("state") != message.state  # other buttons are due
    return Page("message_progress.html", {"message": message, "has_moved": has_moved})


@pages.get("/p/{project}/messages/{message}/frame")
def frame(visit: Visit) -> Answer:
    """An email's body as its readers see it."""
    return preview.frame(visit.messaging.get(visit.places["message"]).content)


def _shown(visit: Visit, message: MessageView) -> Page:
    said = visit.query.get("status", "")
    status = DeliveryStatus(said) if said in set(DeliveryStatus) else None
    ids = visit.query.get("targets", "")
    with visit.begin() as connection:
        limit_time(connection)
        if ids:
            held = received.of_ids(connection, visit.project_number, ids.split(","))
            rows = recipients.of_targets(connection, message, [each.number for each in held])
            page = RecipientPage(rows=rows, after=None)
        else:
            after = _place(visit.query.get("after", ""))
            page = recipients.page(connection, message, status=status, after=after, limit=_LIMIT)
        reasons = recipients.reasons(connection, message)
    values: dict[str, Any] = {
        "message": message,
        "page": page,
        "status": status,
        "statuses": list(DeliveryStatus),
        "targets": ids,
        "further": None if page.after is None else _further(status, page.after),
        "reasons": reasons,
        "preview": preview.shown(message.channel, message.content),
        "is_unsent": message.state in UNSENT,
        "has_moved": False,
    }
    return Page("message.html", values)


@pages.post("/p/{project}/messages/{message}/find", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """From an address to its row among the recipients."""
    message = visit.messaging.get(visit.places["message"])
    return Done(f"{visit.home}/messages/{message.id}?{targets_named(visit)}#recipients")


def _further(status: DeliveryStatus | None, after: Place) -> str:
    asked = {} if status is None else {"status": str(status)}
    return "?" + urlencode(asked | {"after": f"{after.batch}.{after.target}"}) + "#recipients"


def _place(said: str) -> Place:
    batch, target = (number(part) for part in said.partition(".")[::2])
    return START if batch is None or target is None else Place(batch, target)


@pages.post("/p/{project}/messages/{message}/cancel", action="message.cancel")
def cancel(visit: Visit) -> Answer:
    """Stop it."""
    visit.messaging.cancel(visit.places["message"])
    return _done(visit, "The message is cancelled. What is at the provider already may still arrive.")


@pages.post("/p/{project}/messages/{message}/pause", action="message.pause")
def pause(visit: Visit) -> Answer:
    """Hold it."""
    visit.messaging.pause(visit.places["message"])
    return _done(visit, "The message is paused: no more than a batch is still being sent.")


@pages.post("/p/{project}/messages/{message}/resume", action="message.resume")
def resume(visit: Visit) -> Answer:
    """Go on."""
    visit.messaging.resume(visit.places["message"])
    return _done(visit, "The message goes on with exactly the rest.")


@pages.post("/p/{project}/messages/{message}/retry", action="message.retry")
def retry(visit: Visit) -> Answer:
    """Send what failed again, for one reason or for all."""
    codes = [code for code in visit.lists.get("code", []) if code]
    retried = visit.messaging.retry_failed(visit.places["message"], codes=codes)
    said = f"{retried.deliveries:,} failed deliveries are sent again."
    if retried.unserved:
        said += f" {retried.unserved:,} stay failed: no enabled provider may take them."
    details = {"codes": codes, "deliveries": retried.deliveries}
    return Done(f"{visit.home}/messages/{visit.places['message']}", said, visit.places["message"], details)


def _done(visit: Visit, notice: str) -> Done:
    return Done(f"{visit.home}/messages/{visit.places['message']}", notice, visit.places["message"])


# -- from Flower and logs --------------------------------------------------------------------------


@pages.get("/go/{number}")
def go(visit: Visit) -> Answer:
    """From a number in a task to its message."""
    return _by_number(
        visit,
        "SELECT p.public_id AS project, m.public_id AS message FROM messages m"
        " JOIN projects p ON p.id = m.project_id WHERE m.id = :number AND m.deleted_at IS NULL",
    )


@pages.get("/batches/{batch}")
def batch(visit: Visit) -> Answer:
    """From a batch in a task to its message."""
    return _by_number(
        visit,
        "SELECT p.public_id AS project, m.public_id AS message FROM batches b"
        " JOIN messages m ON m.id = b.message_id JOIN projects p ON p.id = m.project_id"
        " WHERE b.id = :number AND m.deleted_at IS NULL LIMIT 1",
    )


def _by_number(visit: Visit, query: str) -> Answer:
    (said,) = visit.places.values()
    found = number(said)
    row = None
    if found is not None:
        with visit.begin() as connection:
            limit_time(connection)
            row = connection.execute(text(query), {"number": found}).one_or_none()
    if row is None:
        raise NotFoundError("batch or message", said)
    return Done(f"/console/p/{row.project}/messages/{row.message}")
