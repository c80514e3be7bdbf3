"""Servers of our own for what the sandbox can't do: one canned answer, silence, or a reset, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.http2_peer import Certificate, Peer
from tests.integration.http2_peer import serve as serve_http2
from tests.integration.smtp_script import ScriptedServer, listening

_PLENTY_OF_STREAMS = 100
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """What a server says to every request; SMTP says `line` to the message."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    line: str = ""
    cut: bool = False
    """The connection ends in the middle of the answer."""


@dataclass(frozen=True)
class Place:
    """Where a server is, and the authority that vouches for it."""

    address: str
    ca_file: Path | None = None


@contextlib.asynccontextmanager
async def answering_http2(answer: Answer, certificate: Certificate) -> AsyncIterator[Place]:
    """HTTP/2 over TLS."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=_PLENTY_OF_STREAMS)
        answered: set[int] = set()
        while not peer.gone:
            await peer.until(lambda p: p.gone or any(r.stream_id not in answered for r in p.complete), within_s=30)
            for request in peer.complete:
                if request.stream_id not in answered:
                    answered.add(request.stream_id)
                    if answer.cut:
                        peer.cut()
                        return
                    peer.answer(request.stream_id, answer.status, dict(answer.headers), answer.body)

    async with serve_http2(script, certificate) as origin:
        yield Place(origin, certificate.cert_file)


@contextlib.asynccontextmanager
async def closed_window_http2(certificate: Certificate) -> AsyncIterator[Place]:
    """HTTP/2 whose windows let no byte of a body through."""

    async def script(peer: Peer) -> None:
        peer.settings(initial_window_size=0, max_concurrent_streams=_PLENTY_OF_STREAMS)
        await peer.until(lambda p: p.gone, within_s=30)
        assert not peer.complete

    async with serve_http2(script, certificate) as origin:
        yield Place(origin, certificate.cert_file)


@contextlib.asynccontextmanager
async def answering_http1(answer: Answer) -> AsyncIterator[Place]:
    """HTTP/1.1 in clear; each request is read whole before it is answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0] or 0))
                length = len(answer.body) + (100 if answer.cut else 0)
                fields = {"content-length": str(length)} | dict(answer.headers)
                lines = [f"HTTP/1.1 {answer.status} x", *(f"{name}: {value}" for name, value in fields.items())]
                writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
                await writer.drain()
                if answer.cut:
                    writer.close()
                    await writer.wait_closed()
                    return

    async with serving(serve) as port:
        yield Place(f"http://127.0.0.1:{port}")


@contextlib.asynccontextmanager
async def scripted_smtp(**script: str) -> AsyncIterator[Place]:
    """SMTP in clear, with AUTH."""
    login = {"ehlo": "250-script\r\n250-AUTH PLAIN\r\n250 SIZE 1000000", "auth": "235 2.7.0 welcome"}
    async with listening(ScriptedServer(**(login | script))) as (host,):
        yield Place(f"127.0.0.1:{host.port}")


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """The port of a server that accepts connections and never says a word."""

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    async with serving(serve) as port:
        yield port


@contextlib.asynccontextmanager
async def resetting() -> AsyncIterator[int]:
    """The port of a server that accepts connections and resets them at once."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends RST
        writer.transport.abort()

    async with serving(serve) as port:
        yield port


@contextlib.asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    """A port on which nobody listens, and nobody else can while the block runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """The port of a server that talks with each caller as `serve` does."""
    talking: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def talk() -> None:
            try:
                await serve(reader, writer)
            finally:
                writer.transport.abort()

        task = asyncio.get_running_loop().create_task(talk())
        talking.add(task)
        task.add_done_callback(talking.discard)

    running = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield int(running.sockets[0].getsockname()[1])
    finally:
        running.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close in the next turn of the loop
