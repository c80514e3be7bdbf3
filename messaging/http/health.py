"""Whether the process lives, and whether it could do its work now."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import redis
from starlette.responses import JSONResponse
from starlette.routing import Route

from messaging.redis_address import client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from messaging.settings import Settings

_TIMEOUT_S = 2.0
_REDIS_SCHEMES = {"redis", "rediss", "sentinel"}
_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672}


@dataclass(frozen=True, kw_only=True)
class Check:
    """What asking one server brought: `ping_ms`, and the reason where it failed (without address or password)."""

    name: str
    ping_ms: int
    reason: str | None

    def body(self) -> dict[str, object]:
        """As Appwrite's `healthStatus` model, with `reason` added where there is one."""
        found: dict[str, object] = {
            "name": self.name,
            "ping": self.ping_ms,
            "status": "pass" if self.reason is None else "fail",
        }
        return found if self.reason is None else found | {"reason": self.reason}


def routes(settings: Settings) -> list[Route]:
    """/health/live, /health/ready and Appwrite's /v1/health."""

    async def live(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "pass"})

    async def ready(_request: Request) -> JSONResponse:
        checks = await check_all(settings)
        passed = all(check.reason is None for check in checks)
        return JSONResponse(
            {"status": "pass" if passed else "fail", "checks": [check.body() for check in checks]},
            HTTPStatus.OK if passed else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def appwrite(_request: Request) -> JSONResponse:
        started_s = time.perf_counter()
        checks = await check_all(settings)
        failed = [check for check in checks if check.reason is not None]
        reason = "; ".join(f"{check.name}: {check.reason}" for check in failed) or None
        whole = Check(name="http", ping_ms=_ms_since(started_s), reason=reason)
        return JSONResponse(whole.body(), HTTPStatus.OK if not failed else HTTPStatus.SERVICE_UNAVAILABLE)

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/v1/health", appwrite),
    ]


async def check_all(settings: Settings) -> list[Check]:
    """PostgreSQL and the broker, asked at the same time, within two seconds each."""
    database_url = settings.database_url.get_secret_value()
    broker_url = settings.with_authority(settings.broker_url.get_secret_value())
    return list(
        await asyncio.gather(
            _timed("database", lambda: _ask_database(database_url)),
            _timed("broker", lambda: _ask_broker(broker_url)),
        )
    )


async def _timed(name: str, ask: Callable[[], Awaitable[None]]) -> Check:
    started_s = time.perf_counter()
    reason: str | None = None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await ask()
    except TimeoutError:
        reason = f"no answer within {_TIMEOUT_S:.0f} s"
    except (OSError, psycopg.Error, redis.RedisError, ValueError) as error:
        reason = type(error).__name__  # its text may hold the address, and this page needs no key
    return Check(name=name, ping_ms=_ms_since(started_s), reason=reason)


async def _ask_database(url: str) -> None:
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True, prepare_threshold=None) as connection:
        await connection.execute("SELECT 1")


async def _ask_broker(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in _REDIS_SCHEMES:
        async with client(url) as asked:
            await asked.ping()
        return
    _, writer = await asyncio.open_connection(parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme, 5672))
    writer.close()
    await writer.wait_closed()


def _ms_since(started_s: float) -> int:
    return round((time.perf_counter() - started_s) * 1000)
