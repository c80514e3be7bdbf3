"""A client that says little, slowly, or far too much is let go, and nobody else waits for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from messaging.http.app import create_app
from messaging.http.slow_clients import Patience, PatientProtocol
from messaging.settings import Settings
from tests.integration.http.api import SECRET, listener

_LIMIT_S = 60


class Hasty(PatientProtocol):
    """As the API's, with less patience."""

    patience = Patience(head_s=1.0, head_bytes=64 * 1024, body_s=1.0, body_bytes=64 * 1024, reader_s=1.0)


@dataclass(frozen=True)
class Served:
    """A server of that kind."""

    port: int

    @contextmanager
    def connected(self, said: bytes = b"") -> Iterator[socket.socket]:
        """A connection on which this was said."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_LIMIT_S) as connection:
            connection.sendall(said)
            yield connection

    def is_there(self) -> bool:
        """Whether somebody else is answered."""
        return httpx.get(f"http://127.0.0.1:{self.port}/health/live", timeout=_LIMIT_S).is_success


@pytest.fixture(scope="module")
def served(postgres_url: str, valkey_url: str) -> Iterator[Served]:
    """The API with little patience, and room for twenty connections."""
    settings = Settings.load({}, database_url=postgres_url, broker_url=valkey_url, secret_key=SECRET)
    listening = listener()
    config = uvicorn.Config(create_app(settings), log_level="critical", http=Hasty, ws="none", limit_concurrency=20)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        deadline = time.monotonic() + _LIMIT_S
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Served(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(_LIMIT_S)
        listening.close()


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes the connection (in time, or the test fails with a timeout)."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def is_cut_off(say: Callable[[int], object], *, most: int = 100_000) -> bool:
    """Whether the other side ends it while this is said again and again, up to `most` times."""
    deadline = time.monotonic() + _LIMIT_S
    for number in range(most):
        assert time.monotonic() < deadline
        try:
            say(number)
        except ConnectionError:
            return True
        time.sleep(0.01)  # so that it comes in many pieces
    return False


HEAD = b"POST /v1/messaging/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"


@pytest.mark.parametrize(
    "said",
    [b"", b"GET", HEAD, HEAD + b"\r\n", HEAD + b'\r\n{"topicId": ', b"\r\n"],
    ids=["nothing", "a word", "half a head", "no body", "half a body", "an empty line"],
)
def test_who_stops_in_the_middle_is_let_go(served: Served, said: bytes) -> None:
    """Wherever that is."""
    with served.connected(said) as connection:
        assert is_closed(connection)
    assert served.is_there()


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\nX-Slow: ", HEAD + b"\r\n"], ids=["head", "body"])
def test_who_sends_a_byte_at_a_time_is_let_go(served: Served, beginning: bytes) -> None:
    """What has begun must end in time: a byte now and then does not prolong it."""
    with served.connected(beginning) as connection:
        assert is_cut_off(lambda _: connection.sendall(b"x"))


def test_a_further_request_on_a_connection_must_end_in_time_too(served: Served) -> None:
    """After one that was answered."""
    with served.connected(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        assert is_closed(connection)


def test_a_head_without_end_is_refused(served: Served) -> None:
    """It is not kept: a megabyte of headers is no request."""
    with served.connected(b"GET / HTTP/1.1\r\nHost: x\r\n") as connection:
        assert is_cut_off(lambda number: connection.sendall(f"X-{number}: {'x' * 8000}\r\n".encode()), most=1000)
    assert served.is_there()


def test_a_reader_that_does_not_read_is_let_go(served: Served) -> None:
    """Its answer is larger than what the system keeps for it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(_LIMIT_S)
        connection.connect(("127.0.0.1", served.port))
        asked = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10
        assert is_cut_off(lambda _: connection.sendall(asked))  # ask for more and more, and read nothing
    assert served.is_there()


def test_a_flood_is_told_503_and_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a request is refused at once; when those who sit there are gone, all is well."""
    monkeypatch.setattr(Hasty, "patience", Patience(head_s=2 * _LIMIT_S))  # they are there when the last one asks
    with ExitStack() as stack:
        for _ in range(25):  # who had asked would be refused too, and be gone
            stack.enter_context(served.connected())
        with served.connected(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 503")
    deadline = time.monotonic() + _LIMIT_S
    while not served.is_there():
        assert time.monotonic() < deadline


def test_connections_far_beyond_the_limit_are_not_even_heard(served: Served) -> None:
    """Each costs us a socket."""
    with ExitStack() as stack:
        many = [stack.enter_context(served.connected()) for _ in range(60)]
        assert is_closed(many[-1])


@pytest.mark.slow
def test_a_long_body_that_comes_steadily_is_read_to_its_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is by progress: a body may take longer than the wait for a piece of it."""
    monkeypatch.setattr(Hasty, "patience", Patience(body_s=4.0, body_bytes=64 * 1024))
    piece = b" " * (64 * 1024)

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield piece
            time.sleep(1)
        yield b"{}"

    answer = httpx.post(
        f"http://127.0.0.1:{served.port}/v1/messaging/topics",
        content=pieces(),
        headers={"content-type": "application/json"},
        timeout=_LIMIT_S,
    )
    assert answer.status_code == 401  # read, and looked at
