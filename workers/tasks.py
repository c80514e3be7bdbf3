"""The Celery tasks: each builds its arguments, calls one function, and turns the answer into ack or retry."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from celery.exceptions import Reject
from celery.worker.control import Panel

from messaging import tracing
from messaging.errors import MessagingError
from messaging.store import intake_keys
from messaging.store.batches import RECEIPTS_HINT, BatchRef
from messaging.store.engine import AWAY as _AWAY
from messaging.store.engine import open_engine
from messaging.wire import PRODUCERS_TASKS, Queue, TaskName
from workers import fanout, intake
from workers import sweep as sweeping
from workers.admission import ETA_HEADER, EXPIRES_HEADER, SIGNED_UNTIL_HEADER, UNREADABLE_HEADER
from workers.app import app, settings
from workers.metrics import road
from workers.quiet import Task
from workers.wiring import wiring

_log = structlog.get_logger(__name__)

_WAIT_FOR_DATABASE_S = (0.5, 1.0, 2.0, 4.0, 8.0)


class IntakeTask(Task):
    """A task of a producer: acknowledged only when its message is committed."""

    acks_late = True
    reject_on_worker_lost = True
    typing = False
    ignore_result = False
    time_limit = settings.task_limit_s
    acks_on_timeout = False  # a task that took too long comes again, and is put aside when it always does


def _take(task: Any, name: TaskName, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:  # noqa: ANN401
    """The id of the message that `task` became.

    While the database is away the task waits in place, unacknowledged, so that its worker takes no more; then
    it goes back to the queue.
    """
    request = task.request
    if request.chord and task.app.conf.result_backend is None:
        _log.warning(
            "A chord was accepted, but its body can't fire: set MESSAGING_RESULT_BACKEND_URL.", task_id=request.id
        )
    signed_until = request.get(SIGNED_UNTIL_HEADER)
    taken = intake.IntakeTask(
        task_id=str(request.id),
        name=name,
        args=args,
        kwargs=kwargs,
        eta=request.get(ETA_HEADER),
        expires=request.get(EXPIRES_HEADER),
        unreadable=request.get(UNREADABLE_HEADER),
        queue=(request.delivery_info or {}).get("routing_key") or Queue.INTAKE,
        again=_came_again(request),
        signed_until=None if signed_until is None else datetime.fromisoformat(signed_until),
        traceparent=tracing.parse(request.get(tracing.HEADER)),
    )
    wired = wiring()
    for pause_s in (*_WAIT_FOR_DATABASE_S, None):
        try:
            message = intake.take(wired.engine, wired.vault, wired.settings, taken)
        except _AWAY as error:
            if pause_s is None:
                raise Reject(str(error), requeue=True) from error
            _log.warning("The database is away; intake waits.", task_id=taken.task_id, wait_s=pause_s)
            taken = replace(taken, again=False)  # this worker lives
            time.sleep(pause_s)
        else:
            wired.publisher.publish(message.hints)
            return message.message_id
    raise AssertionError("unreachable")


@app.task(bind=True, base=IntakeTask, name=TaskName.SEND_PUSH)
def send_push(self: Any, /, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401  whatever a producer sends
    """Send a push notification; returns the message id."""
    return _take(self, TaskName.SEND_PUSH, args, kwargs)


@app.task(bind=True, base=IntakeTask, name=TaskName.SEND_EMAIL)
def send_email(self: Any, /, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401
    """Send an email; returns the message id."""
    return _take(self, TaskName.SEND_EMAIL, args, kwargs)


@app.task(bind=True, base=IntakeTask, name=TaskName.SEND_SMS)
def send_sms(self: Any, /, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401
    """Send a text message; returns the message id."""
    return _take(self, TaskName.SEND_SMS, args, kwargs)


@app.task(bind=True, base=IntakeTask, name=TaskName.CANCEL)
def cancel(self: Any, /, message_id: Any = None, project: Any = None, **_: Any) -> str:  # noqa: ANN401
    """Cancel a message durably, whatever its state; returns its state in words."""
    wired = wiring()
    try:
        queue = (self.request.delivery_info or {}).get("routing_key") or Queue.INTAKE
        return intake.cancel(wired.engine, wired.settings, message_id=str(message_id), project=project, queue=queue)
    except MessagingError as error:
        reason = intake.unquoted(error)  # a result is logged, and shown by Flower
        _log.warning("Nothing to cancel.", task_id=str(self.request.id), reason=reason)
        return f"Not cancelled: {reason}."
    except _AWAY as error:
        raise Reject(str(error), requeue=True) from error


def _came_again(request: Any) -> bool:  # noqa: ANN401  Celery's context has no types
    """Whether the broker handed this task out before: its worker may have died of it."""
    return bool((request.delivery_info or {}).get("redelivered"))


@app.task(name=TaskName.REPLAY, ignore_result=True, acks_late=False, time_limit=settings.task_limit_s)
def replay(entry: str) -> str:
    """Take in a task that was put aside, because somebody asked; acknowledged first, so it ends one worker at most."""
    wired = wiring()
    taken = intake.replay(wired.engine, wired.vault, wired.settings, entry)
    if taken is None:
        return "nothing to do"
    wired.publisher.publish(taken.hints)
    return taken.message_id


@app.task(
    bind=True, name=TaskName.FANOUT, ignore_result=True, throws=_AWAY, acks_late=True, time_limit=settings.task_limit_s
)
def fan_out(self: Any, message_id: int) -> str:  # noqa: ANN401
    """Expand a message's audience for about a second."""
    wired = wiring()
    again = _came_again(self.request)
    return fanout.expand(wired.engine, wired.settings, wired.publisher, message_id, again=again)


