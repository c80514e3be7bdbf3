from __future__ import annotations

from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.http2_goaway import GoAway, GoAwaySplitter


def _wire(frames: list[Frame]) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


def _frame(kind: int) -> Frame:
    if kind < 0:
        return GoAwayFrame(0, last_stream_id=-kind, error_code=2, additional_data=b"why")
    return DataFrame(1, b"x" * kind) if kind else PingFrame(0, b"12345678")


@given(st.lists(st.integers(-3, 40), max_size=12), st.lists(st.integers(1, 30), max_size=200))
def test_goaways_come_out_and_all_else_passes_in_order(kinds: list[int], cuts: list[int]) -> None:
    """However the bytes are cut up on the way, each GOAWAY is found once, in its place, and no other byte is lost."""
    wire = _wire([_frame(kind) for kind in kinds])
    splitter = GoAwaySplitter()
    got: list[bytes | GoAway] = []
    at = 0
    for cut in [*cuts, len(wire)]:
        got.extend(splitter.feed(wire[at : at + cut]))
        at += cut
    expected = b"".join(b"G%d" % -kind if kind < 0 else _frame(kind).serialize() for kind in kinds)
    assert b"".join(b"G%d" % p.last_stream_id if isinstance(p, GoAway) else p for p in got) == expected
    assert all(p.debug == b"why" and p.error_code == 2 for p in got if isinstance(p, GoAway))


def test_a_goaway_of_absurd_length_is_left_to_h2() -> None:
    """A frame longer than we ever allowed is not buffered here: h2 sees it and refuses it."""
    wire = b"\xff\xff\xff\x07\x00\x00\x00\x00\x00" + b"x" * 100
    assert GoAwaySplitter().feed(wire) == [wire]
