"""Frames are found however the bytes are cut up on their way."""

from __future__ import annotations

import pytest
from h2.exceptions import FrameTooLargeError
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame
from hyperframe.frame import Frame as Written
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.http2_frames import LARGEST_BYTES, Frame, FrameReader, Kind
from workers.providers.http2_goaway import parse


def _frame(kind: int) -> Written:
    if kind < 0:
        return GoAwayFrame(0, last_stream_id=-kind, error_code=2, additional_data=b"why")
    return DataFrame(1, b"x" * kind) if kind else PingFrame(0, b"12345678")


@given(st.lists(st.integers(-3, 40), max_size=12), st.lists(st.integers(1, 30), max_size=200))
def test_every_frame_comes_out_once_and_whole(kinds: list[int], cuts: list[int]) -> None:
    """In order, with nothing added and nothing left; a GOAWAY can be read."""
    written = [_frame(kind).serialize() for kind in kinds]
    wire, reader, at = b"".join(written), FrameReader(), 0
    got: list[Frame] = []
    for cut in [*cuts, len(wire)]:
        got.extend(reader.feed(wire[at : at + cut]))
        at += cut
    assert [frame.whole() for frame in got] == written
    goaways = [parse(frame.payload, frame.stream_id) for frame in got if frame.kind == Kind.GOAWAY]
    assert [-goaway.last_stream_id for goaway in goaways] == [kind for kind in kinds if kind < 0]
    assert all(goaway.debug == b"why" and goaway.error_code == 2 for goaway in goaways)


def test_a_frame_of_absurd_length_is_refused_before_it_has_come() -> None:
    """What came before it is still heard."""
    ping = _frame(0).serialize()
    reader = FrameReader()
    frames = reader.feed(ping + (LARGEST_BYTES + 1).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01")
    assert next(frames).whole() == ping
    with pytest.raises(FrameTooLargeError):
        next(frames)
