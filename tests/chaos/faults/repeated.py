"""F6: the broker delivers everything several times."""

from __future__ import annotations

from messaging.channel import Channel
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import BatchRef, Hint
from messaging.wire import Queue
from tests.acceptance import bare
from tests.chaos.fault import Fault
from tests.chaos.field import CONTENT, TASK, UNTOUCHED, Field
from tests.chaos.oracle import Verdict

_QUEUES = {Channel.PUSH: Queue.PUSH, Channel.EMAIL: Queue.EMAIL, Channel.SMS: Queue.SMS}


def delivered_thrice(field: Field) -> Verdict:
    """Every hint at a batch is published three times more while it is worked on, and every producer's task too."""
    field.misbehave("apns", "fcm", "sendgrid", "twilio", delay_ms=30)
    sent = field.send()
    with field.producer() as app:
        for number, audience in zip(sent.ids, field.audiences, strict=True):
            for _ in range(3):
                app.send_task(
                    TASK[audience.channel],
                    kwargs={**CONTENT[audience.channel], "topics": [audience.topic]},
                    queue=bare.QUEUE,
                    task_id=number,
                )
    field.under_way(sent, 0.02)
    own = {"database_url": field.stack.runtime.database_url, "secret_key": field.stack.secret_key}
    with Publisher(Settings.load({}, broker_url=field.stack.runtime.broker_url, **own)) as publisher:
        for _ in range(3):
            publisher.publish(_hints(field, sent.ids))
    field.blow()
    return field.judge(sent, allowed=UNTOUCHED, may_double=False)


def _hints(field: Field, ids: tuple[str, ...]) -> list[Hint]:
    rows = field.ask(
        """SELECT b.month, b.id, b.channel FROM messages m JOIN batches b ON b.month = m.month AND b.message_id = m.id
            WHERE m.public_id = ANY(%s)""",
        [*ids],
    )
    return [Hint(queue=_QUEUES[Channel(row[2])], shadow="again", batch=BatchRef(row[0], row[1])) for row in rows]


FAULTS = (Fault(number="F6", title="every task delivered four times", run=delivered_thrice),)
