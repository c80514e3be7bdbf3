"""Cancel, pause and resume on a whole stack, at any moment, by whichever way in."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psycopg
import pytest

from messaging.client.messaging import Messaging
from messaging.errors import StateConflictError
from messaging.message import Email, Push
from messaging.status import DeliveryStatus, MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, email_topic, emails, push_topic
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import recorded, set_faults, sums

pytestmark = pytest.mark.timeout(600)

_S = DeliveryStatus
READERS, LETTERS = 120, 8
IN_FLIGHT = 1_000 + 2 * READERS
"""Claimed at once at most: two windows of each of two push batches, and what one email process sends and claims."""
SLOW_MS = {"apns": 400, "sendgrid": 700}
HELD_MS = 3_000
"""So long that no message is over before it is stopped, however late that comes on a busy machine."""


@pytest.fixture
def client(hurt: Stack) -> Iterator[Messaging]:
    """A client of a stack with small pages and providers that take their time."""
    with hurt.client() as opened:
        answer_after(hurt, **SLOW_MS)
        yield opened


def answer_after(stack: Stack, **delays_ms: int) -> None:
    """Let these providers take that long from now on."""
    for protocol, delay_ms in delays_ms.items():
        set_faults(stack.sandbox["control"], protocol, delay_ms=delay_ms)


def over_http(stack: Stack, message_id: str, to: str) -> None:
    """`cancel`, `pause` or `resume` by a POST."""
    headers = {"x-appwrite-project": stack.runtime.project, "x-appwrite-key": stack.runtime.api_key}
    url = f"{stack.runtime.endpoint}/messaging/messages/{message_id}/{to}"
    httpx.post(url, headers=headers, json={}, trust_env=False, timeout=60).raise_for_status()


def in_python(stack: Stack, message_id: str, to: str) -> None:
    """The same by the client, unless it is over."""
    with stack.client() as client, suppress(StateConflictError):
        getattr(client, to)(message_id)


def on_the_command_line(stack: Stack, message_id: str, to: str) -> None:
    """The same by `messaging`."""
    command = [sys.executable, "-m", "messaging.cli.main", to, message_id, "--data-dir", str(stack.directory)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)


def by_task(stack: Stack, message_id: str, to: str) -> None:
    """Cancelled as a producer does it."""
    assert to == "cancel"
    with bare.producer(stack.runtime.broker_url) as app:
        app.send_task(bare.CANCEL, kwargs={"message_id": message_id}, queue=bare.QUEUE)


Way = Callable[[Stack, str, str], None]


def taken(stack: Stack, audience: frozenset[str]) -> list[str]:
    """What providers have taken for the audience, once for each time."""
    return [line["recipient"] for line in recorded(stack.sandbox["control"]) if line["recipient"] in audience]


def quiet(stack: Stack) -> None:
    """Return when no worker has a batch in its hands."""

    def leased() -> bool:
        with psycopg.connect(stack.runtime.database_url) as connection:
            row = connection.execute("SELECT count(*) FROM batches WHERE state = 1").fetchone()
            return row is not None and not row[0]

    until(leased, lambda: f"somebody still sends\n{stack.tail('push', 'email')}")


def swept(stack: Stack, times: int = 3) -> None:
    """Return after so many more sweeps have ended, in which a batch could be handed out."""

    def ended() -> int:
        return stack.log("fanout").count("Task messaging.sweep[") // 2

    before = ended()
    until(lambda: ended() >= before + times, "nobody sweeps")


@pytest.mark.parametrize("many", [5_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_paused_it_stops_and_resumed_it_sends_exactly_the_rest(hurt: Stack, client: Messaging, many: int) -> None:
    """At a random moment, through a restart of the workers in between: many devices and some letters, each once."""
    devices, readers = apns_tokens(many), emails(READERS * LETTERS)
    everybody = frozenset(devices + readers)
    push_audience = push_topic(client, apns=devices)
    email_audiences = [email_topic(client, readers[first::LETTERS]) for first in range(LETTERS)]
    answer_after(hurt, sendgrid=HELD_MS)
    ids = [client.send(Push(title="Hello"), topics=[push_audience]).id]
    ids += [client.send(Email(subject="Hello", content="there"), topics=[each]).id for each in email_audiences]
    some = random.randrange(many // 40, many // 3)
    until(lambda: client.get(ids[0]).settled >= some, "it did not get under way")
    answer_after(hurt, apns=HELD_MS)
    over_http(hurt, ids[0], "pause")
    for message_id in ids[1:]:
        in_python(hurt, message_id, "pause")
    at_pause = len(taken(hurt, everybody))
    quiet(hurt)
    stopped = len(taken(hurt, everybody))
    assert stopped - at_pause <= IN_FLIGHT
    hurt.restart_workers(["push", "email", "fanout"])
    swept(hurt)
    assert len(taken(hurt, everybody)) == stopped, "something was sent while it was paused"
    # a letter whose last request was under way is over by now
    paused = [message_id for message_id in ids if client.get(message_id).state is MessageState.PAUSED]
    assert paused[0] == ids[0]
    assert len(paused) > 1, "all letters were over before they could be paused"
    answer_after(hurt, **SLOW_MS)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each: on_the_command_line(hurt, each, "resume"), paused[:2]))
    for message_id in paused[2:]:
        over_http(hurt, message_id, "resume")
    for message_id in ids:
        assert client.wait(message_id, 240).state is MessageState.SENT
    found = sums(client, hurt.sandbox["control"], ids, everybody)
    found.assert_exact()
    assert (found.doubled, found.statuses) == (0, {_S.ACCEPTED: len(everybody)})
    assert sum(client.get(message_id).doubtful for message_id in ids) == 0


@pytest.mark.parametrize("way", [by_task, pytest.param(over_http, marks=pytest.mark.slow)])
def test_cancelled_it_stops_for_good(hurt: Stack, client: Messaging, way: Way) -> None:
    """In the middle of its fan-out: what was sent says so, all that has a row and was not says cancelled."""
    devices = apns_tokens(6_000)
    topic = push_topic(client, apns=devices)
    message_id = client.send(Push(title="Hello"), topics=[topic]).id
    until(lambda: client.get(message_id).settled > 200, "it did not get under way")
    answer_after(hurt, apns=HELD_MS)
    way(hurt, message_id, "cancel")
    until(lambda: client.get(message_id).finished_at is not None, lambda: f"not closed\n{hurt.tail('fanout')}")
    view = client.get(message_id)
    assert view.state is MessageState.CANCELLED
    assert view.totals[_S.CANCELLED] > 0, "it was over before it could be cancelled"
    quiet(hurt)
    rows = list(client.all_deliveries(message_id))
    assert {row.status for row in rows} <= {_S.ACCEPTED, _S.CANCELLED}
    assert sum(view.totals.values()) == view.total == len(rows) <= len(devices)
    accepted = {str(row.identifier) for row in rows if row.status is _S.ACCEPTED}
    everybody = frozenset(devices)
    assert sorted(taken(hurt, everybody)) == sorted(accepted)
    swept(hurt)
    assert sorted(taken(hurt, everybody)) == sorted(accepted), "something was sent afterwards"