@app.task(name=TaskName.DELIVER, ignore_result=True, throws=_AWAY, acks_late=True)
def deliver(batch: str) -> str:
    """Send what is due of a batch."""
    wired = wiring()
    return wired.loop.run(wired.deliverer.deliver(BatchRef.parse(batch)))


@app.task(name=TaskName.RECEIPTS, ignore_result=True, throws=_AWAY, acks_late=False, send_events=False)
def apply_receipts() -> str:
    """Apply the receipts that wait, for about a second."""
    wired = wiring()
    done, more = wired.loop.run(wired.receipts.apply_waiting())
    if more:
        wired.publisher.publish([RECEIPTS_HINT])
    return f"{done} applied"


@app.task(name=TaskName.CHECK, ignore_result=True, throws=_AWAY, acks_late=True)
def check_provider(check_id: str) -> str:
    """Ask a provider whether it takes an account, and send the test message, if one was asked for."""
    wired = wiring()
    return wired.loop.run(wired.checks.run(check_id))


@app.task(name=TaskName.REFUSED, ignore_result=True, acks_late=True, send_events=False)
def refuse(task_id: str, task_name: str, reason: str) -> None:
    """Count and log what `workers.admission` put this in place of."""
    _log.error("A task was refused.", task_id=task_id, task=task_name, reason=reason)
    known = task_name if task_name in PRODUCERS_TASKS else "unknown"  # it says what it likes
    road().intake_tasks.labels(known, "refused").inc()
    try:
        with wiring().engine.begin() as connection:
            intake_keys.refuse(connection, task_id=task_id, task_name=task_name, reason=reason)
    except _AWAY as error:
        raise Reject(str(error), requeue=True) from error


@app.task(name=TaskName.SWEEP, ignore_result=True, throws=_AWAY, acks_late=False, send_events=False)
def sweep() -> None:
    """Find everything due, stuck or lost."""
    wired = wiring()
    if wired.sweeps.do(lambda: sweeping.sweep(wired.engine, wired.settings, wired.publisher)):
        wired.swept.leave()


@app.task(name=TaskName.HOUSEKEEPING, ignore_result=True, throws=_AWAY, acks_late=False)
def housekeeping() -> None:
    """Create the months to come, forget those long past."""
    wired = wiring()
    sweeping.keep_house(wired.engine, wired.settings)


def revoke(state: Any, task_id: Any, **_: Any) -> dict[str, str]:  # noqa: ANN401  Celery's signature
    """Celery's `revoke`, made durable: a message not begun is cancelled, a task not yet seen is remembered.

    Every worker hears it; only the intake acts. Nothing is kept in memory, and no process is killed.
    """
    if not str(state.hostname).startswith("intake"):
        return {"ok": "left to the intake"}
    ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id or ()]
    engine = open_engine(settings, role="control", pool_size=1)
    try:
        done = intake.revoke(engine, ids)
    except _AWAY as error:
        _log.error("Could not revoke: the database is away. Send messaging.cancel.", task_ids=ids, reason=str(error))
        return {"error": "the database is away; send the task messaging.cancel instead"}
    finally:
        # this is the process that forks the others: it keeps no connection
        engine.dispose()
    return {"ok": f"cancelled {', '.join(done) or 'nothing'}"}


Panel.data["revoke"] = revoke
