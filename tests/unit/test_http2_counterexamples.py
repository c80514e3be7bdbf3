"""Stories that once made the HTTP/2 client stall, lie or fall; `test_http2_hostile.py` looks for others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.http2_memory import Loop
from tests.unit.http2_story import Story, tell
from workers.providers.http2 import NotSentCause, NotSentError, Response, UnknownOutcomeError

HELLO: list[tuple[Any, ...]] = [("settings", {3: 100})]


@pytest.mark.parametrize("frame", [("short goaway", 0, 0), ("short goaway", 7, 0), ("short goaway", 8, 1)])
def test_a_malformed_goaway_makes_nothing_unsent(frame: tuple[Any, ...]) -> None:
    """Shorter than its fields, or on a stream: the request arrived, and what became of it is unknown."""
    story = tell(HELLO, [("ask", 1, 100, 5.0), ("say", [frame], 0)])
    assert isinstance(story.outcomes[0], UnknownOutcomeError)


@pytest.mark.parametrize("end", [("goaway", 0, 0), ("reset", 0, 7)])
def test_a_request_that_was_being_answered_is_never_called_unsent(end: tuple[Any, ...]) -> None:
    """Neither by a GOAWAY below its stream nor by REFUSED_STREAM: the server contradicts itself."""
    story = tell(HELLO, [("ask", 1, 100, 5.0), ("say", [("headers", 0, b"200", False), end], 0)])
    assert isinstance(story.outcomes[0], UnknownOutcomeError)


@pytest.mark.parametrize("status", [b"", b"abc", b"-20", b"0", b"99", b"2000"])
def test_an_answer_without_a_status_is_no_answer(status: bytes) -> None:
    """What the server did is unknown."""
    story = tell(HELLO, [("ask", 1, 0, 5.0), ("say", [("headers", 0, status, True)], 0)])
    assert isinstance(story.outcomes[0], UnknownOutcomeError)


def test_data_without_a_head_is_no_answer() -> None:
    """The stream ended, and nothing said how."""
    story = tell(HELLO, [("ask", 1, 0, 5.0), ("say", [("data", 0, 10, True, 0)], 0)])
    assert isinstance(story.outcomes[0], UnknownOutcomeError)


def test_a_goaway_with_the_first_settings_is_a_connection_that_failed() -> None:
    """What waits is told at once, not when its time runs out."""
    story = tell([*HELLO, ("goaway", 0, 0)], [("slow close", True), ("ask", 2, 0, 30.0), ("pass", 1.0)])
    assert {error.cause for error in story.outcomes.values() if isinstance(error, NotSentError)} == {
        NotSentCause.CONNECT
    }


def test_a_server_that_sends_every_connection_away_is_not_stormed() -> None:
    """A connection that was of no use is replaced after a growing pause only."""
    loop = Loop()
    story = Story(loop, HELLO, 1)

    async def play() -> None:
        while loop.time() < 1060:
            story.ask(1, 0, 5.0)
            await asyncio.sleep(0.01)
            story.say([("goaway", 0, 0)])
        await story.end()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
    story.check()
    assert len(story.server.connections) < 40


@pytest.mark.parametrize(
    "said",
    [
        [("data", 0, 16_384, False, 0), ("reset", 0, 8)],
        [("window", 8, 70_000), ("window", 0, 70_000), ("reset", 0, 8)],
        [("settings", {4: 65_535}), ("reset", 0, 8)],
    ],
)
def test_a_stream_that_ends_in_the_same_read_does_not_end_its_neighbours(said: list[tuple[Any, ...]]) -> None:
    """What we would have sent on it is not sent; the other request is answered over the same connection."""
    greeting: list[tuple[Any, ...]] = [("settings", {3: 100, 4: 10})]
    story = tell(
        greeting,
        [
            ("ask", 1, 100, 5.0),
            ("ask", 1, 0, 5.0),
            ("say", [("headers", 0, b"200", False), *said], 0),
            ("say", [("answer", 1, 200, 5)], 0),
        ],
    )
    assert isinstance(story.outcomes[1], Response)


def test_a_timeout_in_the_turn_in_which_the_server_breaks_the_protocol_stops_no_other_timeout() -> None:
    """Requests over both of two connections end in time."""
    story = tell(
        HELLO,
        [("say in time", [("push", 0)], 1.0), ("ask", 2, 0, 1.0), ("ask", 2, 0, 5.0), ("pass", 4.0)],
        connections=2,
    )
    assert len(story.outcomes) == 4


def test_a_connection_that_is_being_closed_is_not_pinged() -> None:
    """Its protocol has ended already when the time for a PING comes."""
    tell(HELLO, [("ask", 3, 0, 30.0), ("retire",)])


def test_a_server_that_pings_and_never_reads_is_left() -> None:
    """The answers it does not fetch take a megabyte at most."""
    flood = ("say", [("ping", 20_000)], 0)
    story = tell(HELLO, [("ask", 1, 0, 30.0), ("reads", False), *[flood] * 8])
    assert isinstance(story.outcomes[0], UnknownOutcomeError)
    assert max(c.transport.most_held for c in story.server.connections) < 2_000_000
