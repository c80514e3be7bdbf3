"""Processes killed in the middle of their work. Afterwards the sums are exact, and what was doubled is counted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from celery import Celery
from sqlalchemy.exc import OperationalError

from messaging.client.messaging import Messaging
from messaging.status import DeliveryStatus, MessageState
from messaging.store.messages import MessageView
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, fcm_tokens, push_topic
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import Sums, clear_faults, set_faults, sums

pytestmark = pytest.mark.timeout(600)

_S = DeliveryStatus

IN_FLIGHT = 1000
"""Rows a push process has claimed and not recorded at most: two batches, two windows of half its concurrency each."""


@pytest.fixture
def client(hurt: Stack) -> Iterator[Messaging]:
    """A client of the stack that is hurt."""
    with hurt.client() as opened:
        yield opened


@pytest.fixture
def app(hurt: Stack) -> Iterator[Celery]:
    """A producer."""
    with bare.producer(hurt.runtime.broker_url) as made:
        yield made


def send(app: Celery, **kwargs: Any) -> str:
    """A push task; its id."""
    return str(app.send_task(bare.PUSH, kwargs={"title": "Hello"} | kwargs, queue=bare.QUEUE).id)


def look(client: Messaging, message_id: str) -> MessageView | None:
    """The message, or None while nobody knows it or the database is away."""
    try:
        return next((view for view in client.list(limit=1000) if view.id == message_id), None)
    except OperationalError:
        return None


def underway(client: Messaging, message_id: str, *, settled: int) -> MessageView:
    """The message when so many deliveries have ended, and not all."""

    def enough() -> MessageView | None:
        view = look(client, message_id)
        return view if view is not None and view.settled >= settled else None

    view = until(enough, "the message did not get under way")
    assert not view.state.is_finished, "it was over before anything could be killed"
    return view


def finished(stack: Stack, client: Messaging, message_id: str, *, within_s: float = 240) -> MessageView:
    """The message once it is finished."""

    def done() -> MessageView | None:
        view = look(client, message_id)
        return view if view is not None and view.state.is_finished else None

    return until(
        done, lambda: f"{look(client, message_id)}\n{stack.tail('push', 'fanout', 'intake')}", within_s=within_s
    )


def judged(stack: Stack, client: Messaging, message_ids: Sequence[str], audience: Sequence[str]) -> Sums:
    """Exact sums, every address accepted, and no more doubled than the messages themselves call doubtful."""
    found = sums(client, stack.sandbox["control"], message_ids, audience, "apns", "fcm")
    found.assert_exact()
    assert found.statuses == {_S.ACCEPTED: len(audience)}
    assert found.taken.keys() == set(audience)
    assert found.doubled <= sum(client.get(each).doubtful for each in message_ids)
    return found


def test_a_push_worker_killed_in_the_middle_loses_nothing(hurt: Stack, client: Messaging, app: Celery) -> None:
    """Of 20,000 devices at most those in flight get it twice, and the message counts them as doubtful."""
    apns, fcm = apns_tokens(10_000), fcm_tokens(10_000)
    topic = push_topic(client, apns=apns, fcm=fcm)
    message_id = send(app, topics=[topic])
    underway(client, message_id, settled=1000)
    for protocol in ("apns", "fcm"):  # answers are held back until something is in flight for certain
        set_faults(hurt.sandbox["control"], protocol, delay_ms=2000)
    underway(client, message_id, settled=1000)
    until(lambda: client.deliveries(message_id, _S.SENDING, limit=1), "nothing is in flight")
    killed = hurt.kill("push")
    clear_faults(hurt.sandbox["control"])
    hurt.replaced(killed)
    message = finished(hurt, client, message_id)
    assert message.state is MessageState.SENT
    found = judged(hurt, client, [message_id], apns + fcm)
    assert message.total == 20_000
    assert found.doubled <= IN_FLIGHT
    assert 0 < message.doubtful <= IN_FLIGHT


def test_a_fan_out_killed_in_the_middle_gives_each_target_one_row(hurt: Stack, client: Messaging, app: Celery) -> None:
    """It goes on where its last page was committed."""
    tokens = apns_tokens(20_000)
    topic = push_topic(client, apns=tokens)
    message_id = send(app, topics=[topic])

    def begun() -> MessageView | None:
        view = look(client, message_id)
        return view if view is not None and view.total >= 1000 else None

    until(begun, "the fan-out did not begin")
    killed = hurt.kill("fanout")
    at_death = client.get(message_id)
    assert not at_death.expanded, "it was over before it could be killed"
    hurt.replaced(killed)
    message = finished(hurt, client, message_id)
    assert (message.state, message.total, message.expanded) == (MessageState.SENT, 20_000, True)
    assert judged(hurt, client, [message_id], tokens).doubled == 0


def test_a_broker_killed_in_the_middle_costs_time_only(hurt: Stack, client: Messaging, app: Celery) -> None:
    """It comes back with what it had written down; the workers live on, and drain."""
    tokens = apns_tokens(8_000)
    topic = push_topic(client, apns=tokens)
    workers = {name: hurt.runtime.processes[name] for name in ("intake", "fanout", "push", "push-high")}
    set_faults(hurt.sandbox["control"], "apns", delay_ms=30)
    message_id = send(app, topics=[topic])
    underway(client, message_id, settled=1000)
    hurt.replaced(hurt.kill("valkey"))
    assert finished(hurt, client, message_id).state is MessageState.SENT
    judged(hurt, client, [message_id], tokens)

    (token,) = apns_tokens(1)
    after = send(app, targets=[client.targets.create(token, provider_id="apns").id])
    assert finished(hurt, client, after).state is MessageState.SENT
    assert {name: hurt.runtime.processes[name] for name in workers} == workers


def test_a_broker_that_forgot_everything_after_intake_loses_nothing(
    hurt: Stack, client: Messaging, app: Celery
) -> None:
    """FLUSHALL while a topic is expanded and single messages wait: whatever intake had committed arrives."""
    tokens = apns_tokens(5_000)
    topic = push_topic(client, apns=tokens[:4_900])
    targets = [client.targets.create(token, provider_id="apns").id for token in tokens[4_900:]]
    large = send(app, topics=[topic])
    single = [send(app, targets=[target]) for target in targets]
    with redis.Redis.from_url(hurt.runtime.broker_url) as broker:
        until(lambda: {large, *single} <= {view.id for view in client.list(limit=1000)}, "intake has not committed all")
        broker.flushall()
    for message_id in (large, *single):
        assert finished(hurt, client, message_id).state is MessageState.SENT
    judged(hurt, client, [large, *single], tokens)


def test_a_database_that_stands_still_costs_time_only(hurt: Stack, client: Messaging, app: Celery) -> None:
    """PostgreSQL is stopped for some seconds while tasks come in: each becomes one message."""
    tokens = apns_tokens(150)
    targets = [client.targets.create(token, provider_id="apns").id for token in tokens]
    sent = [send(app, targets=[target]) for target in targets[:50]]
    with _frozen(hurt.runtime.processes["postgres"]):
        sent += [send(app, targets=[target]) for target in targets[50:]]
        time.sleep(4)  # how long it stands still
    _all_arrive(hurt, client, sent, tokens)


def test_a_database_killed_and_restarted_costs_time_only(hurt: Stack, client: Messaging, app: Celery) -> None:
    """`kill -9` of PostgreSQL while tasks come in: nothing is acknowledged and lost, nothing exists twice."""
    tokens = apns_tokens(150)
    targets = [client.targets.create(token, provider_id="apns").id for token in tokens]
    sent = [send(app, targets=[target]) for target in targets[:50]]
    killed = hurt.kill("postgres")
    sent += [send(app, targets=[target]) for target in targets[50:]]
    hurt.replaced(killed)
    _all_arrive(hurt, client, sent, tokens)


def _all_arrive(stack: Stack, client: Messaging, sent: Sequence[str], tokens: Sequence[str]) -> None:
    """Every task is one message, and every message reaches its device."""

    def missing() -> set[str]:
        try:
            with psycopg.connect(stack.runtime.database_url, connect_timeout=5) as connection:
                rows = connection.execute(
                    "SELECT public_id FROM messages WHERE public_id = ANY(%s) AND finished_at IS NOT NULL", (sent,)
                )
                return set(sent) - {row[0] for row in rows}
        except psycopg.OperationalError:
            return set(sent)

    until(
        lambda: not missing(),
        lambda: f"{len(missing())} of {len(sent)}: {_whereabouts(stack, missing())}",
        within_s=240,
    )
    judged(stack, client, sent, tokens)


def _whereabouts(stack: Stack, message_ids: set[str]) -> dict[str, str]:
    """For each: how far its message is, or that there is none and whether the broker still has the task."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute("SELECT public_id, state FROM messages WHERE public_id = ANY(%s)", ([*message_ids],))
        found = {row[0]: f"a message in state {row[1]}" for row in rows}
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        held = b"".join([*broker.hvals("unacked"), *broker.lrange(bare.QUEUE, 0, -1)])
    for each in message_ids - found.keys():
        found[each] = "no message; the broker " + ("has the task" if each.encode() in held else "has nothing: LOST")
    return found


@contextmanager
def _frozen(server: int) -> Iterator[None]:
    """Stop PostgreSQL's processes for the block; each backend is a session of its own."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    family = [server, *map(int, children)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
