"""What comes off a queue, looked at before Celery does: a task of ours in plain JSON, or refused with the reason.

Celery reads a task in two protocols (https://docs.celeryq.dev/en/stable/internals/protocol.html), and much of what a
stranger can write into either ends its worker. Here both become the newer one, with headers of the right types. Where
tasks are signed, a producer's must be in the older protocol, in which id, name, `eta` and `expires` are part of the
body and so of what is signed; else whoever reads the queue could send a task again under another id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from messaging.task_signatures import CONTENT_TYPE, SignatureError, Trusted
from messaging.wire import PRODUCERS_TASKS, TaskName, project_of_queue

ETA_HEADER = "messaging_eta"
EXPIRES_HEADER = "messaging_expires"
UNREADABLE_HEADER = "messaging_unreadable"
SIGNED_UNTIL_HEADER = "messaging_signed_until"
_OURS = (ETA_HEADER, EXPIRES_HEADER, UNREADABLE_HEADER, SIGNED_UNTIL_HEADER)

_JSON = "application/json"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_EMPTY = b"[[], {}, {}]"
_NAME = re.compile(r"[\w.:@/ -]{1,200}", re.ASCII)
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_FROM_BODY = ("group", "group_index", "retries", "timelimit", "eta", "expires")
"""What the older protocol has in the body, and the newer in headers."""


@dataclass(frozen=True, kw_only=True)
class Came:
    """A message as the broker handed it out."""

    body: bytes | str
    content_type: str | None
    content_encoding: str | None
    headers: object
    tag: str
    """Names the message where it has no id; the same when it is handed out again."""
    queue: str
    correlation_id: object = None
    """The task's id as Celery's producers repeat it, for what has none in its headers."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that Celery can read."""

    headers: dict[str, Any]
    body: bytes | None
    """JSON in UTF-8; None where it stays as it came."""


class Refused(Exception):  # noqa: N818  an answer, not an error of ours
    """The message is no task to be done here; the text says why and repeats nothing of its body."""


class Admission:
    """Decides for a worker that knows the tasks `known`; only signed ones where `trusted` is given."""

    def __init__(self, known: Collection[str], *, trusted: Trusted | None, project: str) -> None:
        self._known = frozenset(known)
        self._trusted = trusted
        self._project = project

    def admit(self, came: Came) -> Task:
        """The task to do: what came, or `messaging.refused` with its id, its name and the reason. Never raises."""
        try:
            return self._plain(came) if self._trusted is None else self._signed(came, self._trusted)
        except Refused as refusal:
            reason = str(refusal)
        except Exception as error:  # noqa: BLE001  whatever a decoder raises; its text would repeat the body
            reason = f"can't be read as a task ({type(error).__name__})"
        headers = came.headers if isinstance(came.headers, dict) else {}
        name = _shown(headers.get("task"))
        task_id = _shown(headers.get("id")) or _shown(came.correlation_id) or _shown(came.tag) or "?"
        arguments = [[task_id, name or "?", reason], {}, {}]
        own = {
            "id": task_id,
            "task": str(TaskName.REFUSED),
            "lang": "py",
            "retries": 0,
            "argsrepr": "",
            "kwargsrepr": "",
        }
        return Task(headers=own, body=json.dumps(arguments).encode())

    def _plain(self, came: Came) -> Task:
        headers = dict(came.headers) if isinstance(came.headers, dict) else {}
        document, failure = _read(came)
        if isinstance(document, dict) and "args" in document:
            document, headers = _newer(document, headers)
            body: bytes | None = json.dumps(document).encode()
        else:
            body = None if (came.content_encoding or "utf-8").lower() in _UTF8 else json.dumps(document).encode()
        self._require_known(headers.get("task"))
        for ours in _OURS:
            headers.pop(ours, None)
        if failure is None and not _is_task(document):
            failure = "can't be read as a task: it is not [args, kwargs, embed]"
        if failure is not None:
            if headers["task"] not in PRODUCERS_TASKS:
                raise Refused(failure)
            headers[UNREADABLE_HEADER], body = failure, _EMPTY  # becomes a failed message with that reason
        if not isinstance(headers.get("id"), str) or not headers["id"]:
            headers["id"] = came.tag
        return Task(headers=_typed(headers), body=body)

    def _signed(self, came: Came, trusted: Trusted) -> Task:
        if came.content_type != CONTENT_TYPE:
            raise Refused("it is not signed, and this broker takes signed tasks only: docs/howto/sign-tasks.md")
        try:
            signed = trusted.open(came.body)
        except SignatureError as error:
            raise Refused(f"refused: {error}") from None
        document = json.loads(signed.body)
        outer = came.headers if isinstance(came.headers, dict) else {}
        complete = isinstance(document, dict) and "args" in document
        if complete:
            document, headers = _newer(document, {})
        else:
            names = ("id", "task", "shadow", "argsrepr", "kwargsrepr", "root_id")
            headers = {name: outer[name] for name in names if name in outer}
        name = headers.get("task")
        self._require_known(name)
        if not _is_task(document):
            raise Refused("can't be read as a task: it is not [args, kwargs, embed]")
        if not isinstance(headers.get("id"), str) or not headers["id"]:
            raise Refused("it has no id")
        if name not in PRODUCERS_TASKS:
            if not signed.own:
                raise Refused("the certificate is a producer's, and the task is one of ours alone")
        elif not complete:
            raise Refused("its id, name and times are not signed: set task_protocol = 1 (docs/howto/sign-tasks.md)")
        elif project_of_queue(came.queue, self._project) not in signed.projects:
            raise Refused("the certificate is not one of this queue's project")
        else:
            headers[SIGNED_UNTIL_HEADER] = signed.until.isoformat()
        return Task(headers=_typed(headers), body=json.dumps(document).encode())

    def _require_known(self, name: object) -> None:
        if not isinstance(name, str) or name not in self._known or name == TaskName.REFUSED:
            raise Refused(f"There is no task '{_shown(name) or '?'}' here.")


