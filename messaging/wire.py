"""Task names, queues and routes: the contract across the broker."""

from __future__ import annotations

from enum import StrEnum

from messaging.channel import Channel, Lane


class TaskName(StrEnum):
    """Celery task names. The first group is for producers, the second for ourselves."""

    SEND_PUSH = "messaging.send_push"
    SEND_EMAIL = "messaging.send_email"
    SEND_SMS = "messaging.send_sms"
    CANCEL = "messaging.cancel"

    FANOUT = "messaging.fanout"
    DELIVER = "messaging.deliver"
    SWEEP = "messaging.sweep"
    HOUSEKEEPING = "messaging.housekeeping"
    RECEIPTS = "messaging.receipts"
    CHECK = "messaging.check"
    REPLAY = "messaging.replay"
    REFUSED = "messaging.refused"


SEND_TASK = {
    Channel.PUSH: TaskName.SEND_PUSH,
    Channel.EMAIL: TaskName.SEND_EMAIL,
    Channel.SMS: TaskName.SEND_SMS,
}
CHANNEL_OF_TASK = {name: channel for channel, name in SEND_TASK.items()}
PRODUCERS_TASKS = frozenset({*SEND_TASK.values(), TaskName.CANCEL})


class Queue(StrEnum):
    """Every queue we consume."""

    INTAKE = "messaging"
    INTAKE_HIGH = "messaging.high"
    FANOUT = "messaging.fanout"
    FANOUT_HIGH = "messaging.fanout.high"
    SWEEP = "messaging.sweep"
    RECEIPTS = "messaging.receipts"
    PUSH = "messaging.push"
    PUSH_HIGH = "messaging.push.high"
    EMAIL = "messaging.email"
    EMAIL_HIGH = "messaging.email.high"
    SMS = "messaging.sms"
    SMS_HIGH = "messaging.sms.high"


def deliver_queue(channel: Channel, lane: Lane) -> Queue:
    """The queue of a channel's batches in a lane."""
    return Queue(f"messaging.{channel}.high" if lane is Lane.HIGH else f"messaging.{channel}")


def fanout_queue(lane: Lane) -> Queue:
    """The queue of fan-outs in a lane."""
    return Queue.FANOUT_HIGH if lane is Lane.HIGH else Queue.FANOUT


def intake_queue_of_project(project: str) -> str:
    """The intake queue that belongs to a project other than the default one."""
    return f"{Queue.INTAKE}.{project}"


def project_of_queue(queue: str, default: str) -> str:
    """The project an intake queue belongs to; `default`'s are `messaging`, `messaging.high` and foreign ones."""
    if queue in {Queue.INTAKE, Queue.INTAKE_HIGH} or not queue.startswith(f"{Queue.INTAKE}."):
        return default
    return queue.removeprefix(f"{Queue.INTAKE}.")


SWEPT_KEY = "messaging:swept"
"""In Redis: set by each sweep for `SWEPT_KEPT_S`, so that what is left of its time tells how long ago the last was."""
SWEPT_KEPT_S = 7 * 86_400
