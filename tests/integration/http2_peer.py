"""A server that speaks raw HTTP/2 frames, so that a test decides what goes over the wire and when."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_CONCURRENT_STREAMS = SettingsFrame.MAX_CONCURRENT_STREAMS
INITIAL_WINDOW_SIZE = SettingsFrame.INITIAL_WINDOW_SIZE
Script = Callable[["Peer"], Awaitable[None]]


@dataclass
class Request:
    """A request as the peer received it; complete when `ended`."""

    stream_id: int
    headers: dict[str, str]
    body: bytes = b""
    ended: bool = False


@dataclass
class Peer:
    """The server's end of one connection. Answers nothing by itself but SETTINGS and PING."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: dict[int, Request] = field(default_factory=dict)
    resets: list[int] = field(default_factory=list)
    answers_pings: bool = True
    pings: int = 0
    pongs: int = 0
    gone: bool = False
    _decoder: Decoder = field(default_factory=Decoder)
    _encoder: Encoder = field(default_factory=Encoder)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[Peer], bool], *, within_s: float = 60.0) -> None:
        """Wait until `condition` holds; raises `TimeoutError` when it does not in time."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    @property
    def complete(self) -> list[Request]:
        """The requests that arrived whole, in order of their streams."""
        return [r for _, r in sorted(self.requests.items()) if r.ended]

    def settings(self, **values: int) -> None:
        """Send SETTINGS, e.g. ``max_concurrent_streams=1``."""
        frame = SettingsFrame(0)
        frame.settings = {getattr(SettingsFrame, name.upper()): value for name, value in values.items()}
        self.send(frame)

    def answer(
        self, stream_id: int, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Answer one stream completely."""
        head = HeadersFrame(stream_id)
        head.data = self._encoder.encode([(":status", str(status)), *(headers or {}).items()])
        head.flags.add("END_HEADERS")
        if not body:
            head.flags.add("END_STREAM")
            self.send(head)
            return
        data = DataFrame(stream_id, body)
        data.flags.add("END_STREAM")
        self.send(head, data)

    def go_away(self, last_stream_id: int, *, error_code: int = 0, debug: bytes = b"") -> None:
        """Send GOAWAY and keep the connection open."""
        self.send(GoAwayFrame(0, last_stream_id=last_stream_id, error_code=error_code, additional_data=debug))

    def refuse(self, stream_id: int, *, error_code: int = 7) -> None:
        """Reset a stream; 7 is REFUSED_STREAM."""
        self.send(RstStreamFrame(stream_id, error_code=error_code))

    def open_window(self, stream_id: int, increment: int) -> None:
        """Let the client send `increment` more bytes, on a stream or (0) the connection."""
        self.send(WindowUpdateFrame(stream_id, window_increment=increment))

    def send(self, *frames: Frame) -> None:
        """Write frames as they are, in one piece."""
        self.writer.write(b"".join(frame.serialize() for frame in frames))

    async def settle(self) -> None:
        """Wait until the client has read all that was sent, and what it did about it has arrived here."""
        for _ in range(2):  # the first answer may overtake what else the client sends in that turn
            before = self.pongs
            self.send(PingFrame(0, b"settled?"))
            await self.until(lambda p, n=before: p.pongs > n)  # type: ignore[misc]

    def cut(self) -> None:
        """Drop the connection without a word."""
        self.writer.transport.abort()

    async def read(self) -> None:
        """Keep reading until the client is gone."""
        try:
            await self.reader.readexactly(len(PREFACE))
            while True:
                frame, length = Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
                frame.parse_body(memoryview(await self.reader.readexactly(length)))
                async with self._changed:
                    self._take(frame)
                    self._changed.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        async with self._changed:
            self.gone = True
            self._changed.notify_all()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, HeadersFrame):
            decoded = self._decoder.decode(frame.data, raw=True)
            fields = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in decoded}
            self.requests[frame.stream_id] = Request(frame.stream_id, fields, ended="END_STREAM" in frame.flags)
        elif isinstance(frame, DataFrame):
            request = self.requests[frame.stream_id]
            request.body += frame.data
            request.ended = "END_STREAM" in frame.flags
        elif isinstance(frame, RstStreamFrame):
            self.resets.append(frame.stream_id)
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            ack = SettingsFrame(0)
            ack.flags.add("ACK")
            self.send(ack)
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            self.pongs += 1
        elif isinstance(frame, PingFrame):
            self.pings += 1
            if self.answers_pings:
                pong = PingFrame(0, frame.opaque_data)
                pong.flags.add("ACK")
                self.send(pong)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, made for one test run."""

    key_file: Path
    cert_file: Path

    def server_context(self, alpn: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_file, self.key_file)
        context.set_alpn_protocols(list(alpn))
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts only this certificate."""
        return ssl.create_default_context(cafile=str(self.cert_file))


def make_certificate(directory: Path) -> Certificate:
    """A new key and certificate in `directory`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(directory / "key.pem", directory / "cert.pem")
    plain = serialization.NoEncryption()
    made.key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    made.cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return made


@contextlib.asynccontextmanager
async def serve(script: Script, certificate: Certificate, *, port: int = 0) -> AsyncIterator[str]:
    """The origin of a server that runs `script` for each connection; a script's failure is raised at the end."""
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        reading = asyncio.create_task(peer.read())
        try:
            await script(peer)
            await reading
        except Exception as error:  # noqa: BLE001 - handed to the test
            failures.append(error)
        finally:
            reading.cancel()
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=certificate.server_context())
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]
