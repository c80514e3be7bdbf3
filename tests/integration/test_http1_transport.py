"""What a provider over HTTP/1.1 may do to a connection, and what httpx is told of it: nothing is blurred."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from messaging.outcome import Action
from workers.providers import http1_transport
from workers.providers.bounded import BoundedClient
from workers.providers.http1 import lost
from workers.providers.http1_connection import MOST_HEAD_BYTES, Connection
from workers.providers.http1_transport import Http1Transport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds makes no connection too old for the next request."""
    monkeypatch.setattr(http1_transport, "KEPT_IDLE_S", 600.0)


@dataclass
class Server:
    """Answers each request with the same bytes, then maybe hangs up."""

    answer: bytes = OK
    hangs_up: bool = False
    answers: int | None = None
    """Requests of a connection that are answered; the next one is taken, and the connection closed."""
    reads_bodies: bool = True
    takes_bytes: int | None = None
    """Room for what nobody has read yet, as far as the system keeps to it."""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.serving.add(asyncio.current_task())
        self.writers.append(writer)
        left = self.answers
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.lower().splitlines() if line[:15] == b"content-length:")
                self.requests.append(head + (await reader.readexactly(length) if self.reads_bodies else b""))
                if left == 0:
                    break
                left = None if left is None else left - 1
                writer.write(self.answer)
                await writer.drain()
                if not self.reads_bodies:
                    await asyncio.Event().wait()
                if self.hangs_up:
                    writer.close()
                    return
        writer.transport.abort()


@asynccontextmanager
async def client_of(
    server: Server, *, connections: int = 1, waits: httpx.Timeout | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the transport under test at the server's address."""
    opened = socket.create_server(("127.0.0.1", 0))
    if server.takes_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, server.takes_bytes)
    listening = await asyncio.start_server(server.serve, sock=opened)
    server.port = listening.sockets[0].getsockname()[1]
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context)))
    transport = Http1Transport(verify=ssl.create_default_context(), connections=connections, most_bytes=1 << 20)
    base_url = f"http://127.0.0.1:{server.port}"
    try:
        async with BoundedClient(transport=transport, base_url=base_url, timeout=waits or 30) as client:
            yield client
    finally:
        listening.close()
        tasks = [task for task in server.serving if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not said, "what a server does is told to the caller, and nothing is left to the loop's log"


def answers(server: Server, count: int = 1) -> list[httpx.Response]:
    """The answers to as many requests, one after the other."""

    async def run() -> list[httpx.Response]:
        async with client_of(server) as client:
            return [await client.post("/a", content=b"b%d" % number) for number in range(count)]

    return asyncio.run(run())


def failure(server: Server, waits: httpx.Timeout | None = None) -> httpx.HTTPError:
    """What one request ends with."""

    async def run() -> httpx.HTTPError:
        async with client_of(server, waits=waits) as client:
            with pytest.raises(httpx.HTTPError) as caught:
                await client.post("/", content=b"")
        return caught.value

    return asyncio.run(run())


def test_requests_follow_each_other_over_one_connection() -> None:
    """Each arrives whole, with the headers httpx gave it."""
    server = Server()
    found = answers(server, 3)
    assert [(answer.status_code, answer.content) for answer in found] == [(200, b"{}")] * 3
    assert server.connections == 1
    assert [request.rpartition(b"\r\n\r\n")[2] for request in server.requests] == [b"b0", b"b1", b"b2"]
    assert server.requests[0].startswith(b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        OK + b"HTTP/1.1 500 No\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
        OK + b"x",
    ],
    ids=["told so", "HTTP/1.0", "an answer too many", "another answer too many", "a byte too many"],
)
def test_a_connection_that_is_not_fit_for_another_request_is_not_given_one(answer: bytes) -> None:
    """A stray answer would be taken for that of the next message."""
    server = Server(answer)
    assert [(found.status_code, found.content) for found in answers(server, 3)] == [(200, b"{}")] * 3
    assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "status", "content"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + OK, 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 307 Moved\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n", 307, b""),
    ],
    ids=["chunked", "after informational ones", "no content", "redirect"],
)
def test_every_way_to_frame_an_answer_is_read(answer: bytes, status: int, content: bytes) -> None:
    """And the connection serves on; no redirect is followed."""
    server = Server(answer)
    assert {(found.status_code, found.content) for found in answers(server, 2)} == {(status, content)}
    assert (server.connections, len(server.requests)) == (1, 2)


