"""A broker that is there and takes nothing: full, unable to write to its disk, a replica since a fail-over."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from messaging.local.free_ports import free_ports
from messaging.local.valkey import Valkey
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue
from tests.acceptance.stack import until

HINT = Hint(queue=Queue.PUSH, shadow="push", message_id=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that may be hurt."""
    folder = tmp_path_factory.mktemp("valkey")
    made = Valkey(folder, port=free_ports(1)[0], log=folder / "valkey.log")
    process = made.start()
    until(made.ready, "Valkey does not start")
    yield made
    made.stop(process)


@contextmanager
def full(client: redis.Redis, folder: Path) -> Iterator[None]:  # noqa: ARG001  one signature for all of them
    """No memory left, and nothing evicted."""
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def without_disk(client: redis.Redis, folder: Path) -> Iterator[None]:
    """It can't write its snapshot, and stops taking writes."""
    (folder / "dump.rdb").mkdir()
    client.set("one", "change")
    client.config_set("save", "1 1")
    until(lambda: snapshot_ended(client, "err"), "the snapshot was written")
    yield
    client.config_set("save", "")
    (folder / "dump.rdb").rmdir()
    until(lambda: snapshot_ended(client, "ok"), "the snapshot was not written")


def snapshot_ended(client: redis.Redis, status: str) -> bool:
    """Whether the last one ended so; otherwise one is begun, where the server has not just begun one by itself."""
    told: Any = client.info("persistence")  # redis-py types both its clients at once
    if told["rdb_last_bgsave_status"] == status:
        return True
    with suppress(redis.ResponseError):  # one is under way
        client.bgsave()
    return False


@contextmanager
def replica(client: redis.Redis, folder: Path) -> Iterator[None]:  # noqa: ARG001
    """Another server is the primary now."""
    client.replicaof("127.0.0.1", free_ports(1)[0])
    yield
    client.replicaof("NO", "ONE")


@pytest.mark.parametrize("trouble", [full, without_disk, replica])
def test_hints_are_left_to_the_sweep_and_taken_again_afterwards(server: Valkey, trouble: object) -> None:
    """Publishing says so instead of raising at who has committed; one and many, and it goes on by itself."""
    own = {"database_url": "postgresql://nobody/none", "secret_key": secrets.token_hex(32)}
    settings = Settings.load({}, broker_url=server.url(), **own)
    assert callable(trouble)
    with redis.Redis.from_url(server.url(), decode_responses=True) as client, Publisher(settings) as publisher:
        client.delete(Queue.PUSH)
        folder = Path(client.config_get("dir")["dir"])
        assert publisher.publish([HINT])
        with trouble(client, folder):
            assert publisher.publish([HINT]) is False
            assert publisher.publish([HINT, HINT]) is False
        until(lambda: publisher.publish([HINT]), "hints are taken again")
        assert publisher.publish([HINT, HINT])
        assert client.llen(Queue.PUSH) == 4
