"""What producers do with Celery, properly and improperly: nothing vanishes, nothing kills a worker."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis
from celery import Celery, chord, group
from celery.result import AsyncResult, GroupResult

from messaging.client.messaging import Messaging
from messaging.status import DeliveryStatus, MessageState
from messaging.store.messages import MessageView
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, push_topic
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import sums

pytestmark = pytest.mark.timeout(600)

_S = DeliveryStatus


@pytest.fixture
def app(stack: Stack) -> Iterator[Celery]:
    """A producer."""
    with bare.producer(stack.runtime.broker_url) as made:
        yield made


def send(app: Celery, **kwargs: Any) -> str:
    """A push task; its id."""
    return str(app.send_task(bare.PUSH, kwargs=kwargs, queue=bare.QUEUE).id)


def known(client: Messaging, message_id: str) -> MessageView:
    """The message as soon as intake has committed it."""
    until(lambda: message_id in {view.id for view in client.list(limit=100)}, f"no message {message_id}")
    return client.get(message_id)


def finished(client: Messaging, message_id: str) -> MessageView:
    """The message once it is finished."""
    known(client, message_id)
    return client.wait(message_id, 120)


def refusals(stack: Stack, task_id: str) -> list[str]:
    """Why the task was declined."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT reason FROM refusals WHERE task_id = %s", (task_id,))]


def device(client: Messaging) -> tuple[str, str]:
    """A fresh token and its target."""
    (token,) = apns_tokens(1)
    return token, client.targets.create(token, provider_id="apns").id


def children(results: object) -> list[str]:
    """Ids of the tasks of a group."""
    assert isinstance(results, GroupResult)
    return [str(result.id) for result in results.results or ()]


def taken(stack: Stack, client: Messaging, message_id: str, *tokens: str) -> dict[str, int]:
    """How often each of the tokens was sent something."""
    found = sums(client, stack.sandbox["control"], [message_id], tokens, "apns")
    found.assert_exact()
    return dict(found.taken)


def test_one_task_id_twice_is_one_message(stack: Stack, client: Messaging, app: Celery) -> None:
    """A producer that is not sure whether it has sent simply sends again."""
    token, target = device(client)
    task_id = secrets.token_hex(8)
    for _ in range(3):
        app.send_task(bare.PUSH, kwargs={"title": "Once", "targets": [target]}, queue=bare.QUEUE, task_id=task_id)
    finished(client, task_id)
    marker = send(app, title="Marker", targets=[device(client)[1]])  # queues keep their order
    finished(client, marker)
    assert taken(stack, client, task_id, token) == {token: 1}


def test_one_task_id_with_another_body_is_refused(stack: Stack, client: Messaging, app: Celery) -> None:
    """The first stands, the second is counted with its task id and its reason."""
    token, target = device(client)
    task_id = secrets.token_hex(8)
    for title in ("First", "Second"):
        app.send_task(bare.PUSH, kwargs={"title": title, "targets": [target]}, queue=bare.QUEUE, task_id=task_id)
        finished(client, task_id)
    (reason,) = until(lambda: refusals(stack, task_id), "no refusal is kept")
    assert "other content" in reason
    assert client.get(task_id).content["title"] == "First"
    assert taken(stack, client, task_id, token) == {token: 1}


def test_every_task_of_a_group_is_a_message(stack: Stack, client: Messaging, app: Celery) -> None:
    """As many as it has."""
    devices = [device(client) for _ in range(5)]
    tasks = [
        app.signature(bare.PUSH, kwargs={"title": "One of us", "targets": [target]}, queue=bare.QUEUE)
        for _, target in devices
    ]
    for (token, _), message_id in zip(devices, children(group(tasks, app=app).apply_async()), strict=True):
        assert finished(client, message_id).state is MessageState.SENT
        assert taken(stack, client, message_id, token) == {token: 1}


def test_a_link_is_published_to_the_producers_own_queue(stack: Stack, client: Messaging, app: Celery) -> None:
    """With the message id as its argument; its own workers take it, ours don't."""
    token, target = device(client)
    task = app.send_task(
        bare.PUSH,
        kwargs={"title": "Linked", "targets": [target]},
        queue=bare.QUEUE,
        link=app.signature("shop.note_sent", queue=bare.OWN_QUEUE),
    )
    found = bare.taken_from(stack.runtime.broker_url, bare.OWN_QUEUE, within_s=120)
    assert found is not None
    headers, (args, _, _) = found
    assert (headers["task"], args) == ("shop.note_sent", [str(task.id)])
    finished(client, str(task.id))
    assert taken(stack, client, str(task.id), token) == {token: 1}


def test_a_link_that_cannot_be_published_undoes_nothing(stack: Stack, client: Messaging, app: Celery) -> None:
    """The message goes out whatever a producer asked to be told."""
    token, target = device(client)
    task_id = secrets.token_hex(8)
    broken = app.signature("shop.note_sent", queue=bare.OWN_QUEUE, serializer="no-such-serializer")
    app.send_task(
        bare.PUSH, kwargs={"title": "Hi", "targets": [target]}, queue=bare.QUEUE, task_id=task_id, link=broken
    )
    assert finished(client, task_id).state is MessageState.SENT
    assert taken(stack, client, task_id, token) == {token: 1}


