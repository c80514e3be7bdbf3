"""A producer reaches the project of its queue and no other, by whatever task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer
from kombu import Queue as KombuQueue
from kombu.exceptions import OperationalError
from sqlalchemy import text

from messaging.errors import InvalidArgumentError, MessagingError, NotFoundError
from messaging.local.valkey import Valkey
from messaging.message import Sms
from messaging.producer import accept
from messaging.send_request import SendRequest
from messaging.store import projects, targets
from messaging.wire import CHANNEL_OF_TASK, Queue, TaskName, intake_queue_of_project
from tests.conftest import ROOT
from tests.integration.road import Channel, Road
from workers import intake
from workers.intake import IntakeTask, RefusedError

OURS = frozenset(
    {
        *(TaskName.FANOUT, TaskName.DELIVER, TaskName.CHECK),  # do what a row says is due, and name only a row
        *(TaskName.SWEEP, TaskName.RECEIPTS, TaskName.HOUSEKEEPING),  # name nothing at all
        TaskName.REPLAY,  # names a row that an operator has marked
        TaskName.REFUSED,  # stands for a task that was not taken, and counts it
    }
)
"""Tasks we send ourselves, each with the reason why it gives nobody a hold on another project."""

_CONTENT: dict[TaskName, dict[str, Any]] = {
    TaskName.SEND_PUSH: {"title": "Hi"},
    TaskName.SEND_EMAIL: {"subject": "Hi", "content": "there"},
    TaskName.SEND_SMS: {"content": "Hi"},
}
_THEIRS = "zebra"
_QUEUE = "messaging.heron"


@dataclass
class Two:
    """A project that calls, `heron`, and another, `zebra`, that has a user, a target and a message to come."""

    road: Road
    heron: int
    zebra: int

    def rows(self) -> list[str]:
        """Everything of the other project that a task could change."""
        found: list[str] = []
        with self.road.engine.begin() as connection:
            for table in ("messages", "targets", "users", "intake_keys", "topics"):
                statement = text(f"SELECT t::text FROM {table} t WHERE project_id = :p ORDER BY 1")
                found += connection.execute(statement, {"p": self.zebra}).scalars().all()
        return found


@pytest.fixture
def two(road: Road) -> Two:
    """Both projects."""
    with road.engine.begin() as connection:
        numbers = [projects.ensure(connection, name) for name in ("heron", _THEIRS)]
        target = targets.create(
            connection, road.vault, numbers[1], channel=Channel.SMS, identifier="+4930901820", target_id=_THEIRS
        )
        request = SendRequest(content=Sms(content="Hi"), targets=(target.id,), draft=True, id=_THEIRS)
        accept(connection, road.vault, road.settings, numbers[1], request)
    return Two(road, *numbers)


def take(two: Two, name: TaskName, **kwargs: Any) -> str:
    """The state of the message that such a task became."""
    task = IntakeTask(task_id=str(uuid4()), name=name, queue=_QUEUE, kwargs={**_CONTENT[name], **kwargs})
    taken = intake.take(two.road.engine, two.road.vault, two.road.settings, task)
    with two.road.engine.begin() as connection:
        state = connection.execute(
            text("SELECT state FROM messages WHERE project_id = :p AND public_id = :id"),
            {"p": two.heron, "id": taken.message_id},
        ).scalar_one()
    return str(state)


def test_every_task_is_either_a_producers_or_known_to_be_harmless() -> None:
    """A new one is noticed here."""
    assert set(TaskName) == {*CHANNEL_OF_TASK, TaskName.CANCEL} | OURS


@pytest.mark.parametrize("name", CHANNEL_OF_TASK)
def test_a_task_finds_nothing_of_another_project(two: Two, name: TaskName) -> None:
    """Their ids are unknown here: the message fails as it would for ids that nobody has, and none of theirs changes."""
    before = two.rows()
    for audience in ("targets", "users", "topics"):
        failed = take(two, name, **{audience: [_THEIRS]})
        assert failed == take(two, name, **{audience: ["nobody-has-this"]})
    take(two, name, project=_THEIRS, targets=[_THEIRS])
    take(two, name, message_id=_THEIRS, targets=[_THEIRS])
    assert two.rows() == before


def test_a_queue_that_a_setting_names_belongs_to_its_project_all_the_same(road: Road) -> None:
    """Reading further queues gives nobody the default project."""
    settings = road.settings.model_copy(update={"intake_queues": (_QUEUE, "celery")})
    with road.engine.begin() as connection:
        projects.ensure(connection, "heron")
    for queue, project in ((_QUEUE, "heron"), ("celery", settings.project), (Queue.INTAKE_HIGH, settings.project)):
        task = IntakeTask(task_id=str(uuid4()), name=TaskName.SEND_PUSH, kwargs={"title": "Hi"}, queue=queue)
        taken = intake.take(road.engine, road.vault, settings, task)
        with road.engine.begin() as connection:
            found = connection.execute(
                text(
                    "SELECT p.public_id FROM messages m JOIN projects p ON p.id = m.project_id WHERE m.public_id = :i"
                ),
                {"i": taken.message_id},
            ).scalar_one()
        assert found == project


def test_a_queue_of_no_project_is_refused(road: Road) -> None:
    """And counted: there is nowhere to put the message."""
    task = IntakeTask(task_id=str(uuid4()), name=TaskName.SEND_PUSH, kwargs={"title": "Hi"}, queue="messaging.nobody")
    with pytest.raises(RefusedError):
        intake.take(road.engine, road.vault, road.settings, task)


def test_cancel_reaches_messages_of_the_queues_project_only(two: Two) -> None:
    """Whether or not it says whose the message is."""
    before = two.rows()
    own: tuple[str | None, ...] = (None, "heron")
    for project in own:
        with pytest.raises(NotFoundError):
            intake.cancel(two.road.engine, two.road.settings, message_id=_THEIRS, project=project, queue=_QUEUE)
    foreign: tuple[tuple[str, object], ...] = (
        *((queue, _THEIRS) for queue in (_QUEUE, Queue.INTAKE, Queue.INTAKE_HIGH)),
        (_QUEUE, 7),
    )
    for queue, named in foreign:
        with pytest.raises(InvalidArgumentError, match="belongs to project"):
            intake.cancel(two.road.engine, two.road.settings, message_id=_THEIRS, project=named, queue=queue)
    assert two.rows() == before
    intake.cancel(two.road.engine, two.road.settings, message_id=_THEIRS, queue=intake_queue_of_project(_THEIRS))
    assert two.rows() != before


def test_revoke_by_a_message_id_of_another_project_does_nothing(two: Two) -> None:
    """It knows task ids, which nobody can guess; a message made otherwise has none."""
    before = two.rows()
    intake.revoke(two.road.engine, [_THEIRS])
    assert two.rows() == before


def test_no_project_can_have_the_name_of_a_queue_of_ours(road: Road) -> None:
    """Its intake queue would be that one."""
    for queue in set(Queue) - {Queue.INTAKE}:
        with road.engine.begin() as connection, pytest.raises(MessagingError, match="queue of ours"):
            projects.ensure(connection, queue.removeprefix(f"{Queue.INTAKE}."))


# -- the queue is the one a task was taken from, not the one it says ---------------------------------------


@pytest.fixture
def broker(valkey_url: str) -> Iterator[redis.Redis]:
    """A producer that may write to its own queue, past Celery."""
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def test_a_producer_cannot_say_that_its_task_came_from_another_queue(broker: redis.Redis, valkey_url: str) -> None:
    """Over Redis it writes what a message says of its own way; we go by the list we found it in."""
    said = {
        "body": "[[], {}, {}]",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": "1", "task": TaskName.SEND_PUSH},
        "properties": {
            "delivery_tag": "forged",
            "delivery_info": {"exchange": "", "routing_key": Queue.INTAKE},
            "body_encoding": "utf-8",
        },
    }
    broker.lpush(_QUEUE, json.dumps(said))
    found: list[Any] = []
    with Connection(valkey_url, transport="workers.redis_transport:Transport") as connection:
        consumer = Consumer(connection, [KombuQueue(_QUEUE)], callbacks=[lambda _, message: found.append(message)])
        consumer.accept = {"application/json"}
        with consumer:
            while not found:
                connection.drain_events(timeout=60)
            found[0].ack()
    assert found[0].delivery_info["routing_key"] == _QUEUE


def test_a_login_at_redis_can_be_held_to_one_queue(broker: redis.Redis, valkey_server: Valkey) -> None:
    """By the rights that `docs/explanation/security.md` names: a bare Celery client sends to its queue and no other."""
    documented = (ROOT / "docs/explanation/security.md").read_text()
    (rights,) = re.findall(r"ACL SETUSER shop on >PASSWORD (.+)", documented)
    acl: Any = broker.execute_command  # untyped in redis-py
    acl("ACL", "SETUSER", "shop", "on", ">a-password", *rights.split())
    try:
        app = Celery(broker=f"redis://shop:a-password@127.0.0.1:{valkey_server.port}/0", set_as_current=False)
        app.conf.task_publish_retry = False
        app.send_task(TaskName.SEND_SMS, kwargs={"content": "Hi"}, queue="messaging.shop")
        assert broker.llen("messaging.shop") == 1
        for queue in Queue:
            with pytest.raises(OperationalError, match=r"(?i)no permissions"):
                app.send_task(TaskName.SEND_SMS, kwargs={"content": "Hi"}, queue=queue)
            assert broker.llen(queue) == 0
        app.pool.force_close_all()  # type: ignore[attr-defined]  # celery-types takes it for a pool of producers
        app.close()
    finally:
        acl("ACL", "DELUSER", "shop")
        broker.delete("messaging.shop")