def _read(came: Came) -> tuple[Any, str | None]:
    """What the body holds, or why it can't be read. JSON only: nothing else is so much as decoded."""
    if came.content_type != _JSON:
        return None, "can't be read as a task: it is not JSON"
    try:
        encoding = came.content_encoding or "utf-8"
        text = came.body if isinstance(came.body, str) else bytes(came.body).decode(encoding)
        return json.loads(text), None
    except Exception as error:  # noqa: BLE001  whatever a decoder raises; its text would repeat the body
        return None, f"can't be read as a task ({type(error).__name__})"


def _newer(document: Mapping[str, Any], headers: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Body and headers of the newer protocol. What the older has in its body goes before its headers."""
    moved = {name: document[name] for name in ("task", "id", *_FROM_BODY) if document.get(name) is not None}
    embed = {name: document.get(name) for name in _EMBEDDED}
    args, kwargs = document.get("args"), document.get("kwargs")
    return [[] if args is None else args, {} if kwargs is None else kwargs, embed], {"lang": "py", **headers, **moved}


def _is_task(document: object) -> bool:
    return (
        isinstance(document, list)
        and len(document) == 3  # noqa: PLR2004  args, kwargs, embed
        and isinstance(document[0], list)
        and isinstance(document[1], dict)
        and isinstance(document[2], dict | None)
    )


def _typed(headers: dict[str, Any]) -> dict[str, Any]:
    """The headers without those Celery would stumble over; a producer's times as headers of ours."""
    if not _is_count(headers.get("retries", 0)):
        headers["retries"] = 0
    limits = headers.get("timelimit")
    if not (isinstance(limits, list) and len(limits) == 2 and all(each is None or _is_count(each) for each in limits)):  # noqa: PLR2004  hard and soft
        headers["timelimit"] = [None, None]
    for name in ("root_id", "parent_id", "group", "shadow", "origin", "argsrepr", "kwargsrepr"):
        if not isinstance(headers.get(name, ""), str):
            headers[name] = None
    if headers["task"] in PRODUCERS_TASKS:
        for theirs, ours in (("eta", ETA_HEADER), ("expires", EXPIRES_HEADER)):
            value = headers.pop(theirs, None)
            if value is not None:
                headers[ours] = value if isinstance(value, str) else repr(value)
    else:
        headers.pop("eta", None)
        headers.pop("expires", None)
    return headers


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9


def _shown(value: object) -> str:
    """The value where it is fit to be shown and kept, else nothing."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""
