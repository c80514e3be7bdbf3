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

from messaging import tracing
from messaging.channel import Channel, Lane, OnUnknown
from messaging.content import parse_content
from messaging.errors import IdempotencyConflictError, InvalidArgumentError, MessagingError, NotFoundError
from messaging.ids import id_for_task, is_valid_id
from messaging.producer import accept, accepted_at_once, record_failed, small_message
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.status import MessageState
from messaging.store import intake_keys, messages, projects, quarantine, starts
from messaging.store.accept_small import Small
from messaging.store.batches import Hint
from messaging.vault import Vault
from messaging.wire import CHANNEL_OF_TASK, Queue, TaskName, project_of_queue
from workers.metrics import road

_log = structlog.get_logger(__name__)

_LISTS = ("users", "targets", "topics", "addresses", "cc", "bcc")
_TIMES = ("scheduled_at", "expires_at")
_RAW = {"emails": Channel.EMAIL, "phones": Channel.SMS}
"""Other names of `addresses`, by the channel they belong to."""
_FOUND_THERE = 0
"""In place of a project's number that the database finds by its name."""


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
    again: bool = False
    """It was handed out before: whoever had it may have died of it."""
    signed_until: datetime | None = None
    """When the certificate runs out that it is signed with: until then a copy of it could be sent again."""
    traceparent: str | None = None
    """The span it was sent in."""


@dataclass(frozen=True)
class Taken:
    """What came of it."""

    message_id: str
    hints: Sequence[Hint] = ()


class RefusedError(MessagingError):
    """The task can't become a message, nor even a failed one; it is counted and logged."""


def take(engine: Engine, vault: Vault, settings: Settings, task: IntakeTask) -> Taken:
    """The message a task became; a repeated task is the same message. Raises `RefusedError`.

    One that was handed out again and again because its worker never lived to end it is put aside after `max_deaths`.
    """
    with tracing.span("intake", task.traceparent, root=True, task=task.name) as span:
        try:
            within = replace(task, traceparent=None if span is None else span.traceparent)
            taken = _take_or_put_aside(engine, vault, settings, within)
        except RefusedError:
            road().intake_tasks.labels(task.name, "refused").inc()
            raise
        if span is not None:
            span.say(message_id=taken.message_id)
    road().intake_tasks.labels(task.name, "accepted").inc()
    return taken


def _take_or_put_aside(engine: Engine, vault: Vault, settings: Settings, task: IntakeTask) -> Taken:
    if not task.again:
        return _take(engine, vault, settings, task)
    with engine.begin() as connection:
        times = starts.note(connection, _key(task))
    with starts.ending(engine, _key(task)):
        if times >= settings.max_deaths:  # the first time, nothing was known against it
            raise _put_aside(engine, vault, settings, task, deaths=times)
        return _take(engine, vault, settings, task)


def _put_aside(engine: Engine, vault: Vault, settings: Settings, task: IntakeTask, *, deaths: int) -> RefusedError:
    said = {"name": task.name, "args": task.args, "kwargs": task.kwargs, "eta": task.eta, "expires": task.expires}
    try:
        with engine.begin() as connection:
            quarantine.put_aside_task(
                connection,
                vault,
                projects.find(connection, _queue_project(task.queue, settings)),
                task_id=task.task_id,
                task_name=task.name,
                said=said | {"queue": task.queue, "unreadable": task.unreadable},
                deaths=deaths,
            )
    except MessagingError as error:
        return _refused(engine, task, error)
    road().quarantined.labels(quarantine.What.TASK).inc()
    _log.error("A task that ends its worker was put aside.", task_id=task.task_id, task=task.name, deaths=deaths)
    return RefusedError(f"The task ended its worker {deaths} times and was put aside: `messaging quarantine list`.")


