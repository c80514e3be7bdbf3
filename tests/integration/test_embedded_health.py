"""Health: alive in any case, ready only with PostgreSQL and the broker."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import httpx
import pytest

from messaging.http import health
from messaging.http.app import create_app
from messaging.local.free_ports import free_ports
from messaging.settings import Settings

if TYPE_CHECKING:
    from messaging.local.valkey import Valkey


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is there is not called away because the machine is busy."""
    monkeypatch.setattr(health, "_TIMEOUT_S", 60.0)


def _get(path: str, *, database_url: str, broker_url: str) -> httpx.Response:
    settings = Settings.load(database_url=database_url, broker_url=broker_url, secret_key=secrets.token_urlsafe(32))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_ready_when_both_servers_answer(postgres_url: str, valkey_url: str) -> None:
    """200 with a passing check for each server."""
    answer = _get("/health/ready", database_url=postgres_url, broker_url=valkey_url)
    assert answer.status_code == 200
    checks = {check["name"]: check["status"] for check in answer.json()["checks"]}
    assert checks == {"database": "pass", "broker": "pass"}


def test_not_ready_without_postgres(valkey_url: str) -> None:
    """503 that names the database, without its address or password."""
    port = free_ports(1)[0]
    database_url = f"postgresql://user:hidden@127.0.0.1:{port}/none"
    answer = _get("/health/ready", database_url=database_url, broker_url=valkey_url)
    assert answer.status_code == 503
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert checks["database"]["status"] == "fail"
    assert checks["database"]["reason"]
    assert checks["broker"]["status"] == "pass"
    assert "hidden" not in answer.text
    assert str(port) not in answer.text


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_not_ready_without_the_broker(postgres_url: str, scheme: str) -> None:
    """503 that names the broker, whichever kind it is."""
    broker_url = f"{scheme}://127.0.0.1:{free_ports(1)[0]}/"
    answer = _get("/health/ready", database_url=postgres_url, broker_url=broker_url)
    assert answer.status_code == 503
    assert {check["name"]: check["status"] for check in answer.json()["checks"]} == {
        "database": "pass",
        "broker": "fail",
    }


def test_a_broker_with_another_password_is_not_ready(postgres_url: str, valkey_server: Valkey) -> None:
    """An answer is not enough: the broker must let us in."""
    url = f"redis://:wrong@127.0.0.1:{valkey_server.port}/0"
    assert _get("/health/ready", database_url=postgres_url, broker_url=url).status_code == 503


def test_alive_whatever_the_servers_do() -> None:
    """Liveness asks nobody: a restart would not bring PostgreSQL back."""
    port = free_ports(1)[0]
    database_url, broker_url = f"postgresql://127.0.0.1:{port}/none", f"redis://127.0.0.1:{port}/0"
    assert _get("/health/live", database_url=database_url, broker_url=broker_url).status_code == 200


def test_appwrite_clients_get_their_health_model(postgres_url: str, valkey_url: str) -> None:
    """`GET /v1/health` answers name, ping in milliseconds and status."""
    body = _get("/v1/health", database_url=postgres_url, broker_url=valkey_url).json()
    assert body["name"] == "http"
    assert body["status"] == "pass"
    assert isinstance(body["ping"], int)
