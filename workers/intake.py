"""Turn a Celery task of a producer into a message. Nothing a producer sends kills a worker or vanishes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError

from messaging.channel import Channel, Lane, OnUnknown
from messaging.content import parse_content
from messaging.errors import IdempotencyConflictError, InvalidArgumentError, MessagingError
from messaging.ids import id_for_task, is_valid_id
from messaging.producer import Accepted, accept, record_failed
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.status import MessageState
from messaging.store import intake_keys, messages, projects
from messaging.store.batches import Hint
from messaging.vault import Vault
from messaging.wire import CHANNEL_OF_TASK, Queue, TaskName

_log = structlog.get_logger(__name__)

_LISTS = ("users", "targets", "topics", "addresses", "cc", "bcc")
_TIMES = ("scheduled_at", "expires_at")
_RAW = {"emails": Channel.EMAIL, "phones": Channel.SMS}
"""Other names of `addresses`, by the channel they belong to."""


@dataclass(frozen=True, kw_only=True)
class IntakeTask:
    """A task as it came."""

    task_id: str
    name: TaskName
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any]
    eta: str | None = None
    """ISO 8601; the time before which Celery would not have run the task."""
    expires: str | None = None
    """ISO 8601; after it Celery would have thrown the task away."""
    queue: str = Queue.INTAKE
    unreadable: str | None = None
    """Why its body could not be read, if it could not."""


@dataclass(frozen=True)
class Taken:
    """What came of it."""

    message_id: str
    hints: Sequence[Hint] = ()


class RefusedError(MessagingError):
    """The task can't become a message, nor even a failed one; it is counted and logged."""


def take(engine: Engine, vault: Vault, settings: Settings, task: IntakeTask) -> Taken:
    """The message a task became; a repeated task is the same message. Raises `RefusedError`."""
    public_id = _message_id(task)
    reason: MessagingError
    try:
        with engine.begin() as connection:
            return _accept(connection, vault, settings, task, public_id)
    except IdempotencyConflictError as error:
        raise _refused(engine, task, error) from None
    except MessagingError as error:
        reason = error
    except (DataError, UnicodeError):  # its own text would repeat the value
        reason = InvalidArgumentError("kwargs", "hold a character that can't be stored: NUL, or half a surrogate pair")
    _log.warning("A task's message failed.", task_id=task.task_id, task=task.name, reason=str(reason))
    try:
        with engine.begin() as connection:
            project_id = projects.find(connection, _queue_project(task.queue, settings))
            before = intake_keys.reserve(connection, project_id, _key(task), _body_hash(task), public_id)
            if before is None:
                record_failed(
                    connection,
                    project_id,
                    public_id=public_id,
                    channel=CHANNEL_OF_TASK[task.name],
                    failure=str(reason).replace("\0", "\ufffd").encode(errors="replace").decode(),
                    named={"task": task.name},
                )
            return Taken(before or public_id)
    except MessagingError as error:
        raise _refused(engine, task, error) from None


def _accept(connection: Connection, vault: Vault, settings: Settings, task: IntakeTask, public_id: str) -> Taken:
    project_id = projects.find(connection, _project(task, settings))
    intake_keys.lock(connection, _key(task))
    before = intake_keys.reserve(connection, project_id, _key(task), _body_hash(task), public_id)
    if before is not None:
        return Taken(before)
    accepted: Accepted = accept(connection, vault, settings, project_id, replace(request_of(task), id=public_id))
    if intake_keys.is_revoked(connection, _key(task)) and not accepted.state.is_finished:
        messages.cancel(connection, project_id, public_id)
        return Taken(public_id)
    return Taken(public_id, accepted.hints)


