"""One Python client in a process of its own: `python -m benchmarks.peers.clients NAME ORIGIN CA_FILE REQUESTS`.

Prints "started" when it is connected and warm, then a line of JSON: requests, wall_s, cpu_s. Each request has a
token of its own; what can be made before the clock starts, is.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.http2_client import BODY, CONSTANT, apns, fcm
from benchmarks.peers.server import TOKEN_PREFIX
from workers.providers.http2 import Http2Client

Request = tuple[str, list[tuple[str, str]], bytes]
Send = Callable[[Any], Awaitable[None]]
"""Send one prepared request; raises for any answer but 200."""

WARM = 300


class PeerError(RuntimeError):
    """A client was not answered as it should be."""


def apns_requests(count: int) -> list[Request]:
    """Requests as Apple is sent, each with a token of its own."""
    made = (apns(number) for number in range(count))
    return [(path.replace("/3/device/", f"/3/device/{TOKEN_PREFIX}"), headers, body) for path, headers, body in made]


def fcm_requests(count: int) -> list[Request]:
    """Requests as FCM is sent."""
    return [fcm(number) for number in range(count)]


def tokens(count: int) -> list[str]:
    """Device tokens, none twice."""
    return [f"{TOKEN_PREFIX}{uuid.uuid4().hex}{uuid.uuid4().hex}" for _ in range(count)]


@asynccontextmanager
async def ours(origin: str, ca_file: Path) -> AsyncIterator[Send]:
    """Our client on one connection."""
    client = Http2Client(origin, ssl_context=ssl.create_default_context(cafile=str(ca_file)))

    async def send(request: Request) -> None:
        path, headers, body = request
        _check((await client.request("POST", path, headers, body)).status)

    yield send
    await client.aclose()


@asynccontextmanager
async def with_httpx(origin: str, ca_file: Path) -> AsyncIterator[Send]:
    """`httpx.AsyncClient(http2=True)` on one connection."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    context = ssl.create_default_context(cafile=str(ca_file))
    async with httpx.AsyncClient(http2=True, verify=context, base_url=origin, limits=limits, timeout=60) as client:

        async def send(request: Request) -> None:
            path, headers, body = request
            _check((await client.post(path, headers=headers, content=body)).status_code)

        yield send


@asynccontextmanager
async def with_aioapns(origin: str, ca_file: Path) -> AsyncIterator[Send]:
    """`aioapns.APNs` on one connection; it builds the payload of each notification itself."""
    from aioapns import APNs, NotificationRequest, PushType  # noqa: PLC0415  only in this process
    from aioapns.connection import APNsProductionClientProtocol  # noqa: PLC0415

    where = urlsplit(origin)
    APNsProductionClientProtocol.APNS_SERVER = str(where.hostname)
    APNsProductionClientProtocol.APNS_PORT = int(where.port or 443)
    key = ca_file.with_name("key.pem").read_text()
    client = APNs(
        key=key,
        key_id="KEY4567890",
        team_id="TEAM567890",
        topic="com.example.app",
        max_connections=1,
        ssl_context=ssl.create_default_context(cafile=str(ca_file)),
    )
    message = json.loads(BODY)

    async def send(token: str) -> None:
        request = NotificationRequest(token, message, push_type=PushType.ALERT, priority=10)
        _check(int((await client.send_notification(request)).status))

    yield send
    client.pool.close()


@asynccontextmanager
async def with_firebase_admin(origin: str, ca_file: Path) -> AsyncIterator[Send]:
    """`messaging.send_each_async` with 500 messages a call; its address and its token are replaced, nothing else."""
    os.environ["SSL_CERT_FILE"] = str(ca_file)  # its httpx client reads it
    import firebase_admin  # noqa: PLC0415  only in this process
    from firebase_admin import credentials, messaging  # noqa: PLC0415
    from google.oauth2.credentials import Credentials  # noqa: PLC0415

    class Local(credentials.Base):  # type: ignore[misc]  # firebase-admin ships no types
        """A token that has not run out yet, as a worker's is for all but one request an hour."""

        def get_credential(self) -> object:
            return Credentials(dict(CONSTANT)["authorization"].removeprefix("bearer "))  # type: ignore[no-untyped-call]

    messaging._MessagingService.FCM_URL = f"{origin}/v1/projects/{{0}}/messages:send"  # noqa: SLF001  no public way
    app = firebase_admin.initialize_app(Local(), {"projectId": "demo"})

    async def send(batch: list[str]) -> None:
        notification = messaging.Notification(title="Order 17", body="Ready")
        messages = [messaging.Message(notification=notification, token=token) for token in batch]
        answers = await messaging.send_each_async(messages, app=app)
        if answers.failure_count:
            raise PeerError(str(next(answer.exception for answer in answers.responses if answer.exception)))

    yield send


def _fives(count: int) -> list[list[str]]:
    names = [uuid.uuid4().hex * 5 for _ in range(count)]
    return [names[at : at + 500] for at in range(0, count, 500)]


CLIENTS: dict[str, tuple[Callable[[str, Path], Any], Callable[[int], list[Any]], int]] = {
    # name: how to connect, what to send, how many sends at once (httpx is slower with more)
    "ours, as APNs": (ours, apns_requests, 500),
    "ours, as FCM": (ours, fcm_requests, 500),
    "httpx, as APNs": (with_httpx, apns_requests, 100),
    "httpx, as FCM": (with_httpx, fcm_requests, 100),
    "aioapns": (with_aioapns, tokens, 500),
    "firebase-admin": (with_firebase_admin, _fives, 1),
}


async def _send_all(send: Send, todo: Iterable[Any], at_once: int) -> None:
    waiting = iter(todo)

    async def sender() -> None:
        for request in waiting:
            await send(request)

    await asyncio.gather(*(sender() for _ in range(at_once)))


async def run(name: str, origin: str, ca_file: Path, requests: int) -> None:
    """Send, and print what it took."""
    connect, make, at_once = CLIENTS[name]
    async with connect(origin, ca_file) as send:
        await _send_all(send, make(WARM), at_once)
        todo = make(requests)
        print("started", flush=True)
        wall, cpu = time.perf_counter(), time.process_time()
        await _send_all(send, todo, at_once)
        cpu = time.process_time() - cpu
        wall = time.perf_counter() - wall
        print(json.dumps({"requests": requests, "wall_s": wall, "cpu_s": cpu}), flush=True)


def _check(status: int) -> None:
    if status != 200:
        raise PeerError(f"nghttpd answered {status}.")


if __name__ == "__main__":
    _name, _origin, _ca_file, _requests = sys.argv[1:]
    asyncio.run(run(_name, _origin, Path(_ca_file), int(_requests)))
