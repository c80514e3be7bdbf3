"""TLS to a RabbitMQ and to a Redis that have it: with the right authority and name, or not at all."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisConnectionError

from messaging.local.free_ports import free_ports
from messaging.publish import Publisher, broker_settings
from messaging.settings import Settings
from messaging.store.batches import RECEIPTS_HINT
from messaging.wire import Queue
from tests.acceptance.stack import until
from tests.certificates import Authority, Files
from tests.system.programs import answers, end, program
from tests.system.rabbitmq import rabbitmq

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Broker:
    """A server with TLS on one port; RabbitMQ is without it on another."""

    scheme: str
    transport: str
    login: str
    port: int
    plain: int
    ours: Path
    foreign: Path

    def settings(self, host: str = "localhost", *, ca: Path | None, port: int | None = None) -> Settings:
        """As an operator has them."""
        return Settings.load(
            {}, database_url="postgresql://nobody/none", secret_key=secrets.token_hex(32), broker_ca_file=ca,
            broker_url=f"{self.scheme}://{self.login}@{host}:{port or self.port}/{'' if self.login[0] == ':' else '/'}",
        )  # fmt: skip


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority, Files]:
    """Ours, somebody else's, and ours's certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    ours = Authority.made(folder / "ours")
    return ours, Authority.made(folder / "foreign"), ours.server("localhost")


@pytest.fixture(scope="module")
def rabbit(authorities: tuple[Authority, Authority, Files]) -> Iterator[Broker]:
    """A node."""
    ours, foreign, files = authorities
    (port,) = free_ports(1)
    with rabbitmq(
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {ours.file}",
        f"ssl_options.certfile = {files.certificate}",
        f"ssl_options.keyfile = {files.key}",
    ) as node:
        until(lambda: answers(port), "no TLS listener")
        yield Broker("amqps", "rabbit_transport:TlsTransport", "guest:guest", port, node.port, ours.file, foreign.file)


@pytest.fixture(scope="module")
def redis(
    authorities: tuple[Authority, Authority, Files], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """A server with a port over TLS and one in plain."""
    ours, foreign, files = authorities
    folder = tmp_path_factory.mktemp("redis")
    port, plain = free_ports(2)
    password = secrets.token_hex(8)
    lines = [
        "bind 127.0.0.1", f"port {plain}", f"tls-port {port}", f"tls-cert-file {files.certificate}",
        f"tls-key-file {files.key}", f"tls-ca-cert-file {ours.file}", "tls-auth-clients no", f"requirepass {password}",
        f"dir {folder}", 'save ""', "daemonize no",
    ]  # fmt: skip
    (folder / "redis.conf").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("redis-server"), str(folder / "redis.conf")], stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: answers(port), "an answer")
        yield Broker("rediss", "redis_transport:Transport", f":{password}", port, plain, ours.file, foreign.file)
    finally:
        end(process)


@pytest.fixture(params=["rabbit", "redis"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of them."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def published(settings: Settings, transport: str) -> None:
    """A hint and a look at the queue, as the API and workers do."""
    del transport
    with Publisher(settings) as publisher:
        if not publisher.publish([RECEIPTS_HINT]) or not publisher.room(Queue.RECEIPTS):
            raise ConnectionError


def consumed(settings: Settings, transport: str) -> None:
    """A worker's connection."""
    app = Celery(set_as_current=False)
    app.conf.update(broker_settings(settings) | {"broker_transport": f"workers.{transport}"})
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        channel: Any
        with connection.channel() as channel:
            channel.queue_declare(queue="probe")


@pytest.mark.parametrize("use", [published, consumed])
def test_a_broker_is_reached_with_its_authority_and_name(use: Callable[[Settings, str], None], broker: Broker) -> None:
    """Over TLS: the port speaks nothing else."""
    use(broker.settings(ca=broker.ours), broker.transport)


@pytest.mark.parametrize("use", [published, consumed])
@pytest.mark.parametrize("wrong", ["authority", "no authority", "name", "no tls"])  # the last waits for our time-out
def test_a_broker_that_is_another_is_refused(use: Callable[[Settings, str], None], wrong: str, broker: Broker) -> None:
    """Whoever sits in between gets no password, and no task."""
    settings = {
        "authority": broker.settings(ca=broker.foreign),
        "no authority": broker.settings(ca=None),
        "name": broker.settings("127.0.0.1", ca=broker.ours),
        "no tls": broker.settings(ca=broker.ours, port=broker.plain),
    }[wrong]
    with pytest.raises((OSError, BrokerError, RedisConnectionError)):
        use(settings, broker.transport)
