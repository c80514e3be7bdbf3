"""The servers we stand on are full, refuse or vanish: what we said yes to arrives, and nobody has to help."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http import HTTPStatus

import httpx
import psycopg
import pytest
import redis

from messaging.client.messaging import Messaging
from messaging.local.free_ports import free_ports
from messaging.wire import Queue
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import FAST, WORKERS, Stack, running, until
from tests.acceptance.sums import set_faults, sums

pytestmark = pytest.mark.timeout(600)

Trouble = Callable[[Stack], AbstractContextManager[None]]

HELD_S = 4.0
"""How long a server is in trouble: several sweeps, and tries of everybody."""
ASKED = 20
DEVICES = 2000


@pytest.fixture
def client(hurt: Stack) -> Iterator[Messaging]:
    """A client of the stack that is hurt."""
    with hurt.client() as opened:
        yield opened


# -- trouble ---------------------------------------------------------------------------------------


@contextmanager
def broker_full(stack: Stack) -> Iterator[None]:
    """Valkey has no memory left, and evicts nothing."""
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        broker.config_set("maxmemory", 1)
        try:
            yield
        finally:
            broker.config_set("maxmemory", 0)


@contextmanager
def broker_replica(stack: Stack) -> Iterator[None]:
    """Valkey takes no writes: another server became the primary, and comes back as such."""
    with redis.Redis.from_url(stack.runtime.broker_url) as broker:
        broker.replicaof("127.0.0.1", free_ports(1)[0])
        try:
            yield
        finally:
            broker.replicaof("NO", "ONE")


@contextmanager
def database_used_up(stack: Stack) -> Iterator[None]:
    """Our connections are closed and others take every one PostgreSQL has."""
    with ExitStack() as others:
        ours = others.enter_context(psycopg.connect(stack.runtime.database_url, autocommit=True))
        deadline = time.monotonic() + 120
        while True:
            try:
                others.enter_context(psycopg.connect(stack.runtime.database_url, application_name="greedy"))
            except psycopg.OperationalError as error:
                if "too many" not in str(error):
                    raise
                ended = ours.execute(_END_THE_REST).fetchone()
                if ended == (0,):
                    break
            assert time.monotonic() < deadline, "somebody always finds a connection"
        yield


_END_THE_REST = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'greedy'"""


@contextmanager
def database_read_only(stack: Stack) -> Iterator[None]:
    """PostgreSQL takes no writes, as a primary that became a replica."""
    with psycopg.connect(stack.runtime.database_url, autocommit=True) as ours:
        ours.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        ours.execute("SELECT pg_reload_conf()")
        try:
            # it only asks the server to read its settings; a session begun since says whether it has
            until(lambda: _is_read_only(stack), "the server does not read its settings")
            yield
        finally:
            ours.execute("SET default_transaction_read_only = off")
            ours.execute("ALTER SYSTEM RESET default_transaction_read_only")
            ours.execute("SELECT pg_reload_conf()")


def _is_read_only(stack: Stack) -> bool:
    with psycopg.connect(stack.runtime.database_url) as connection:
        return connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)


@contextmanager
def database_restarts(stack: Stack) -> Iterator[None]:
    """PostgreSQL is stopped as `pg_ctl -m immediate` does it, and recovers from its log."""
    os.kill(stack.runtime.processes["postgres"], signal.SIGQUIT)
    yield


# -- what must hold --------------------------------------------------------------------------------


def ask(stack: Stack, targets: Sequence[str]) -> list[str]:
    """Ask the API for a push to each target until it says yes: 201, or a clean 503 meanwhile; their message ids."""
    answered = []
    with httpx.Client(base_url=stack.runtime.endpoint, trust_env=False, timeout=90) as api:
        headers = {"x-appwrite-project": stack.runtime.project, "x-appwrite-key": stack.runtime.api_key}
        for target in targets:
            body = {"messageId": "unique()", "title": "Hello", "body": "there", "targets": [target]}
            answer = api.post("/messaging/messages/push", json=body, headers=headers)
            if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                assert answer.headers["retry-after"]
                assert answer.json()["type"] == "general_service_unavailable"
                continue
            assert answer.status_code == HTTPStatus.CREATED, answer.text
            answered.append(answer.json()["$id"])
    return answered


