"""The streams of one connection, each a request and its answer (RFC 9113 sections 5, 6 and 8).

h2 keeps a state machine for each stream and makes an object of each frame, flag and event: two thirds of what a request
cost. A client that sends whole requests and reads whole answers needs little of that, so h2 serves the connection
(`http2_connection.py`: preface, settings, pings, its end) and the streams are read and written here. Whatever rule a
server breaks ends the connection, as it does in h2.
"""

from __future__ import annotations

from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from workers.providers.http2_answer import NotSentCause, NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_call import Call
from workers.providers.http2_frames import END_HEADERS, END_STREAM, LARGEST_BYTES, PADDED, PRIORITY, Kind, head
from workers.providers.http2_goaway import error_name
from workers.providers.http2_headers import HeaderDecoder, HeaderEncoder

LARGEST_RESPONSE_BYTES = 1 << 20
"""A longer answer is not one of a provider: the stream is reset and the outcome unknown."""
RECEIVE_WINDOW = 65_535 + (1 << 20)
"""Bytes the server may send on all streams before we allow more; on each stream the initial 65,535."""
LAST_STREAM_ID = 2**31 - 1

_WINDOW = 65_535
_LARGEST_WINDOW = 2**31 - 1
_ALLOW_MORE = RECEIVE_WINDOW // 4
_ALLOW_MORE_ON_STREAM = 16_384
_BLOCKS_AT_MOST = 64
"""Frames of one block of headers: a server that never ends one is left (CVE-2024-27316)."""
_RESET_KEPT = 1 << 16
_STATUSES = range(200, 600)
_INFORMATIONAL = range(100, 200)
_NUMBER_BYTES = 4


class BrokenRuleError(ProtocolError):
    """The server broke a rule of the protocol; `code` tells it which."""

    def __init__(self, what: str, code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR) -> None:
        super().__init__(what)
        self.code = code


