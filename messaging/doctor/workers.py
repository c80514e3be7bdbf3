"""Who is alive: workers by their heartbeats, the sweep by the mark it leaves.

Nobody is asked (`inspect ping` waits for everybody): workers tell of themselves every two seconds anyway, over Redis on
a channel that is listened to here for a moment. RabbitMQ counts the readers of a queue itself.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from redis import Redis

from messaging.channel import Channel, Lane
from messaging.doctor.finding import Finding, broken, duration, ok, skipped, warning
from messaging.doctor.rabbitmq import QueueState
from messaging.local.processes import PROCESSES, Kind
from messaging.wire import SWEPT_KEPT_S, SWEPT_KEY, Queue, deliver_queue

LISTEN_S = 8.0
"""Four heartbeats of a worker: a busy machine is late with them. Who hears everybody listens no longer."""
SILENT_S = 30.0
"""A sweep is due every second; after so many without one, something is wrong."""


def _queues_of_roles() -> dict[str, tuple[str, ...]]:
    found = {}
    for process in PROCESSES:
        if process.kind is Kind.WORKER:
            words = shlex.split(process.command)
            found[process.name] = tuple(words[words.index("-Q") + 1].split(","))
    return found


QUEUES_OF: Mapping[str, tuple[str, ...]] = _queues_of_roles()
"""What each worker of the Procfile reads, by its name."""


def role_of(node: str) -> str | None:
    """Which of the Procfile's workers a node such as `push-high-3f2a@host` is; None for one with another name."""
    name = node.partition("@")[0]
    for role in sorted(QUEUES_OF, key=len, reverse=True):
        if name == role or name.startswith(f"{role}-"):
            return role
    return None


def heartbeats(redis: Redis, *, wanted: Collection[str] = (), listen_s: float = LISTEN_S) -> set[str]:
    """Names of the nodes that told of themselves within `listen_s`; earlier, once every role in `wanted` did."""
    database = redis.connection_pool.connection_kwargs.get("db") or 0
    heard: set[str] = set()
    until = time.monotonic() + listen_s
    asked: Any = redis  # redis-py leaves this part untyped
    with asked.pubsub(ignore_subscribe_messages=True) as listening:
        # kombu's name for the exchange of events (kombu 5.7, transport/redis.py, `_get_publish_topic`)
        listening.psubscribe(f"/{database}.celeryev/worker.*")
        while (left_s := until - time.monotonic()) > 0:
            message = listening.get_message(timeout=left_s)
            if message is not None:
                heard |= _node(message.get("data"))
                if wanted and set(wanted) <= {role_of(node) for node in heard}:
                    break
    return heard


def _node(data: object) -> set[str]:
    try:
        return {str(json.loads(str(data))["headers"]["hostname"])}
    except (ValueError, KeyError, TypeError):
        return set()


def readers(nodes: Iterable[str]) -> dict[str, int]:
    """How many of these nodes read each queue, as far as their names tell."""
    found: dict[str, int] = dict.fromkeys(map(str, Queue), 0)
    for node in nodes:
        for queue in QUEUES_OF.get(role_of(node) or "", ()):
            found[queue] += 1
    return found


def needed(channels: Collection[Channel]) -> list[str]:
    """The queues that somebody must read, where these channels have an account that is enabled."""
    delivering = {str(deliver_queue(channel, lane)): channel for channel in Channel for lane in Lane}
    return [str(queue) for queue in Queue if str(queue) not in delivering or delivering[str(queue)] in channels]


def covered(
    reading: Mapping[str, int],
    channels: Collection[Channel],
    waiting: Sequence[QueueState],
    nodes: Collection[str] = (),
) -> Finding:
    """Whether each queue that needs one has a reader."""
    must = set(needed(channels)) | {each.name for each in waiting if each.waiting and each.name in set(Queue)}
    missing = [queue for queue in map(str, Queue) if queue in must and not reading.get(queue)]
    strangers = sorted(node for node in nodes if role_of(node) is None)
    found = f"{len(nodes):,} alive" if nodes else f"{sum(map(bool, reading.values()))} queues are read"
    if not missing:
        return ok("workers", found)
    roles = ", ".join(role for role, queues in QUEUES_OF.items() if set(queues) & set(missing))
    said = f"{found}; nobody reads {', '.join(missing)}"
    if strangers:
        return warning(
            "workers",
            f"{said}, unless it is one of {', '.join(strangers)}",
            f"Name workers as the Procfile does (-n push@%h), or start: {roles}.",
        )
    return broken("workers", said, f"Start: {roles}. Their commands are in the Procfile; then look into their logs.")


def swept(redis: Redis | None, waiting: Sequence[QueueState], *, silent_s: float = SILENT_S) -> Finding:
    """When the sweep was last done: it is scheduler, retry queue and crash recovery in one."""
    check = "beat and sweep"
    if redis is None:
        return skipped(check, "there is no Redis where it leaves its mark", "Set MESSAGING_REDIS_URL.")
    left_ms = int(redis.pttl(SWEPT_KEY))
    if left_ms < 0:
        return broken(check, f"no sweep in {duration(SWEPT_KEPT_S)}", "Start beat, and a fanout worker.")
    age_s = max(0.0, SWEPT_KEPT_S - left_ms / 1000)
    if age_s <= silent_s:
        return ok(check, f"last sweep {duration(age_s)} ago")
    lie_there = any(each.name == Queue.SWEEP and each.waiting for each in waiting)
    advice = "Look into the log of the fanout worker: its tasks lie there." if lie_there else "Start beat."
    return broken(check, f"last sweep {duration(age_s)} ago", advice)
