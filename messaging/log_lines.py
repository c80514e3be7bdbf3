"""What may stand in a log: sentences and names of ours, never a credential, an address, or a value somebody gave.

The text of an unexpected exception may repeat any of those (PostgreSQL quotes the row, a parser what it could not
read), and structlog's own way to print one shows every local variable. So an exception is told by what it is and where
it was raised; and libraries that write down what they send are kept from it, whatever level is asked for.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

_TALKATIVE: Mapping[str, int] = {
    "httpx": logging.WARNING,  # at INFO every address it calls, query and all
    "httpcore": logging.INFO,  # at DEBUG the headers of answers
    "hpack": logging.INFO,  # at DEBUG every header of APNs and FCM: device tokens and bearer tokens
    "h2": logging.INFO,
    "urllib3": logging.INFO,  # at DEBUG the path of each request
    "google": logging.INFO,  # at DEBUG requests for tokens
    "aiosmtplib": logging.INFO,
    "amqp": logging.INFO,  # at DEBUG what the broker and we say of ourselves
    "kombu": logging.INFO,
    "celery.pool": logging.INFO,  # at DEBUG each task with its body
    "asyncio": logging.INFO,
    "psycopg": logging.INFO,
    "sqlalchemy": logging.WARNING,  # at INFO each statement with its values
    "multipart": logging.INFO,  # at DEBUG the fields of forms
    "python_multipart": logging.INFO,
}
"""Loggers, and the lowest level at which they say nothing of what is sent."""
_CLOSEST = 6
_ROOT = Path(__file__).resolve().parent.parent


def hush() -> None:
    """Keep other people's loggers from writing down what they send; `-l DEBUG` then shows what ours have to say."""
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)


def set_up_logs() -> None:
    """Plain lines on standard output, exceptions told by `outline`; what is too talkative is hushed."""
    hush()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _outlined,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )


def outline(error: BaseException) -> str:
    """What an exception is and where it came from, innermost place first, with its causes; nothing it says."""
    return "; after ".join(_told(each) for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    state = getattr(getattr(error, "orig", error), "sqlstate", None)  # what PostgreSQL calls it
    number = getattr(error, "errno", None)
    told = "".join([name, f" {state}" if state else "", f" errno {number}" if isinstance(number, int) else ""])
    places = " < ".join(_places(error.__traceback__))
    return f"{told} at {places}" if places else told


def _places(found: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(found)[::-1][:_CLOSEST]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(filename: str) -> str:
    path = Path(filename)
    if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
        return str(path.relative_to(_ROOT))
    return "/".join(path.parts[-2:])


def _outlined(_logger: object, _method: str, event: Any) -> Any:  # noqa: ANN401  structlog's event
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    elif isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception_at"] = outline(found)
    return event