def replay(engine: Engine, vault: Vault, settings: Settings, number: str) -> Taken | None:
    """The message a task became that was put aside, once an operator asks; None where there is nothing to do.

    It leaves the quarantine when it is taken, or refused for a reason. If its worker dies, it stays there.
    """
    with engine.begin() as connection:
        kept = quarantine.kept_task(connection, vault, number)
    if kept is None or not isinstance(kept.said, Mapping):
        return None
    said = dict(kept.said)
    name = TaskName(said.pop("name"))
    try:
        taken = _take(engine, vault, settings, IntakeTask(task_id=kept.task_id, name=name, **said))
    except RefusedError:
        taken = None
    with engine.begin() as connection:
        quarantine.forget(connection, kept.number)
    return taken


def _take(engine: Engine, vault: Vault, settings: Settings, task: IntakeTask) -> Taken:
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
    _log.warning("A task's message failed.", task_id=task.task_id, task=task.name, reason=unquoted(reason))
    try:
        with engine.begin() as connection:
            project_id = projects.find(connection, _queue_project(task.queue, settings))
            before = intake_keys.reserve(
                connection, project_id, _key(task), _body_hash(task), public_id, at_least_until=task.signed_until
            )
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
    project, small = _project(task, settings), _small(settings, task, public_id)
    known = intake_keys.enter(
        connection,
        project,
        _key(task),
        _body_hash(task),
        public_id,
        at_least_until=task.signed_until,
        small=small,
    )
    if known.before is not None:
        return Taken(known.before)
    accepted = None if small is None else accepted_at_once(small, known.accepted)
    if accepted is None:
        accepted = accept(connection, vault, settings, known.project_id, replace(request_of(task), id=public_id))
    if known.is_revoked and not accepted.state.is_finished:
        messages.cancel(connection, known.project_id, public_id)
        return Taken(public_id)
    return Taken(public_id, accepted.hints)


def _small(settings: Settings, task: IntakeTask, public_id: str) -> Small | None:
    """The task's message, where it may be accepted as the task is entered; what speaks against it is said later."""
    try:
        return small_message(settings, _FOUND_THERE, replace(request_of(task), id=public_id))
    except MessagingError:
        return None


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
        traceparent=task.traceparent,
    )


def cancel(
    engine: Engine, settings: Settings, *, message_id: str, project: object = None, queue: str = Queue.INTAKE
) -> MessageState:
    """Cancel a message of the queue's project durably, whatever its state.

    Raises `InvalidArgumentError` where another project is named, `NotFoundError` or `ConflictError`.
    """
    with engine.begin() as connection:
        project_id = projects.find(connection, _own_project(queue, project, settings))
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
                if messages.has_not_begun(connection, project_id, public_id):
                    messages.cancel(connection, project_id, public_id)
                    done.append(task_id)
    return done


def _message_id(task: IntakeTask) -> str:
    given = task.kwargs.get("message_id")
    return given if isinstance(given, str) and is_valid_id(given) else id_for_task(task.task_id)


def _queue_project(queue: str, settings: Settings) -> str:
    """Access to a queue is access to its project, whether or not a setting names the queue too."""
    return project_of_queue(queue, settings.project)


def _own_project(queue: str, given: object, settings: Settings) -> str:
    """The queue's project; raises `InvalidArgumentError` where `given` names another."""
    of_queue = _queue_project(queue, settings)
    if given is not None and given != of_queue:
        raise InvalidArgumentError("project", f"queue '{queue}' belongs to project '{of_queue}', not to {given!r}")
    return of_queue


def _project(task: IntakeTask, settings: Settings) -> str:
    of_queue = _own_project(task.queue, task.kwargs.get("project"), settings)
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
    _log.error("A task was refused.", task_id=task.task_id, task=task.name, reason=unquoted(error))
    with engine.begin() as connection:
        intake_keys.refuse(connection, task_id=task.task_id, task_name=task.name, reason=str(error))
    return RefusedError(str(error))


def unquoted(error: MessagingError) -> str:
    """What was wrong, for logs and Flower: the error's own sentence, which the message keeps, may quote an address."""
    match error:
        case InvalidArgumentError() if error.argument.isidentifier():  # it may be a name the producer made up
            return f"the argument '{error.argument}' is refused"
        case NotFoundError():
            return f"there is no such {error.kind}"
        case _:
            return type(error).__name__


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