def test_a_chord_without_a_result_backend_is_accepted_and_the_setting_named(stack: Stack, client: Messaging) -> None:
    """Its messages go out; the log says what to set for its body to fire."""
    devices = [device(client) for _ in range(2)]
    with bare.producer(stack.runtime.broker_url, results=stack.runtime.broker_url) as app:
        tasks = [
            app.signature(bare.PUSH, kwargs={"title": "Chord", "targets": [target]}, queue=bare.QUEUE)
            for _, target in devices
        ]
        body = app.signature("shop.all_sent", queue=bare.OWN_QUEUE)
        ids = children(chord(tasks, app=app)(body).parent)
        for (token, _), message_id in zip(devices, ids, strict=True):
            assert finished(client, message_id).state is MessageState.SENT
            assert taken(stack, client, message_id, token) == {token: 1}
    until(
        lambda: all(
            any("MESSAGING_RESULT_BACKEND_URL" in line and each in line for line in stack.log("intake").splitlines())
            for each in ids
        ),
        lambda: stack.tail("intake"),
    )


def test_expires_becomes_the_end_of_the_message(client: Messaging, app: Celery) -> None:
    """Celery would have thrown the task away at that time without a word."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    eta = ends - timedelta(hours=1)
    kwargs = {"title": "Hi", "targets": [device(client)[1]]}
    task = app.send_task(bare.PUSH, kwargs=kwargs, queue=bare.QUEUE, expires=ends, eta=eta)
    message = known(client, str(task.id))
    assert (message.state, message.scheduled_at) == (MessageState.SCHEDULED, eta)
    assert message.expires_at == ends


def test_a_task_that_had_expired_is_a_failed_message(client: Messaging, app: Celery) -> None:
    """It does not disappear: its sender can find out why nothing came."""
    task = app.send_task(
        bare.PUSH,
        kwargs={"title": "Too late", "targets": [device(client)[1]]},
        queue=bare.QUEUE,
        expires=datetime.now(UTC) - timedelta(minutes=1),
    )
    message = known(client, str(task.id))
    assert message.state is MessageState.FAILED
    assert "expires_at" in (message.failure or "")


@pytest.mark.parametrize("eta", ["next tuesday", "2026-13-45T00:00:00", 1e30, ["soon"]])
def test_an_unreadable_eta_is_a_failed_message(client: Messaging, app: Celery, eta: Any) -> None:
    """With that reason; Celery would have dropped the task."""
    kwargs = {"title": "When?", "targets": [device(client)[1]]}
    task = app.send_task(bare.PUSH, kwargs=kwargs, queue=bare.QUEUE, headers={"eta": eta})
    message = known(client, str(task.id))
    assert message.state is MessageState.FAILED
    assert "eta" in (message.failure or "")


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"title": 17, "topics": ["t"]}, "title"),
        ({"title": "Hi", "topics": {"t": 1}}, "topics"),
        ({"title": "Hi", "targets": [1, 2]}, "targets"),
        ({"title": "Hi", "topics": ["no-such-topic"]}, "no-such-topic"),
        ({"title": "Hi", "users": ["nobody"]}, "nobody"),
        ({"title": "Hi", "topics": ["t"], "colour": "red"}, "colour"),
        ({"body": "x" * 5000, "addresses": [apns_tokens(1)[0]]}, "4,096"),
        ({"title": "Hi"}, "audience"),
        ({}, "title"),
        ({"title": "Hi", "data": ["a"], "topics": ["t"]}, "data"),
        ({"title": "a\0b", "topics": ["t"]}, "title"),
        ({"title": "Hi", "addresses": ["\ud800"]}, "kwargs"),
        ({"title": "Hi", "badge": 10**40, "topics": ["t"]}, "badge"),
        ({"title": "Hi", "scheduled_at": "soon", "topics": ["t"]}, "scheduled_at"),
        ({"title": "Hi", "message_id": "a/b", "topics": ["t"]}, "message_id"),
        ({"title": "Hi", "project": "another", "topics": ["t"]}, "project"),
        ({"title": "Hi", "topics": ["t\0"]}, "kwargs"),
        ({"title": "Hi", "topics": ["t"], "\0": 1}, "no such argument"),
    ],
)
def test_a_bad_argument_is_a_failed_message_that_names_it(
    stack: Stack, client: Messaging, app: Celery, kwargs: dict[str, Any], named: str
) -> None:
    """Recorded under the task's id, and the worker that took it goes on."""
    before = stack.runtime.processes["intake"]
    message = known(client, send(app, **kwargs))
    assert message.state is MessageState.FAILED
    assert named in (message.failure or "")
    assert stack.runtime.processes["intake"] == before


