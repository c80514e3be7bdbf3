"""What Celery tells of a task, in logs and events and so in Flower: which one and how it ended, never what it says.

A producer's arguments hold addresses and texts, and so does the text of an exception. Celery 5.7 puts both into its
events (`task-received`, `task-failed`), into what a worker answers when asked what it does (`inspect active`), and into
its log lines.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from celery import Task as CeleryTask
from celery.worker.request import Request as CeleryRequest

from messaging.log_lines import outline
from messaging.wire import PRODUCERS_TASKS

HIDDEN = "(not shown)"
_NAMES_A_ROW = re.compile(r"\(?[0-9a-z:_-]{0,64},?\)?", re.ASCII)
"""The arguments of our own tasks; anybody at the broker may send such a task with others."""
_TOLD_BY_ITS_NAME = frozenset({"exception", "traceback", "result"})
"""Fields of an event that repeat what was raised or returned."""


class Request(CeleryRequest):  # type: ignore[misc, unused-ignore]  # Celery's is untyped
    """A task in a worker, of which others hear no more than they need."""

    # Celery's own, which its types don't tell
    _request_dict: dict[str, Any]
    _argsrepr: str | None
    _kwargsrepr: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        if self.task.name in PRODUCERS_TASKS or not _NAMES_A_ROW.fullmatch(self._argsrepr or ""):
            self._argsrepr = self._kwargsrepr = HIDDEN
            self._request_dict |= {"argsrepr": HIDDEN, "kwargsrepr": HIDDEN}

    def info(self, safe: bool = False) -> Any:  # noqa: ANN401, ARG002, FBT001, FBT002  Celery's signature
        """What is shown of it, as it would be to strangers: its arguments by what stands for them."""
        return super().info(safe=True)

    def send_event(self, type: str, **fields: Any) -> Any:  # noqa: A002, ANN401  Celery's signature
        """Tell of it without the text of an exception."""
        if type in {"task-failed", "task-retried"}:
            said = str(fields.get("exception", "")).partition("(")[0]
            fields |= dict.fromkeys(_TOLD_BY_ITS_NAME & fields.keys(), said)
        return super().send_event(type, **fields)


class Task(CeleryTask):  # type: ignore[type-arg]  # Celery's takes no type arguments at run time
    """A task of which others hear no more than they need."""

    Request = "workers.quiet:Request"


class Reticent(logging.Filter):
    """Takes from Celery's lines the text of exceptions, and the bodies and headers of messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record is changed."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(record.args, dict) and {"exc", "traceback"} <= record.args.keys():
            # celery/app/trace.py: "Task %(name)s[%(id)s] %(description)s: %(exc)s\n%(traceback)s"
            told = outline(error) if error is not None else str(record.args["exc"]).partition("(")[0]
            record.args = record.args | {"exc": told, "traceback": "", "args": HIDDEN, "kwargs": HIDDEN}
        elif error is not None:
            record.msg, record.args = f"{_first_words(record)}: {outline(error)}", ()
        record.exc_info = None
        record.exc_text = None
        return True


_RETICENT = ("celery.app.trace", "celery.worker.consumer.consumer", "celery.worker.request", "celery.worker.loops")


def keep_quiet() -> None:
    """Put the filter on Celery's loggers; done again, nothing changes."""
    for name in _RETICENT:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Reticent) for each in logger.filters):
            logger.addFilter(Reticent())


def _first_words(record: logging.LogRecord) -> str:
    """The line's own words, up to where it would insert something."""
    return str(record.msg).partition("%")[0].strip(" :\n'\"(") or "An error"
