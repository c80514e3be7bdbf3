"""What `messaging doctor` says of a Redis, misconfigured for real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from messaging.doctor import redis_server, work, workers
from messaging.doctor.finding import State
from messaging.doctor.rabbitmq import QueueState
from messaging.wire import SWEPT_KEPT_S, SWEPT_KEY, Queue
from workers import redis_transport
from workers.sweep_mark import SweepMark


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    """The session's Valkey, empty; its configuration is put back."""
    with redis_server.client(valkey_url) as opened:
        opened.flushall()
        yield opened


@contextmanager
def set_to(redis: Redis, **changes: str) -> Iterator[Mapping[str, Any]]:
    """What it tells with these settings."""
    asked: Any = redis  # redis-py types both its clients at once
    names = {name.replace("_", "-"): value for name, value in changes.items()}
    before = {name: asked.config_get(name)[name] for name in names}
    try:
        for name, value in names.items():
            redis.config_set(name, value)
        told: Any = redis.info()
        yield told
    finally:
        for name, value in before.items():
            redis.config_set(name, value)


def states(redis: Redis, *, holds_tasks: bool = True) -> dict[str, State]:
    """How each check stands."""
    return {each.check: each.state for each in redis_server.examine("broker", redis, holds_tasks=holds_tasks)}


def test_our_own_valkey_is_ok(redis: Redis) -> None:
    """It was set up as it should be."""
    assert set(states(redis).values()) == {State.OK}


def test_a_server_that_is_away_is_broken() -> None:
    """One finding, and nothing more is asked."""
    with redis_server.client("redis://127.0.0.1:1/0") as away:
        assert states(away) == {"broker": State.BROKEN}


def test_a_policy_that_throws_queues_away_is_broken(redis: Redis) -> None:
    """A warning where there is no limit at which it would."""
    with set_to(redis, maxmemory_policy="allkeys-lru"):
        assert states(redis)["broker eviction"] is State.WARNING
    with set_to(redis, maxmemory_policy="allkeys-lru", maxmemory="500mb"):
        assert states(redis)["broker eviction"] is State.BROKEN


def test_a_full_server_is_broken(redis: Redis) -> None:
    """Before it refuses the next task."""
    redis.set("ballast", "x" * 32_000_000)  # beside it, the buffers of connections that come and go are nothing
    told: Any = redis.info("memory")
    used = int(told["used_memory"])
    with set_to(redis, maxmemory=str(used)):
        assert states(redis)["broker memory"] is State.BROKEN
    with set_to(redis, maxmemory=str(int(used / 0.87))):
        assert states(redis)["broker memory"] is State.WARNING


def test_a_server_without_an_append_only_file_is_told(redis: Redis) -> None:
    """Where it holds tasks; pacing may be lost."""
    with set_to(redis, appendonly="no"):
        assert states(redis)["broker persistence"] is State.WARNING
        assert "broker persistence" not in states(redis, holds_tasks=False)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"role": "slave", "redis_version": "7.2.4"}, State.BROKEN),
        ({"role": "master", "redis_version": "6.0.16"}, State.BROKEN),
        ({"role": "master", "redis_version": "6.2.0"}, State.OK),
    ],
)
def test_a_replica_or_an_old_server_is_broken(told: dict[str, str], state: State) -> None:
    """By what it says of itself."""
    assert redis_server.reach("broker", told).state is state


def test_a_file_that_can_not_be_written_is_broken() -> None:
    """The server says so, and refuses tasks from then on."""
    found = redis_server.persistence("broker", {"aof_enabled": 1, "aof_last_write_status": "err"})
    assert (found.state, "append-only" in found.found) == (State.BROKEN, True)


def test_queues_are_counted_with_every_priority(redis: Redis) -> None:
    """A producer may set one."""
    redis.lpush("messaging", "x", "y")
    redis.lpush("messaging\x06\x163", "z")
    found = {each.name: each.waiting for each in work.redis_queue_states(redis, [str(Queue.INTAKE), str(Queue.PUSH)])}
    assert found == {"messaging": 3, "messaging.push": 0}


def test_what_is_no_message_is_told(redis: Redis) -> None:
    """From the list our transport keeps it in."""
    assert work.unreadable(redis).state is State.OK
    redis.lpush(redis_transport.UNREADABLE, "rubbish")
    assert work.unreadable(redis).state is State.WARNING


def test_a_sweep_leaves_its_mark(redis: Redis, valkey_url: str) -> None:
    """None, an old one, and a fresh one; whether beat or the worker is missing follows from the queue."""
    assert workers.swept(redis, []).state is State.BROKEN
    redis.set(SWEPT_KEY, "somewhere", ex=SWEPT_KEPT_S - 600)
    assert workers.swept(redis, []).advice == "Start beat."
    lies = [QueueState(str(Queue.SWEEP), 600, None)]
    assert "fanout worker" in workers.swept(redis, lies).advice
    SweepMark(valkey_url).leave()
    assert workers.swept(redis, []).state is State.OK
    assert workers.swept(None, []).state is State.SKIPPED


def test_a_sweep_does_not_wait_for_a_redis_that_is_away() -> None:
    """It is left alone for a while; without one there is nothing to do."""
    now = [0.0]
    mark = SweepMark("redis://127.0.0.1:1/0", clock_s=lambda: now[0])
    mark.leave()
    assert mark._failed_s == 0.0
    now[0] = 10.0
    mark.leave()
    assert mark._failed_s == 0.0
    now[0] = 40.0
    mark.leave()
    assert mark._failed_s == 40.0
    SweepMark(None).leave()