def test_positional_arguments_are_a_failed_message(client: Messaging, app: Celery) -> None:
    """They have no names, so nobody can know what they mean."""
    task = app.send_task(bare.PUSH, args=["Hello", "there"], queue=bare.QUEUE)
    message = known(client, str(task.id))
    assert message.state is MessageState.FAILED
    assert "args" in (message.failure or "")


@pytest.mark.parametrize("name", ["messaging.send_fax", "shop.count_stock"])
def test_a_task_we_do_not_know_in_our_queue_is_counted_with_its_id(
    stack: Stack, client: Messaging, app: Celery, name: str
) -> None:
    """Somebody misspelt it: the refusal says so."""
    task = app.send_task(name, kwargs={"title": "Hi"}, queue=bare.QUEUE)
    finished(client, send(app, title="After", targets=[device(client)[1]]))
    (reason,) = until(lambda: refusals(stack, str(task.id)), lambda: f"no refusal\n{stack.tail('intake')}")
    assert name in reason


def test_tasks_of_others_are_left_alone(stack: Stack, client: Messaging, app: Celery) -> None:
    """Celery's default queue belongs to whoever else uses this broker; not even their ids are looked at."""
    theirs = [str(app.send_task("shop.count_stock", args=[number]).id) for number in range(3)]
    for _ in range(3):
        finished(client, send(app, title="Ours", targets=[device(client)[1]]))
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        waiting = [json.loads(raw)["headers"]["id"] for raw in broker.lrange("celery", 0, -1)]
        assert sorted(waiting) == sorted(theirs)
        broker.delete("celery")


def test_a_time_ahead_lies_in_the_database_not_in_a_worker(stack: Stack, client: Messaging, app: Celery) -> None:
    """A month ahead, and the broker holds nothing of it: no visibility timeout will hand it out again."""
    task = app.send_task(
        bare.PUSH, kwargs={"title": "Later", "targets": [device(client)[1]]}, queue=bare.QUEUE, countdown=30 * 86_400
    )
    assert known(client, str(task.id)).state is MessageState.SCHEDULED
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        until(lambda: not _held(broker, str(task.id)), "the broker still holds the task")


def _held(broker: redis.Redis, task_id: str) -> bool:
    return any(task_id.encode() in raw for raw in broker.hvals("unacked"))


@pytest.fixture
def results(variant: Stack) -> Iterator[tuple[Stack, Messaging, Celery]]:
    """A stack with a result backend, and a producer that has the same one."""
    url = variant.env["MESSAGING_RESULT_BACKEND_URL"]
    with variant.client() as opened, bare.producer(variant.runtime.broker_url, results=url) as made:
        yield variant, opened, made


def test_with_a_result_backend_get_returns_the_message_id(results: tuple[Stack, Messaging, Celery]) -> None:
    """As soon as the message is committed; the id is the task's."""
    _, client, app = results
    task: AsyncResult[str] = app.send_task(
        bare.PUSH, kwargs={"title": "Hi", "targets": [device(client)[1]]}, queue=bare.QUEUE
    )
    assert task.get(timeout=120) == str(task.id)
    assert finished(client, str(task.id)).state is MessageState.SENT


def test_with_a_result_backend_a_chord_fires_its_body(results: tuple[Stack, Messaging, Celery]) -> None:
    """In the producer's queue, with the ids of all messages."""
    stack, client, app = results
    tasks = [
        app.signature(bare.PUSH, kwargs={"title": "Chord", "targets": [device(client)[1]]}, queue=bare.QUEUE)
        for _ in range(3)
    ]
    body = app.signature("shop.all_sent", queue=bare.OWN_QUEUE)
    ids = set(children(chord(tasks, app=app)(body).parent))
    found = bare.taken_from(stack.runtime.broker_url, bare.OWN_QUEUE, within_s=120)
    assert found is not None
    headers, (args, _, _) = found
    assert headers["task"] == "shop.all_sent"
    assert set(args[0]) == ids
    for message_id in ids:
        assert finished(client, message_id).state is MessageState.SENT


def test_a_batch_of_one_is_a_task_per_target(variant: Stack) -> None:
    """MESSAGING_TASK_SIZE=1: as many Celery tasks as devices, and the sums are the same."""
    tokens = apns_tokens(300)
    with variant.client() as client, bare.producer(variant.runtime.broker_url) as app:
        topic = push_topic(client, apns=tokens)
        message = finished(client, send(app, title="One each", topics=[topic]))
        assert message.state is MessageState.SENT
        found = sums(client, variant.sandbox["control"], [message.id], tokens, "apns")
        found.assert_exact()
        assert found.doubled == 0
        with psycopg.connect(variant.runtime.database_url) as connection:
            batches = connection.execute(
                "SELECT b.total FROM batches b JOIN messages m ON m.id = b.message_id WHERE m.public_id = %s",
                (message.id,),
            ).fetchall()
        assert batches == [(1,)] * 300
    one_each = re.compile(r"Task push · apns\[[^]]+\] succeeded in \S+ '1 sent, done'")
    until(lambda: len(one_each.findall(variant.log("push"))) >= 300, lambda: variant.tail("push"))