def bears(stack: Stack, client: Messaging, trouble: Trouble) -> list[str]:
    """A topic is being sent and singles are asked for while there is trouble: the sums are exact, nobody died.

    The ids of those the API said yes to during the trouble.
    """
    devices, singles = apns_tokens(DEVICES), apns_tokens(2 * ASKED)
    topic = push_topic(client, apns=devices)
    targets = {token: client.targets.create(token, provider_id="apns").id for token in singles}
    workers = {name: stack.runtime.processes[name] for name in (*WORKERS, "api", "beat")}
    set_faults(stack.sandbox["control"], "apns", delay_ms=200)
    with bare.producer(stack.runtime.broker_url) as shop:
        large = shop.send_task(bare.PUSH, kwargs={"title": "a", "topics": [topic]}, queue=bare.QUEUE).id
        before = ask(stack, [targets[token] for token in singles[:ASKED]])
        until(lambda: _settled(client, large) > 100, "the topic is not under way")
    assert len(before) == ASKED
    with trouble(stack):
        since = time.monotonic()
        during = ask(stack, [targets[token] for token in singles[ASKED:]])
        time.sleep(max(0.0, HELD_S - (time.monotonic() - since)))
    set_faults(stack.sandbox["control"], "apns", delay_ms=0)
    stack.ready()

    def all_finished() -> bool:
        try:
            return all(client.get(each).state.is_finished for each in (large, *before, *during))
        except Exception:  # noqa: BLE001  the server may still be away
            return False

    until(all_finished, lambda: stack.tail("api", "intake", "push", "push-high", "beat"), within_s=180)
    control = stack.sandbox["control"]
    sums(client, control, [large], devices, "apns").assert_exact()
    reached = [row.identifier for each in (*before, *during) for row in client.all_deliveries(each)]
    assert len(reached) == len(before) + len(during)
    sums(client, control, [*before, *during], map(str, reached), "apns").assert_exact()
    assert max(row.attempts for row in client.all_deliveries(large)) <= 1 + client.get(large).doubtful
    assert {name: stack.runtime.processes[name] for name in workers} == workers, stack.tail("up", "push", lines=40)
    return during


def _settled(client: Messaging, message_id: str) -> int:
    try:
        return client.get(message_id).settled
    except LookupError:
        return 0


def test_a_broker_that_is_full_costs_time_only(hurt: Stack, client: Messaging) -> None:
    """The API says yes to everything, for it is committed; the hints follow."""
    assert len(bears(hurt, client, broker_full)) == ASKED


@pytest.mark.slow
def test_a_broker_that_takes_no_writes_costs_time_only(hurt: Stack, client: Messaging) -> None:
    """As after a fail-over."""
    assert len(bears(hurt, client, broker_replica)) == ASKED


def test_a_database_without_a_free_connection_costs_time_only(hurt: Stack, client: Messaging) -> None:
    """The API says 503 and never yes to what is not saved."""
    assert len(bears(hurt, client, database_used_up)) < ASKED


def test_a_database_that_takes_no_writes_costs_time_only(hurt: Stack, client: Messaging) -> None:
    """As a primary does that became a replica."""
    assert len(bears(hurt, client, database_read_only)) < ASKED


@pytest.mark.slow
def test_a_database_restarted_at_once_costs_time_only(hurt: Stack, client: Messaging) -> None:
    """Without a checkpoint: it comes back from its log."""
    bears(hurt, client, database_restarts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_thousand_rows_never_fill_the_broker() -> None:
    """The push workers stand still while a topic is expanded: its queue stays at the mark, and then all goes out."""
    mark, page = 200, 10_000
    own = {"MESSAGING_TASK_SIZE": "100", "MESSAGING_HINTS_HIGH_WATER": str(mark), "MESSAGING_PAGE_SIZE": str(page)}
    with running("--sandbox", **FAST, **own) as stack, stack.client() as client:
        configure(client, stack.sandbox)
        devices = apns_tokens(300_000)
        topic = push_topic(client, apns=devices)
        with redis.Redis.from_url(stack.runtime.broker_url) as broker, bare.producer(stack.runtime.broker_url) as shop:
            worker = stack.runtime.processes["push"]
            os.kill(worker, signal.SIGSTOP)
            used = broker.info("memory")["used_memory"]
            message = shop.send_task(bare.PUSH, kwargs={"title": "a", "topics": [topic]}, queue=bare.QUEUE).id
            deepest = 0

            def expanded() -> bool:
                nonlocal deepest
                deepest = max(deepest, int(broker.llen(Queue.PUSH)))
                return _settled(client, message) >= 0 and _expanded(client, message)

            until(expanded, lambda: stack.tail("fanout"), within_s=200)
            assert mark / 2 < deepest <= mark + page / 100
            assert broker.info("memory")["used_memory"] - used < 20 * 1024 * 1024
            os.kill(worker, signal.SIGCONT)
        while not client.get(message).state.is_finished:  # as long as that takes, if it goes on
            before = _settled(client, message)
            until(
                lambda before=before: _settled(client, message) > before or client.get(message).state.is_finished,  # type: ignore[misc]  # mypy can't infer such a lambda
                lambda: stack.tail("push", "beat"),
            )
        sums(client, stack.sandbox["control"], [message], devices, "apns").assert_exact()


def _expanded(client: Messaging, message_id: str) -> bool:
    try:
        return client.get(message_id).expanded
    except LookupError:
        return False
