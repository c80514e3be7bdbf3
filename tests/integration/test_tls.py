"""TLS to PostgreSQL and to Redis: with the right authority and name, or not at all."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import OperationalError

from messaging.client.messaging import Messaging
from messaging.http import health
from messaging.http.health import check_all
from messaging.local.postgres import Postgres
from messaging.local.valkey import Valkey
from messaging.publish import Publisher, broker_settings
from messaging.settings import Settings
from messaging.store import projects
from messaging.store.batches import RECEIPTS_HINT
from messaging.store.engine import open_engine
from messaging.store.migrate import upgrade
from messaging.wire import Queue
from tests.certificates import Authority
from tests.tls_proxy import Proxy, tls_in_front_of
from workers.pacing import RedisPacer

HOST = "localhost"
"""The name in the servers' certificates; the address 127.0.0.1 is not in them."""


@dataclass(frozen=True)
class Encrypted:
    """Both servers behind TLS, and authorities."""

    postgres: Proxy
    stripping: Proxy
    valkey: Proxy
    plain: Proxy
    """A server without TLS."""
    plain_valkey: str
    database: str
    password: str
    ours: Path
    foreign: Path

    def database_url(self, host: str = HOST, ca: Path | None = None, port: int | None = None) -> str:
        """As an operator writes it."""
        query = urlencode({"sslmode": "verify-full", "sslrootcert": str(ca or self.ours)})
        place = self.database.replace("@127.0.0.1", f"@{host}").replace(":PORT/", f":{port or self.postgres.port}/")
        return f"{place}?{query}"

    def broker_url(self, host: str = HOST, port: int | None = None, **query: str) -> str:
        """As an operator writes it."""
        asked = f"?{urlencode(query)}" if query else ""
        return f"rediss://:{self.password}@{host}:{port or self.valkey.port}/0{asked}"

    def settings(self, broker_url: str, ca: Path | None = None, *, database_url: str | None = None) -> Settings:
        """Settings with that broker."""
        return Settings.load(
            {}, database_url=database_url or self.database_url(), broker_url=broker_url,
            secret_key=secrets.token_hex(32), broker_ca_file=ca,
        )  # fmt: skip


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres, postgres_url: str, valkey_server: Valkey
) -> Iterator[Encrypted]:
    """Servers with certificates made now."""
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = Authority.made(folder / "ours"), Authority.made(folder / "foreign")
    files = ours.server(HOST)
    with (
        tls_in_front_of(postgres_server.port, files, postgres=True) as postgres,
        tls_in_front_of(postgres_server.port, files, postgres=True, strips=True) as stripping,
        tls_in_front_of(valkey_server.port, files) as valkey,
        tls_in_front_of(valkey_server.port, files, strips=True) as plain,
    ):
        yield Encrypted(
            postgres, stripping, valkey, plain, valkey_server.url(),
            postgres_url.replace(f":{postgres_server.port}/", ":PORT/"),
            valkey_server.url().partition("@")[0].removeprefix("redis://:"), ours.file, foreign.file,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What /health asks need not be quick here: a handshake on a busy machine may take seconds."""
    monkeypatch.setattr(health, "_TIMEOUT_S", 60.0)


def asked_database(url: str) -> bool:
    """What the road's engine, the migrations and the Python client do."""
    settings = Settings.load({}, database_url=url, broker_url="redis://x", secret_key="x" * 32)
    engine = open_engine(settings, role="test")
    try:
        with engine.begin() as connection:
            projects.ensure(connection, "default")
        upgrade(url)
        with Messaging.connect(database_url=url, secret_key="x" * 32) as client:
            list(client.list())
    finally:
        engine.dispose()
    return True


def test_the_database_is_reached_with_its_authority_and_name(encrypted: Encrypted) -> None:
    """Everything that opens it goes through the encrypted door."""
    before = encrypted.postgres.encrypted
    assert asked_database(encrypted.database_url())
    assert encrypted.postgres.encrypted >= before + 3


@pytest.mark.parametrize("wrong", ["authority", "name", "stripped"])
def test_a_database_that_is_another_is_refused(wrong: str, encrypted: Encrypted) -> None:
    """And nothing is said to it in plain."""
    url = {
        "authority": encrypted.database_url(ca=encrypted.foreign),
        "name": encrypted.database_url(host="127.0.0.1"),
        "stripped": encrypted.database_url(port=encrypted.stripping.port),
    }[wrong]
    settings = Settings.load({}, database_url=url, broker_url="redis://x", secret_key="x" * 32)
    engine = open_engine(settings, role="test")
    with pytest.raises(OperationalError, match=r"certificate|SSL"), engine.begin():
        pass
    engine.dispose()
    with pytest.raises(OperationalError, match=r"certificate|SSL"):
        upgrade(url)
    assert asyncio.run(check_all(encrypted.settings(encrypted.plain_valkey, database_url=url)))[0].reason
    assert (encrypted.postgres.plain, encrypted.stripping.plain) == (0, 0)


def published(settings: Settings) -> None:
    """A hint and a look at the queue, as the API and workers do."""
    with Publisher(settings) as publisher:
        if not publisher.publish([RECEIPTS_HINT]) or not publisher.room(Queue.RECEIPTS):
            raise ConnectionError


def consumed(settings: Settings) -> None:
    """A worker's connection."""
    app = Celery(set_as_current=False)
    app.conf.update(broker_settings(settings) | {"broker_transport": "workers.redis_transport:Transport"})
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        channel: Any = connection.default_channel
        channel.client.ping()


def paced(settings: Settings) -> None:
    """A pacer's connection."""
    url = settings.pacing_url
    assert url is not None

    async def asking() -> None:
        client = RedisPacer(url)._redis
        try:
            await client.ping()
        finally:
            await client.aclose()

    asyncio.run(asking())


def looked_after(settings: Settings) -> None:
    """What /health asks."""
    broker = asyncio.run(check_all(settings))[1]
    if broker.reason is not None:
        raise ConnectionError(broker.reason)


USES = (published, consumed, paced, looked_after)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("by", ["setting", "url"])
def test_redis_is_reached_with_its_authority_and_name(
    use: Callable[[Settings], None], by: str, encrypted: Encrypted
) -> None:
    """By MESSAGING_BROKER_CA_FILE, or by what redis-py takes in an address."""
    ca = encrypted.ours
    before = encrypted.valkey.encrypted
    if by == "setting":
        use(encrypted.settings(encrypted.broker_url(), ca))
    else:
        use(encrypted.settings(encrypted.broker_url(ssl_cert_reqs="required", ssl_ca_certs=str(ca))))
    assert encrypted.valkey.encrypted > before


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", ["authority", "authority of the url", "no authority", "name", "no tls"])
def test_a_redis_that_is_another_is_refused(use: Callable[[Settings], None], wrong: str, encrypted: Encrypted) -> None:
    """The system's authorities are no help to a certificate of our own; a server without TLS is not spoken to."""
    settings = {
        "authority": encrypted.settings(encrypted.broker_url(), encrypted.foreign),
        "authority of the url": encrypted.settings(encrypted.broker_url(ssl_ca_certs=str(encrypted.foreign))),
        "no authority": encrypted.settings(encrypted.broker_url()),
        "name": encrypted.settings(encrypted.broker_url(host="127.0.0.1"), encrypted.ours),
        "no tls": encrypted.settings(encrypted.broker_url(port=encrypted.plain.port), encrypted.ours),
    }[wrong]
    before = encrypted.valkey.encrypted
    with pytest.raises((RedisConnectionError, BrokerError, ConnectionError)):
        use(settings)
    assert encrypted.valkey.encrypted == before, "it was let in"
    assert encrypted.plain.plain == 0, "it was spoken to in plain"
