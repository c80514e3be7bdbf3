"""The recipients of a message as a CSV file, written while it is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime

from messaging.console.answers import Answer, Download
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.receipt import Event
from messaging.status import DeliveryStatus
from messaging.store import delivery_events, recipients
from messaging.store.delivery_events import EventView
from messaging.store.messages import MessageView
from messaging.store.recipients import START, RecipientView

pages = Pages()
_PAGE = 1000
_TOLD = (
    Event.DELIVERED,
    Event.BOUNCED_HARD,
    Event.BOUNCED_SOFT,
    Event.REJECTED,
    Event.COMPLAINED,
    Event.UNSUBSCRIBED,
    Event.OPENED,
    Event.CLICKED,
)
"""Events with a column of their own: when it happened first."""
COLUMNS = (
    "message_id",
    "delivery_id",
    "recipient",
    "target_id",
    "user_id",
    "channel",
    "role",
    "status",
    "provider_id",
    "provider_message_id",
    "attempts",
    "attempts_of_unknown_outcome",
    "error_code",
    "error",
    "queued_at",
    "accepted_at",
    "next_try_at",
    "changed_at",
    *(f"{event}_at" for event in _TOLD),
)


@pages.post("/p/{project}/messages/{message}/export", action="message.export")
def export(visit: Visit) -> Answer:
    """Every recipient, or those of one status. A form, not a link: data leaves the house, and the audit log says so."""
    message = visit.messaging.get(visit.places["message"])
    said = visit.text("status")
    status = DeliveryStatus(said) if said in set(DeliveryStatus) else None
    name = f"{message.id}{f'-{status}' if status else ''}.csv"
    return Download(
        name, rows(visit, message, status), subject=message.id, details={"status": str(status) if status else "all"}
    )


def rows(visit: Visit, message: MessageView, status: DeliveryStatus | None) -> Iterator[str]:
    """The file, a page of recipients at a time; between two pages no connection is held."""
    yield _written([COLUMNS])
    after = START
    while True:
        with visit.begin() as connection:
            page = recipients.page(connection, message, status=status, after=after, limit=_PAGE)
            targets = [row.place.target for row in page.rows]
            month, number = message.month, message.number
            told = {} if month is None else delivery_events.of_deliveries(connection, month, number, targets)
        yield _written([_cells(message, row, told.get(row.place.target, [])) for row in page.rows])
        if page.after is None:
            return
        after = page.after


def _cells(message: MessageView, recipient: RecipientView, told: Sequence[EventView]) -> list[str]:
    row = recipient.delivery
    first = {each.event: each.at for each in reversed(told)}
    return [
        message.id,
        row.id,
        row.identifier or "",
        row.target_id or "",
        recipient.user_id or "",
        message.channel,
        row.role,
        row.status,
        row.provider_id or "",
        row.provider_message_id or "",
        str(row.attempts),
        str(row.doubts),
        row.error_code or "",
        row.error or "",
        *map(_time, (row.created_at, row.accepted_at, row.due_at, row.updated_at)),
        *(_time(first.get(event)) for event in _TOLD),
    ]


def _time(at: datetime | None) -> str:
    return "" if at is None else at.isoformat(timespec="seconds")


def _written(lines: Sequence[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([[_harmless(cell) for cell in line] for line in lines])
    return written.getvalue()


def _harmless(cell: str) -> str:
    """A spreadsheet takes what begins like this for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
