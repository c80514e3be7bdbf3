"""Redis or Valkey, as a broker and for pacing: whether it keeps what it is given, and has room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from messaging.doctor.finding import Finding, broken, ok, size, skipped, warning
from messaging.redis_address import blocking_client

OLDEST_SERVER = (6, 2)
"""Celery 5.7 asks for it (whatsnew-5.7), and our scripts for commands it brought."""
_TIMEOUT_S = 5.0
_FULL, _NEARLY_FULL = 0.95, 0.8

Info = Mapping[str, Any]


def client(url: str) -> Redis:
    """A connection that gives up soon."""
    return blocking_client(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=True)


def examine(name: str, redis: Redis, *, holds_tasks: bool) -> Iterator[Finding]:
    """Every check of one server, called `name`; `holds_tasks` where it is the broker."""
    try:
        told: Any = redis.info()
    except RedisError as error:
        yield broken(name, f"does not answer: {error}", "Start it, or correct its address and password.")
        return
    yield reach(name, told)
    checks: Sequence[Callable[[str, Info], Finding]] = (
        (eviction, persistence, memory, clients) if holds_tasks else (eviction, memory, clients)
    )
    for check in checks:
        yield check(name, told)


def reach(name: str, info: Info) -> Finding:
    """Whether it takes writes and is new enough."""
    said = str(info.get("redis_version", "0"))
    product = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {said}"
    if info.get("role") != "master":
        return broken(name, f"{product} is a replica and takes no writes", "Name the primary, or use Sentinel.")
    if tuple(int(part) for part in said.split(".")[:2]) < OLDEST_SERVER:
        return broken(name, f"{product} is too old", "Upgrade it to Redis 6.2 or later, or any Valkey.")
    return ok(name, product)


def eviction(name: str, info: Info) -> Finding:
    """Whether it would throw a queue away when it is full."""
    policy, limit = info.get("maxmemory_policy", ""), int(info.get("maxmemory", 0))
    check = f"{name} eviction"
    if policy == "noeviction":
        return ok(check, "noeviction")
    if not policy:
        return skipped(check, "it does not tell its policy", "See to it that maxmemory-policy is noeviction.")
    advice = "CONFIG SET maxmemory-policy noeviction, and in its file: a full server would throw whole queues away."
    if limit:
        return broken(check, f"{policy}, from {size(limit)} on", advice)
    return warning(check, f"{policy}, though without a limit of memory", advice)


def persistence(name: str, info: Info) -> Finding:
    """Whether tasks survive its restart."""
    check = f"{name} persistence"
    failed = [
        what
        for field, what in (
            ("aof_last_write_status", "its append-only file"),
            ("aof_last_bgrewrite_status", "a rewrite of its append-only file"),
            ("rdb_last_bgsave_status", "its snapshot"),
        )
        if info.get(field, "ok") != "ok"
    ]
    if failed:
        return broken(check, f"could not write {' and '.join(failed)}", "Look into its log and at its disk.")
    if int(info.get("aof_enabled", 0)):
        return ok(check, "append-only file")
    return warning(
        check,
        "no append-only file",
        "CONFIG SET appendonly yes, and in its file: tasks of producers that nobody took in yet go with a crash.",
    )


def memory(name: str, info: Info) -> Finding:
    """Whether there is room for more tasks."""
    check = f"{name} memory"
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    most = limit or int(info.get("total_system_memory", 0))
    if not most:
        return ok(check, f"{size(used)} in use")
    found = f"{size(used)} of {size(most)}{'' if limit else ' (the machine)'} in use"
    if used > most * _FULL:
        return broken(check, found, "Raise maxmemory, or find out which queue grows: it refuses tasks now, or soon.")
    if used > most * _NEARLY_FULL:
        return warning(check, found, "Raise maxmemory, or find out which queue grows.")
    return ok(check, found)


def clients(name: str, info: Info) -> Finding:
    """Whether it takes more connections."""
    check = f"{name} connections"
    used, most = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if most and used > most * _NEARLY_FULL:
        return warning(check, f"{used:,} of {most:,} in use", "Raise maxclients, and its limit of open files.")
    return ok(check, f"{used:,} in use" + (f" of {most:,}" if most else ""))