class Streams:
    """What is in flight on one connection."""

    def __init__(
        self, serial: int, encoder: HeaderEncoder, decoder: HeaderDecoder, write: Callable[[bytes], None]
    ) -> None:
        """`write` takes bytes to be sent, in order."""
        self.calls: dict[int, Call] = {}
        self.window = _WINDOW
        """Bytes of bodies that may be sent on all streams together."""
        self.largest_frame_bytes = LARGEST_BYTES
        self.answered = False
        """Whether any answer came to its end."""
        self._serial = serial
        self._encoder = encoder
        self._decoder = decoder
        self._write = write
        self._initial_window = _WINDOW
        self._next_id = 1
        self._blocked: dict[int, Call] = {}
        self._let_go: dict[int, None] = {}
        """Streams we ended before their answer did: what still comes on them is no fault."""
        self._block: tuple[int, int, list[bytes]] | None = None
        """Stream, flags and pieces of headers that go on in the next frame."""
        self._received = 0
        """Bytes received that we have not allowed anew."""

    # -- what the client asks --------------------------------------------------------------------------

    @property
    def is_used_up(self) -> bool:
        """Whether the numbers of streams have run out."""
        return self._next_id > LAST_STREAM_ID

    def start(self, call: Call) -> None:
        """Send a request on a new stream."""
        call.stream_id = stream_id = self._next_id
        self._next_id += 2
        self.calls[stream_id] = call
        call.window = self._initial_window
        block = self._encoder.request_block(call.pseudo, call.path, call.headers, call.shared)
        ends = 0 if call.body else END_STREAM
        most = self.largest_frame_bytes
        if len(block) <= most:
            self._write(head(len(block), Kind.HEADERS, END_HEADERS | ends, stream_id))
            self._write(block)
        else:
            self._write(head(most, Kind.HEADERS, ends, stream_id) + block[:most])
            for at in range(most, len(block), most):
                piece = block[at : at + most]
                is_last = at + most >= len(block)
                self._write(head(len(piece), Kind.CONTINUATION, END_HEADERS if is_last else 0, stream_id) + piece)
        if call.body:
            self._send_body(call)

    def abandon(self, call: Call) -> bool:
        """Reset the stream of a call nobody waits for any more; False when it is not in flight."""
        if self.calls.pop(call.stream_id, None) is None:
            return False
        self._blocked.pop(call.stream_id, None)
        self._reset(call.stream_id)
        return True

    def forsake(self, above: int) -> list[Call]:
        """Take out the calls on streams above that number, which the server will not look at."""
        gone = [self.calls.pop(stream_id) for stream_id in [s for s in self.calls if s > above]]
        for call in gone:
            self._blocked.pop(call.stream_id, None)
            self._remember(call.stream_id)
        return gone

    def forsake_all(self) -> list[Call]:
        """Take out every call: the connection is gone."""
        gone, self.calls, self._blocked = list(self.calls.values()), {}, {}
        return gone

    def send_blocked(self, is_paused: Callable[[], bool]) -> None:
        """Go on with bodies that waited for a window, until it is used up or the transport full."""
        for call in list(self._blocked.values()):
            if self.window <= 0 or is_paused():
                return
            self._send_body(call)

    def start_with_window(self, size: int) -> None:
        """The server changed the window each stream begins with; it moves those in flight by the difference."""
        difference = size - self._initial_window
        self._initial_window = size
        for call in self.calls.values():
            call.window += difference
            if call.window > _LARGEST_WINDOW:
                raise BrokenRuleError("SETTINGS made a window too large", ErrorCodes.FLOW_CONTROL_ERROR)

    # -- what the server says --------------------------------------------------------------------------

    def expect(self, kind: int) -> None:
        """Raise `BrokenRuleError` for a frame that comes in the middle of headers."""
        if self._block is not None and kind != Kind.CONTINUATION:
            raise BrokenRuleError("a frame in the middle of headers")

    def headers_received(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Headers begin, and nearly always end, with this frame."""
        if flags & (PADDED | PRIORITY):
            payload = _unpadded(flags, payload)
            if flags & PRIORITY:
                if len(payload) < _NUMBER_BYTES + 1:
                    raise BrokenRuleError("HEADERS without its priority", ErrorCodes.FRAME_SIZE_ERROR)
                payload = payload[_NUMBER_BYTES + 1 :]
        if flags & END_HEADERS:
            self._head_received(stream_id, payload, ends=bool(flags & END_STREAM))
        else:
            self._check_known(stream_id)
            self._block = stream_id, flags, [payload]

    def continuation_received(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Headers go on."""
        if self._block is None or self._block[0] != stream_id:
            raise BrokenRuleError("CONTINUATION of nothing")
        _, first_flags, pieces = self._block
        pieces.append(payload)
        if len(pieces) > _BLOCKS_AT_MOST:
            raise BrokenRuleError("headers without end", ErrorCodes.ENHANCE_YOUR_CALM)
        if flags & END_HEADERS:
            self._block = None
            self._head_received(stream_id, b"".join(pieces), ends=bool(first_flags & END_STREAM))

    def data_received(self, flags: int, stream_id: int, payload: bytes) -> None:
        """A piece of an answer's body."""
        length = len(payload)
        self._received += length
        if self._received > RECEIVE_WINDOW:
            raise BrokenRuleError("more DATA than the connection's window", ErrorCodes.FLOW_CONTROL_ERROR)
        if self._received >= _ALLOW_MORE:
            self._allow(0, self._received)
            self._received = 0
        call = self.calls.get(stream_id)
        if call is None:
            self._check_let_go(stream_id)
            return
        call.begun = True
        data = _unpadded(flags, payload) if flags & PADDED else payload
        if data:
            call.chunks.append(data)
        call.size += length
        call.unacknowledged += length
        if call.unacknowledged > _WINDOW:
            raise BrokenRuleError("more DATA than the stream's window", ErrorCodes.FLOW_CONTROL_ERROR)
        if call.size > LARGEST_RESPONSE_BYTES:
            self.abandon(call)
            call.end(UnknownOutcomeError(f"The answer is longer than {LARGEST_RESPONSE_BYTES} bytes."))
        elif flags & END_STREAM:
            self._ended(call)
        elif call.unacknowledged >= _ALLOW_MORE_ON_STREAM:
            self._allow(stream_id, call.unacknowledged)
            call.unacknowledged = 0

    def reset_received(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """The server ends a stream without an answer, or after one."""
        if len(payload) != _NUMBER_BYTES:
            raise BrokenRuleError("RST_STREAM of a wrong length", ErrorCodes.FRAME_SIZE_ERROR)
        self._check_known(stream_id)
        call = self.calls.pop(stream_id, None)
        if call is None:
            return
        self._blocked.pop(stream_id, None)
        self._remember(stream_id)
        code = int.from_bytes(payload, "big")
        if code == ErrorCodes.REFUSED_STREAM and not call.begun:
            reason = "The server refused the stream (REFUSED_STREAM)."
            call.end(NotSentError(reason, cause=NotSentCause.REFUSED_STREAM))
        else:
            call.end(UnknownOutcomeError(f"The server reset the stream ({error_name(code)})."))

    def window_received(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """The server takes more; the caller lets what waited go on."""
        if len(payload) != _NUMBER_BYTES:
            raise BrokenRuleError("WINDOW_UPDATE of a wrong length", ErrorCodes.FRAME_SIZE_ERROR)
        more = int.from_bytes(payload, "big") & _LARGEST_WINDOW
        if not more:
            raise BrokenRuleError("WINDOW_UPDATE by nothing")
        if not stream_id:
            self.window += more
            if self.window > _LARGEST_WINDOW:
                raise BrokenRuleError("a window too large", ErrorCodes.FLOW_CONTROL_ERROR)
            return
        self._check_known(stream_id)
        call = self.calls.get(stream_id)
        if call is not None:
            call.window += more
            if call.window > _LARGEST_WINDOW:
                raise BrokenRuleError("a stream's window too large", ErrorCodes.FLOW_CONTROL_ERROR)

    # --------------------------------------------------------------------------------------------------

    def _head_received(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        fields = self._decoder.decode(block, raw=True)  # whoever it is for: the table belongs to all
        call = self.calls.get(stream_id)
        if call is None:
            self._check_let_go(stream_id)
            return
        call.begun = True
        if call.has_head:
            if not ends:
                raise BrokenRuleError("headers in the middle of an answer")
        else:
            status, headers = 0, []
            for name, value in fields:
                if name == b":status":
                    status = int(value) if len(value) == 3 and value.isdigit() else 0  # noqa: PLR2004  RFC 9110, 15
                else:
                    headers.append((name, value))
                    if name == b"content-length":
                        call.length = int(value) if value.isdigit() else -1
            if status in _INFORMATIONAL:
                if ends:
                    raise BrokenRuleError("a provisional answer that ends the stream")
                return
            call.has_head, call.status, call.response = True, status, tuple(headers)
        if ends:
            self._ended(call)

    def _ended(self, call: Call) -> None:
        stream_id = call.stream_id
        del self.calls[stream_id]
        if self._blocked.pop(stream_id, None):  # answered before it had the whole request
            self._reset(stream_id)
        chunks = call.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if call.status not in _STATUSES:
            call.end(UnknownOutcomeError("The answer has no status that HTTP knows."))
        elif call.length is not None and call.length != len(body):
            call.end(UnknownOutcomeError(f"The answer has {len(body)} bytes and says that it has others."))
        else:
            self.answered = True
            call.end(Response(call.status, call.response, body, self._serial))

    def _send_body(self, call: Call) -> None:
        """Send as much of the body as both windows and the frame size let."""
        body, stream_id = call.body, call.stream_id
        while True:
            rest = len(body) - call.sent
            room = min(self.window, call.window, self.largest_frame_bytes)
            if room <= 0:
                self._blocked[stream_id] = call
                return
            piece = body[call.sent : call.sent + room] if call.sent or room < rest else body
            size = len(piece)
            self._write(head(size, Kind.DATA, END_STREAM if room >= rest else 0, stream_id))
            self._write(piece)
            call.sent += size
            call.window -= size
            self.window -= size
            if room >= rest:
                self._blocked.pop(stream_id, None)
                return

    def _reset(self, stream_id: int) -> None:
        self._remember(stream_id)
        self._write(head(_NUMBER_BYTES, Kind.RST_STREAM, 0, stream_id) + int(ErrorCodes.CANCEL).to_bytes(4, "big"))

    def _remember(self, stream_id: int) -> None:
        self._let_go[stream_id] = None
        if len(self._let_go) > _RESET_KEPT:
            del self._let_go[next(iter(self._let_go))]

    def _allow(self, stream_id: int, more: int) -> None:
        self._write(head(_NUMBER_BYTES, Kind.WINDOW_UPDATE, 0, stream_id) + more.to_bytes(4, "big"))

    def _check_known(self, stream_id: int) -> None:
        """Only we open streams, with odd numbers."""
        if stream_id % 2 == 0 or stream_id >= self._next_id:
            raise BrokenRuleError(f"a frame on stream {stream_id}, which was never opened")

    def _check_let_go(self, stream_id: int) -> None:
        self._check_known(stream_id)
        if stream_id not in self._let_go:
            raise BrokenRuleError(f"a frame on stream {stream_id}, which has ended", ErrorCodes.STREAM_CLOSED)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BrokenRuleError("padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]
