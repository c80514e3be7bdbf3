"""Every check, in the order in which one depends on the other."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from messaging.channel import Channel
from messaging.client.runtime import read_runtime
from messaging.doctor import database, machine, providers, rabbitmq, redis_server, secrets, work, workers
from messaging.doctor.finding import Finding, State, broken, ok, skipped
from messaging.doctor.rabbitmq import QueueState
from messaging.errors import SettingsError
from messaging.settings import Settings
from messaging.store.engine import open_engine
from messaging.wire import Queue

_REDIS = ("redis://", "rediss://", "unix://", "sentinel://")


def examine(data_dir: Path | None, *, default: Path) -> list[Finding]:
    """What is found of the stack in `data_dir`, else of the environment's, else of the one in `default`."""
    directory = data_dir if data_dir is not None or os.environ.get("MESSAGING_DATABASE_URL") else default
    try:
        settings = _settings(directory)
    except SettingsError as error:
        return [broken("settings", str(error), "Correct it; nothing else was looked at.")]
    found = [ok("settings", "of the environment" if directory is None else f"of {directory}")]
    engine = open_engine(settings, role="doctor", pool_size=1)
    try:
        found += _examine(settings, engine, directory)
    finally:
        engine.dispose()
    return found


def _settings(directory: Path | None) -> Settings:
    if directory is None:
        return Settings.load()
    runtime = read_runtime(directory)
    outside: dict[str, Any] = {} if runtime.callback_url is None else {"callback_url": runtime.callback_url}
    if os.environ.keys() & {"MESSAGING_PUBLIC_URL", "MESSAGING_CALLBACK_URL"}:
        outside = {}
    return Settings.load(
        database_url=runtime.database_url,
        broker_url=runtime.broker_url,
        secret_key=runtime.secret_key,
        **outside,
    )


def _examine(settings: Settings, engine: Engine, directory: Path | None) -> Iterator[Finding]:
    reached = database.reach(engine)
    yield reached
    accounts: list[providers.Account] = []
    asked: list[Finding] = []
    if reached.state is not State.BROKEN:
        tables = True
        for finding in database.examine(engine):
            tables = tables and not (finding.check == "schema" and finding.state is State.BROKEN)
            yield finding
        if tables:
            yield secrets.secret_key(engine, settings.secret_key.get_secret_value())
            asked = list(work.examine(engine))
            accounts = yield from _accounts(settings, engine)
    channels = providers.channels(accounts) if accounts else set()
    yield from _servers(settings, channels)
    yield from asked
    yield machine.certificates(settings)
    if directory is not None:
        yield machine.disk(directory)
        yield from machine.stack(directory)


def _accounts(settings: Settings, engine: Engine) -> Generator[Finding, None, list[providers.Account]]:
    try:
        with engine.connect() as connection:
            found = providers.accounts(connection)
            yield providers.served(connection, found)
    except DBAPIError as error:
        yield skipped("providers", f"can't be asked: {str(error.orig).strip().splitlines()[0]}")
        return []
    yield providers.stopped(found)
    yield providers.unusable(found)
    yield providers.reached(settings, found)
    return found


def _servers(settings: Settings, channels: set[Channel]) -> Iterator[Finding]:
    """The broker, the Redis for pacing, the queues, and who reads them."""
    url = settings.with_authority(settings.broker_url.get_secret_value())
    pacing = settings.pacing_url
    names = [*map(str, Queue), *settings.intake_queues]
    paces: Redis | None = None
    if pacing is not None:
        paces = redis_server.client(pacing)
        yield from redis_server.examine("broker" if pacing == url else "pacing", paces, holds_tasks=pacing == url)
    else:
        yield skipped(
            "pacing", "no Redis", "Set MESSAGING_REDIS_URL: providers are not paced over all workers without."
        )
    if url.startswith(_REDIS):
        broker = paces if pacing == url and paces is not None else redis_server.client(url)
        if pacing != url:
            yield from redis_server.examine("broker", broker, holds_tasks=True)
        try:
            yield from _over_redis(broker, paces, names, channels)
        except RedisError as error:
            yield skipped("queues", f"can't be asked: {error}")
    elif url.startswith("amqp"):
        yield from _over_rabbitmq(settings, url, names, channels, paces)
    else:
        yield skipped("broker", f"{url.partition(':')[0]} is not looked at", "Ask it with its own tools.")


def _over_redis(broker: Redis, paces: Redis | None, names: list[str], channels: set[Channel]) -> Iterator[Finding]:
    states = work.redis_queue_states(broker, names)
    yield work.queues(states)
    yield work.unreadable(broker)
    must = set(workers.needed(channels))
    wanted = [role for role, queues in workers.QUEUES_OF.items() if must & set(queues)]
    nodes = workers.heartbeats(broker, wanted=wanted)
    yield workers.covered(workers.readers(nodes), channels, states, nodes)
    yield workers.swept(paces, states)


def _over_rabbitmq(
    settings: Settings, url: str, names: list[str], channels: set[Channel], paces: Redis | None
) -> Iterator[Finding]:
    try:
        with rabbitmq.connected(url, settings.broker_ca_file) as connection:
            yield rabbitmq.reach(connection)
            states: list[QueueState] = rabbitmq.queue_states(connection, names)
            yield rabbitmq.queue_types(connection, settings.rabbitmq_queue_type)
    except rabbitmq.AWAY as error:
        yield rabbitmq.away(error)
        return
    yield work.queues(states)
    yield workers.covered({each.name: each.consumers or 0 for each in states}, channels, states)
    try:
        yield workers.swept(paces, states)
    except RedisError as error:
        yield skipped("beat and sweep", f"can't be asked: {error}")
