"""What forms have in common: reading fields, and saying beside each what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from messaging.console.answers import Page
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError, MessagingError

Errors = Mapping[str, str]
"""Name of a field → what is wrong with it; the empty name: with the form."""


def errors_of(error: MessagingError) -> Errors:
    """What to say beside the fields; an error that names no argument is the form's."""
    if isinstance(error, InvalidArgumentError):
        return {error.argument.rpartition(".")[2]: error.problem}
    return {"": str(error)}


def refused(template: str, values: Mapping[str, Any], errors: Errors) -> Page:
    """The form again, with what was typed and what is wrong."""
    return Page(template, dict(values) | {"errors": errors}, HTTPStatus.BAD_REQUEST)


def whole_number(visit: Visit, name: str) -> int | None:
    """The number in a field, or None for an empty one; raises `InvalidArgumentError`."""
    said = visit.text(name)
    if not said:
        return None
    try:
        return int(said)
    except ValueError:
        raise InvalidArgumentError(name, f"'{said[:20]}' is no whole number") from None


def point_in_time(visit: Visit, name: str) -> datetime | None:
    """The time in a field of the kind `datetime-local`, which is UTC here; None for an empty one.

    Raises `InvalidArgumentError`.
    """
    said = visit.text(name)
    if not said:
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise InvalidArgumentError(name, f"'{said[:40]}' is no time; write 2026-11-24T09:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