def test_an_answer_may_end_with_its_connection_and_be_compressed() -> None:
    """Neither length nor chunks: the body is what came."""
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"{}"), hangs_up=True)
    assert answers(server)[0].content == b"{}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-le", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 100 Continue\r\n\r\n", httpx.RemoteProtocolError),
        (b"220 mail.example.org ESMTP\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", httpx.RemoteProtocolError),
        (
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10 * MOST_HEAD_BYTES,
            httpx.RemoteProtocolError,
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + bytes(2_000_000), httpx.ReadError),
    ],
    ids=[
        "none",
        "half a head",
        "half",
        "no last chunk",
        "go on, and nothing",
        "another protocol",
        "an upgrade",
        "endless headers",
        "too long",
    ],
)
def test_an_answer_that_can_t_be_read_leaves_the_outcome_unknown(answer: bytes, kind: type[Exception]) -> None:
    """The request was taken."""
    error = failure(Server(answer, hangs_up=b"yyy" not in answer))
    assert isinstance(error, kind), error
    assert lost(error, "It").action is Action.AMBIGUOUS_RETRY


def test_silence_is_a_read_timeout() -> None:
    """However often the connection served before."""
    error = failure(Server(b""), httpx.Timeout(30, read=0.3))
    assert type(error) is httpx.ReadTimeout


def test_nobody_listening_sent_nothing() -> None:
    """Certain, so it is tried again whatever the message says of unknown ones."""

    async def run() -> httpx.HTTPError:
        transport = Http1Transport(verify=ssl.create_default_context(), connections=1)
        async with BoundedClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.post("http://127.0.0.1:1/", content=b"")
        return caught.value

    assert lost(asyncio.run(run()), "It").action is Action.RETRY


def test_more_calls_than_connections_wait_and_those_that_wait_too_long_sent_nothing() -> None:
    """The server never has more connections than the account may open."""
    server = Server()
    silent = Server(b"")

    async def run() -> tuple[int, BaseException | None]:
        async with client_of(server, connections=3) as client:
            await asyncio.gather(*(client.post("/", content=b"") for _ in range(30)))
        async with client_of(silent, waits=httpx.Timeout(30, pool=0.2)) as client:
            first = asyncio.create_task(client.post("/", content=b""))
            while not silent.requests:  # noqa: ASYNC110  (the server's side has no event to wait for)
                await asyncio.sleep(0.01)
            with pytest.raises(httpx.PoolTimeout) as caught:
                await client.post("/", content=b"")
            first.cancel()
        return server.connections, caught.value

    connections, error = asyncio.run(run())
    assert connections <= 3
    assert isinstance(error, httpx.PoolTimeout)
    assert (len(server.requests), len(silent.requests)) == (30, 1)


def test_a_connection_closed_while_idle_is_seen_before_the_next_request_is_written() -> None:
    """Even in the moment in which the loop has not heard of it: nothing is sent into it, so nothing is unknown."""
    server = Server()

    async def run() -> list[bytes]:
        async with client_of(server) as client:
            first = await client.post("/", content=b"1")
            server.writers[0].get_extra_info("socket").shutdown(socket.SHUT_WR)
            transport = client._transport
            assert isinstance(transport, Http1Transport)
            ((kept,),) = transport._idle.values()
            assert kept._arrivals.poll(30_000), "the system has not heard"  # nor has the loop, which stands still here
            second = await client.post("/", content=b"2")
            return [first.content, second.content]

    assert asyncio.run(run()) == [b"{}"] * 2
    assert (server.connections, len(server.requests)) == (2, 2)


