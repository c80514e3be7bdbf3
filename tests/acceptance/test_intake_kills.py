"""Intake dies again and again, and the broker hangs up on everybody: every task becomes one message, sent once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import psycopg
import pytest
import redis
from celery import Celery

from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, push_topic
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import sums

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("tasks", "kills", "drops", "longest_s"),
    [(600, 3, 2, 0.2), pytest.param(20_000, 20, 10, 10.0, marks=[pytest.mark.slow, pytest.mark.timeout(2400)])],
)
def test_no_task_is_lost_and_none_becomes_two(
    hurt: Stack, tasks: int, kills: int, drops: int, longest_s: float
) -> None:
    """A bare producer sends while the intake is killed with `kill -9` and connections are cut in the middle."""
    dice = random.Random(tasks)
    tokens = apns_tokens(tasks)
    targets = _targets(hurt, tokens)
    disasters = ["kill"] * kills + ["drop"] * drops
    dice.shuffle(disasters)
    done = threading.Event()
    sent: list[str] = []
    killed: set[int] = set()
    with bare.producer(hurt.runtime.broker_url) as app:
        sender = threading.Thread(target=_send_all, args=(app, targets, sent, len(disasters), done))
        sender.start()
        try:
            for number, disaster in enumerate(disasters, 1):
                until(lambda: len(sent) >= tasks * number // (len(disasters) + 1), "the producer stands still")  # noqa: B023
                until(lambda: hurt.works("intake"), "no intake")
                time.sleep(dice.uniform(0, longest_s))  # anywhere in what it does
                if disaster == "kill":
                    killed.add(hurt.kill("intake"))
                else:
                    _hang_up(hurt)
        finally:
            done.set()
            sender.join()
    assert len(set(sent)) == tasks
    assert len(killed) == kills
    until(lambda: not _unfinished(hurt, sent), lambda: _says(hurt, sent), within_s=180 + tasks / 15)
    with hurt.client() as client:
        found = sums(client, hurt.sandbox["control"], sent, tokens, "apns")
    found.assert_exact()
    assert found.taken == dict.fromkeys(tokens, 1)


def _send_all(app: Celery, targets: Sequence[str], sent: list[str], parts: int, done: threading.Event) -> None:
    """Send evenly enough that no disaster finds nothing to do."""
    for number, target in enumerate(targets):
        if not done.is_set() and number % max(1, len(targets) // (parts * 20)) == 0:
            time.sleep(0.02)  # a producer's rhythm
        sent.append(str(app.send_task(bare.PUSH, kwargs={"title": "Once", "targets": [target]}, queue=bare.QUEUE).id))


def _targets(stack: Stack, tokens: Sequence[str]) -> list[str]:
    with stack.client() as client:
        push_topic(client, apns=tokens)
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute("SELECT public_id FROM targets WHERE identifier = ANY(%s)", ([*tokens],)).fetchall()
    assert len(rows) == len(tokens)
    return [row[0] for row in rows]


def _hang_up(stack: Stack) -> None:
    """Close every connection to the broker but this one."""
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        for kind in ("pubsub", "normal"):
            broker.client_kill_filter(_type=kind, skipme=True)


def _unfinished(stack: Stack, ids: Sequence[str]) -> set[str]:
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute(
            "SELECT public_id FROM messages WHERE public_id = ANY(%s) AND finished_at IS NOT NULL", ([*ids],)
        )
        return set(ids) - {row[0] for row in rows}


def _says(stack: Stack, ids: Sequence[str]) -> str:
    left = _unfinished(stack, ids)
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        places = b"".join([*broker.hvals("unacked"), *broker.lrange(bare.QUEUE, 0, -1)])
    gone = [each for each in left if each.encode() not in places]
    return f"{len(left)} of {len(ids)} unfinished, {len(gone)} neither queued nor held\n{stack.tail('intake')}"
