"""A hostile HTTP/2 server in memory, and a clock that jumps: the client runs as it is, without a socket or a wait."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ABOUT_NO_STREAM = {"settings", "settings ack", "goaway", "short goaway", "ping", "garbage"}
_TURN_S = 1e-7
"""What a turn of the loop takes: asyncio runs timers a nanosecond early, and who looks at the clock then asks again."""
_HIGH_WATER = 65_536


class HangError(AssertionError):
    """Somebody waits for what nobody will ever do."""


class _Jumping(selectors.DefaultSelector):
    """Waits no time at all: the loop's clock jumps to the next timer."""

    loop: Loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise HangError("nothing is due, ever")
        self.loop.now += max(timeout, 0.0) + _TURN_S
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose connections lead to `server`."""

    server: Server

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)
        self.errors: list[Mapping[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        """Seconds, of which none pass."""
        return self.now

    async def create_connection(self, factory: Callable[[], Any], *_: Any, **__: Any) -> Any:  # type: ignore[override]
        """A connection to the server."""
        await asyncio.sleep(0)
        return self.server.accept(factory())


@dataclass
class Got:
    """A request as it arrived."""

    number: int
    size: int = 0
    whole: bool = False


class Transport(asyncio.Transport):
    """The client's end; `connection` is the server's."""

    def __init__(self, loop: Loop, protocol: Any) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self.connection = Connection(self)
        self.held = bytearray()
        self.reads = True
        self.most_held = 0
        self.closing = False
        self.lost = False
        self.slow_close = False
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if name else None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.lost, "written to a connection that is lost"
        self.held += data
        self.most_held = max(self.most_held, len(self.held))
        if self.reads:
            self.read()
        elif len(self.held) > _HIGH_WATER and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def read(self) -> None:
        """The server reads what is there."""
        data, self.held = bytes(self.held), bytearray()
        self.connection.take(data)
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_later(30.0 if self.slow_close else 0.0, self.lose)

    def abort(self) -> None:
        self.closing = True
        self.loop.call_soon(self.lose)

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closing = True
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)


class Connection:
    """The server's end: what it received, what it claimed, and a way to say anything."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.got: dict[int, Got] = {}
        self.goaway = 2**31
        """The lowest last stream it named."""
        self.refused: set[int] = set()
        self.contradicted: set[int] = set()
        """Streams it had begun to answer when a GOAWAY said that it had not looked at them."""
        self.begun: set[int] = set()
        """Streams it sent a response header on."""
        self.answered: dict[int, bytes] = {}
        """The final status sent on each stream."""
        self.is_good = False
        self.ours = True
        """False once it sent bytes whose meaning nobody knows."""
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._buffer = b""
        self._preface = len(PREFACE)

    # -- hearing ---------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Read frames."""
        skip = min(self._preface, len(data))
        self._preface -= skip
        self._buffer += data[skip:]
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._heard(frame)

    def _heard(self, frame: Frame) -> None:
        if isinstance(frame, HeadersFrame):
            assert "END_HEADERS" in frame.flags
            fields = {bytes(name): bytes(value) for name, value in self._decoder.decode(frame.data, raw=True)}
            self.got[frame.stream_id] = Got(int(fields[b":path"][1:]), whole="END_STREAM" in frame.flags)
        elif isinstance(frame, DataFrame):
            got = self.got[frame.stream_id]
            got.size += len(frame.data)
            got.whole = "END_STREAM" in frame.flags
        if self.is_good and isinstance(frame, (HeadersFrame, DataFrame)) and "END_STREAM" in frame.flags:
            self.say([self.build(("answer", frame.stream_id, 200, 5))])

    # -- saying ----------------------------------------------------------------------------------------

    def stream(self, which: int, kind: str) -> int:
        """One of the streams it knows, or one it does not; 0, the connection, for a window only."""
        known = sorted(self.got)
        if which < 6 and known:
            return known[which % len(known)]
        return {6: (known[-1] if known else -1) + 2, 7: 2}.get(which, 0 if kind == "window" else 1)

    def say(self, pieces: list[bytes], cut: int = 0) -> None:
        """Send the pieces in one go, or `cut` bytes at a time."""
        data = b"".join(pieces)
        for start in range(0, len(data), cut or max(len(data), 1)):
            if self.transport.closing:
                return
            self.transport.protocol.data_received(data[start : start + cut] if cut else data)

    def put(self, frames: list[tuple[Any, ...]]) -> list[bytes]:
        """The bytes of frames whose streams are named by their places."""
        return [
            self.build((kind, *rest) if kind in ABOUT_NO_STREAM else (kind, self.stream(rest[0], kind), *rest[1:]))
            for kind, *rest in frames
        ]

    def build(self, said: tuple[Any, ...]) -> bytes:  # noqa: C901, PLR0911, PLR0912, PLR0915  one branch per kind of frame
        """The bytes of what is to be said; remembers what it claims."""
        rest: list[Any]
        kind, *rest = said
        match kind:
            case "settings":
                frame = SettingsFrame(0)
                frame.settings = dict(rest[0])
                # the encoder may use any size that was announced, and need not use the last one yet
                self._decoder.max_allowed_table_size = max(
                    self._decoder.max_allowed_table_size, rest[0].get(SettingsFrame.HEADER_TABLE_SIZE, 0)
                )
                return frame.serialize()
            case "settings ack":
                acknowledged = SettingsFrame(0)
                acknowledged.flags.add("ACK")
                return acknowledged.serialize()
            case "answer":
                stream, status, size = rest
                head = self._head(stream, str(status).encode(), end=not size)
                if not size:
                    return head
                data = DataFrame(stream, b"x" * size)
                data.flags.add("END_STREAM")
                return head + data.serialize()
            case "headers":
                return self._head(rest[0], rest[1], end=rest[2])
            case "data":
                data = DataFrame(rest[0], b"x" * rest[1])
                if rest[2]:
                    data.flags.add("END_STREAM")
                if rest[3]:
                    data.flags.add("PADDED")
                    data.pad_length = rest[3]
                return data.serialize()
            case "reset":
                if rest[1] == 7 and rest[0] not in self.begun:
                    self.refused.add(rest[0])
                return RstStreamFrame(rest[0], error_code=rest[1]).serialize()
            case "goaway":
                # what an earlier one covered was called unsent then, before its answer began
                self.contradicted |= {stream for stream in self.begun if rest[0] < stream <= self.goaway}
                self.goaway = min(self.goaway, rest[0])
                return GoAwayFrame(0, last_stream_id=rest[0], error_code=rest[1], additional_data=b"{}").serialize()
            case "short goaway":
                return int(rest[0]).to_bytes(3, "big") + b"\x07\x00" + int(rest[1]).to_bytes(4, "big") + bytes(rest[0])
            case "window":
                return WindowUpdateFrame(rest[0], window_increment=rest[1]).serialize()
            case "ping":
                return PingFrame(0, b"12345678").serialize() * int(rest[0])
            case "priority":
                return PriorityFrame(rest[0], depends_on=0, stream_weight=3).serialize()
            case "push":
                promise = PushPromiseFrame(rest[0])
                promise.promised_stream_id, promise.data = 2, self._encoder.encode([(":method", "GET")])
                promise.flags.add("END_HEADERS")
                return promise.serialize()
            case "unknown":
                return b"\x00\x00\x04\xee\x00" + int(rest[0]).to_bytes(4, "big") + b"what"
            case "continuation":
                begun = HeadersFrame(rest[0])
                begun.data = b""
                return begun.serialize() + ContinuationFrame(rest[0], b"").serialize() * int(rest[1])
            case "bad hpack":
                broken = HeadersFrame(rest[0])
                broken.data = b"\xff\xff\xff\xff\xff"
                broken.flags.add("END_HEADERS")
                return broken.serialize()
            case "big headers":
                large = HeadersFrame(rest[0])
                large.data = self._encoder.encode([(":status", "200"), *((f"x-{n}", "y" * 1000) for n in range(90))])
                cut = large.data[:16_000]
                follow = ContinuationFrame(rest[0], large.data[16_000:32_000])
                follow.flags.add("END_HEADERS")
                large.data = cut
                self.ours = False
                return large.serialize() + follow.serialize()
            case _:
                self.ours = False
                return bytes(rest[0])

    def _head(self, stream: int, status: bytes, *, end: bool) -> bytes:
        got = self.got.get(stream)
        head = HeadersFrame(stream)
        fields = [(b":status", status)] if status else []
        number = b"none" if got is None else str(got.number).encode()
        head.data = self._encoder.encode([*fields, (b"x-number", number)])
        head.flags.add("END_HEADERS")
        if end:
            head.flags.add("END_STREAM")
        self.begun.add(stream)
        if status and not status.startswith(b"1"):
            self.answered.setdefault(stream, status)
        return head.serialize()


@dataclass
class Server:
    """Accepts connections, or refuses some, and greets each one."""

    loop: Loop
    greeting: list[tuple[Any, ...]] = field(default_factory=list)
    refuses: int = 0
    good: bool = False
    slow_close: bool = False
    connections: list[Connection] = field(default_factory=list)

    def accept(self, protocol: Any) -> tuple[Transport, Any]:
        """The client's end of a new connection."""
        if self.refuses and not self.good:
            self.refuses -= 1
            raise ConnectionRefusedError("refused")
        transport = Transport(self.loop, protocol)
        transport.slow_close = self.slow_close
        connection = transport.connection
        connection.is_good = self.good
        self.connections.append(connection)
        protocol.connection_made(transport)
        greeting: list[tuple[Any, ...]] = [("settings", {3: 100})] if self.good else self.greeting
        self.loop.call_soon(lambda: connection.say(connection.put(greeting)))
        return transport, protocol