def test_a_connection_closed_as_the_next_request_arrives_leaves_that_unknown_and_unrepeated() -> None:
    """A text message may have been sent by then (RFC 9110 §9.2.2: a POST is not repeated by itself)."""
    server = Server(answers=1)

    async def run() -> httpx.HTTPError:
        async with client_of(server) as client:
            await client.post("/", content=b"1")
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await client.post("/", content=b"2")
            await client.post("/", content=b"3")
        return caught.value

    assert lost(asyncio.run(run()), "It").action is Action.AMBIGUOUS_RETRY
    assert [request[-1:] for request in server.requests] == [b"1", b"2", b"3"]
    assert server.connections == 2


def test_an_answer_may_come_before_the_whole_request_was_sent() -> None:
    """It is believed, the rest is not sent, and the connection, with half a request in it, gets no other."""
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"
    server = Server(refusal, reads_bodies=False)

    async def run() -> list[int]:
        async with client_of(server) as client:
            return [(await client.post("/", content=bytes(16 << 20))).status_code for _ in range(2)]

    assert asyncio.run(run()) == [413, 413]
    assert server.connections == 2


def test_an_answer_is_not_kept_back_by_what_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side takes little and reads no more: what is left of the request has no room to go to."""
    made = Connection.connection_made

    def made_small(connection: Connection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        made(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", made_small)
    server = Server(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", reads_bodies=False, takes_bytes=8192)

    async def run() -> list[int]:
        async with client_of(server, waits=httpx.Timeout(None)) as client, asyncio.timeout(60):
            return [(await client.post("/", content=bytes(16 << 20))).status_code for _ in range(2)]

    assert asyncio.run(run()) == [413, 413]
    assert server.connections == 2


def test_a_cancelled_call_does_not_leave_its_connection_to_the_next() -> None:
    """Its late answer would be taken for the next one's."""
    server = Server(b"")

    async def run() -> bytes:
        async with client_of(server) as client:
            first = asyncio.create_task(client.post("/", content=b"1"))
            while not server.requests:  # noqa: ASYNC110  (the server's side has no event to wait for)
                await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            server.answer = OK
            return (await client.post("/", content=b"2")).content

    assert asyncio.run(run()) == b"{}"
    assert server.connections == 2


def test_an_idle_connection_is_closed_before_the_server_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text message sent into a connection that is just being closed is unknown, and stays so."""
    monkeypatch.setattr(http1_transport, "KEPT_IDLE_S", 0.0)
    server = Server()
    answers(server, 2)
    assert server.connections == 2


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rb", "a\0b"])
def test_a_header_with_a_line_end_is_never_written(value: str) -> None:
    """It would be read as another header, or another request."""
    server = Server()

    async def run() -> None:
        async with client_of(server) as client:
            with pytest.raises(httpx.LocalProtocolError):
                await client.post("/", content=b"", headers={"authkey": value})

    asyncio.run(run())
    assert not server.requests


def test_a_long_body_arrives_whole() -> None:
    """In parts, so that others are served meanwhile; a file is sent with its length like anything else."""
    server = Server()
    body = bytes(range(256)) * 40_000

    async def run() -> None:
        async with client_of(server) as client:
            await client.post("/", content=body)
            await client.post("/", data={"a": "b"}, files={"f": ("name", b"file")})

    asyncio.run(run())
    assert server.requests[0].endswith(b"\r\n\r\n" + body)
    assert b'name="a"\r\n\r\nb\r\n' in server.requests[1]
    assert b"transfer-encoding" not in server.requests[1].lower()


def test_the_login_in_an_address_is_used() -> None:
    """A webhook's address may have one."""
    server = Server()

    async def run() -> None:
        async with client_of(server) as client:
            await client.post(f"http://user:password@127.0.0.1:{server.port}/", content=b"")

    asyncio.run(run())
    assert b"authorization: basic dxnlcjpwyxnz" in server.requests[0].lower()