def request_of(task: IntakeTask) -> SendRequest:
    """The request a task's arguments describe; raises `InvalidArgumentError` or `ContentError`."""
    channel = CHANNEL_OF_TASK[task.name]
    if task.unreadable:
        raise InvalidArgumentError("body", task.unreadable)
    if task.args:
        raise InvalidArgumentError("args", "give everything as keyword arguments: kwargs={...}")
    rest = {name: value for name, value in task.kwargs.items() if value is not None}
    for known in ("project", "message_id"):
        rest.pop(known, None)
    for name, its_channel in _RAW.items():
        if name in rest and channel is its_channel:
            rest["addresses"] = [*_strings("addresses", rest.get("addresses", ())), *_strings(name, rest.pop(name))]
    lists = {name: tuple(_strings(name, rest.pop(name, ()))) for name in _LISTS}
    times = {name: _time(name, rest.pop(name, None)) for name in _TIMES}
    eta, expires = _time("eta", task.eta), _time("expires", task.expires)
    late = eta if times["scheduled_at"] is None else None
    on_unknown = _one_of("on_unknown", rest.pop("on_unknown", None), OnUnknown)
    lane = _one_of("lane", rest.pop("lane", None), Lane)
    draft = rest.pop("draft", False)
    if not isinstance(draft, bool):
        raise InvalidArgumentError("draft", "is true or false")
    return SendRequest(
        content=parse_content(channel, rest),
        users=lists["users"],
        targets=lists["targets"],
        topics=lists["topics"],
        addresses=lists["addresses"],
        cc=lists["cc"],
        bcc=lists["bcc"],
        scheduled_at=times["scheduled_at"] or eta,
        expires_at=times["expires_at"] or expires,
        on_unknown=None if on_unknown is None else OnUnknown(on_unknown),
        lane=None if lane is None else Lane(lane),
        draft=draft,
        allow_past_schedule=late is not None,
    )


def cancel(engine: Engine, settings: Settings, *, message_id: str, project: str | None = None) -> MessageState:
    """Cancel a message durably, whatever its state; raises `NotFoundError` or `ConflictError`."""
    with engine.begin() as connection:
        project_id = projects.find(connection, project or settings.project)
        return messages.cancel(connection, project_id, message_id)


def revoke(engine: Engine, task_ids: Sequence[str]) -> list[str]:
    """What Celery's `revoke` asks: messages not begun are cancelled; a task not yet seen is remembered."""
    done = []
    for task_id in task_ids:
        key = f"task:{task_id}"
        with engine.begin() as connection:
            intake_keys.lock(connection, key)
            found = intake_keys.find(connection, key)
            if not found:
                intake_keys.revoke(connection, key)
                done.append(task_id)
            for project_id, public_id in found:
                if messages.state_of(connection, project_id, public_id) in {MessageState.DRAFT, MessageState.SCHEDULED}:
                    messages.cancel(connection, project_id, public_id)
                    done.append(task_id)
    return done


def _message_id(task: IntakeTask) -> str:
    given = task.kwargs.get("message_id")
    return given if isinstance(given, str) and is_valid_id(given) else id_for_task(task.task_id)


def _queue_project(queue: str, settings: Settings) -> str:
    """Access to a queue is access to its project."""
    own = {Queue.INTAKE, Queue.INTAKE_HIGH, *settings.intake_queues}
    if queue in own or not queue.startswith(f"{Queue.INTAKE}."):
        return settings.project
    return queue.removeprefix(f"{Queue.INTAKE}.")


def _project(task: IntakeTask, settings: Settings) -> str:
    of_queue = _queue_project(task.queue, settings)
    given = task.kwargs.get("project")
    if given is not None and given != of_queue:
        raise InvalidArgumentError("project", f"queue '{task.queue}' belongs to project '{of_queue}', not to {given!r}")
    message_id = task.kwargs.get("message_id")
    if message_id is not None and not (isinstance(message_id, str) and is_valid_id(message_id)):
        raise InvalidArgumentError(
            "message_id", "an id is 1 to 36 of A-Z a-z 0-9 . _ - and starts with a letter or digit"
        )
    return of_queue


def _key(task: IntakeTask) -> str:
    return f"task:{task.task_id}"


def _body_hash(task: IntakeTask) -> bytes:
    said = [task.name, task.args, task.kwargs, task.eta, task.expires]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).digest()


def _refused(engine: Engine, task: IntakeTask, error: MessagingError) -> RefusedError:
    _log.error("A task was refused.", task_id=task.task_id, task=task.name, reason=str(error))
    with engine.begin() as connection:
        intake_keys.refuse(connection, task_id=task.task_id, task_name=task.name, reason=str(error))
    return RefusedError(str(error))


def _strings(argument: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    raise InvalidArgumentError(argument, "is a list of texts")


def _time(argument: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None:
        raise InvalidArgumentError(argument, f"{value!r} is not a time such as 2026-11-23T09:00:00+00:00")
    # Celery writes UTC; a time without a zone is taken as that
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _one_of(argument: str, value: object, kind: type[Lane | OnUnknown]) -> str | None:
    if value is None:
        return None
    if value not in list(kind):
        raise InvalidArgumentError(argument, f"is one of {', '.join(kind)}")
    return str(value)
