"""Providers that dribble, never stop, or let their certificate run out: an outcome in time, and no harm to others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from messaging.outcome import Action
from tests.certificates import Authority, Files
from workers.providers.bounded import BoundedClient
from workers.providers.http1 import lost
from workers.providers.http2 import Http2Client
from workers.providers.http2_answer import NotSentError

Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@asynccontextmanager
async def server(writes: Writes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that reads a request's head and then does as it likes; its port."""
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await writes(writer)
            writer.close()
            return
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in serving:
            assert task is not None
            task.cancel()
        await asyncio.gather(*filter(None, serving), return_exceptions=True)


async def dribble(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, for ever."""
    writer.write(HEAD)
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)  # the rhythm of the bytes


async def dribble_from_the_start(writer: asyncio.StreamWriter) -> None:
    """The same, and not even the head ends."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: x\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)  # the rhythm of the lines


async def flood(writer: asyncio.StreamWriter) -> None:
    """As much as goes through."""
    writer.write(HEAD)
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


@pytest.mark.parametrize("writes", [dribble, dribble_from_the_start, flood])
def test_an_answer_that_never_ends_is_given_up(writes: Writes) -> None:
    """Whether the request was obeyed is unknown then; no answer is longer than it may be."""

    async def ask() -> httpx.HTTPError:
        async with server(writes) as port, BoundedClient(whole_answer_s=0.5, most_bytes=1 << 20) as client:
            with pytest.raises(httpx.HTTPError) as caught:
                await client.post(f"http://127.0.0.1:{port}/", content=b"")
        return caught.value

    assert lost(asyncio.run(ask()), "It").action is Action.AMBIGUOUS_RETRY


def test_a_whole_answer_is_read_as_ever() -> None:
    """And its connection serves the next request."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async def ask() -> tuple[int, bytes]:
        async with server(answer) as port, BoundedClient() as client:
            response = await client.post(f"http://127.0.0.1:{port}/", content=b"")
            return response.status_code, response.content

    assert asyncio.run(ask()) == (200, b"{}")


def context_of(files: Files) -> ssl.SSLContext:
    """A server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_certificate_that_ran_out_sends_nothing_and_a_new_one_is_enough(version: str, tmp_path: Path) -> None:
    """The request never leaves, so nothing is in doubt; nobody has to restart anything once it is renewed."""
    authority = Authority.made(tmp_path)
    outdated = context_of(authority.server("127.0.0.1", until=timedelta(days=-1)))
    trusting = ssl.create_default_context(cafile=str(authority.file))
    heard: list[str] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        heard.append("a request")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async def over_http1() -> None:
        async with server(answer, outdated) as port, BoundedClient(verify=trusting) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.post(f"https://127.0.0.1:{port}/", content=b"")
            assert lost(caught.value, "It").action is Action.RETRY
            assert not heard
            fresh = authority.server("127.0.0.1")
            outdated.load_cert_chain(fresh.certificate, fresh.key)
            assert (await client.post(f"https://127.0.0.1:{port}/", content=b"")).status_code == 200

    async def over_http2() -> None:
        outdated.set_alpn_protocols(["h2"])
        async with server(answer, outdated) as port:
            client = Http2Client(f"https://127.0.0.1:{port}", ssl_context=trusting)
            with pytest.raises(NotSentError):
                await client.request("POST", "/", [], b"")
            await client.aclose()
        assert not heard

    asyncio.run(over_http1() if version == "HTTP/1.1" else over_http2())
