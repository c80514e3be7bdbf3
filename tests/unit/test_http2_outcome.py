from __future__ import annotations

import asyncio
import ssl

import pytest

from messaging.outcome import Action
from workers.providers.http2 import Http2Client, NotSentCause, NotSentError, UnknownOutcomeError
from workers.providers.http2_outcome import NOT_SENT, outcome_of


def test_every_cause_of_not_sent_has_an_action() -> None:
    """Nothing that was certainly not sent is ever called unknown."""
    assert set(NOT_SENT) == set(NotSentCause)
    for cause in NotSentCause:
        assert outcome_of(NotSentError("x", cause=cause)).action in {Action.RETRY, Action.RECONNECT_RETRY}


def test_no_answer_is_ambiguous_and_says_why() -> None:
    """The reason given by the client stands in the outcome."""
    outcome = outcome_of(UnknownOutcomeError("The request left."))
    assert (outcome.action, outcome.reason) == (Action.AMBIGUOUS_RETRY, "The request left.")


@pytest.mark.parametrize(
    ("cause", "outage"),
    [
        (NotSentCause.CONNECT, True),
        (NotSentCause.GOAWAY, True),
        (NotSentCause.TIMEOUT, True),
        (NotSentCause.CONNECTION_LOST, True),
        (NotSentCause.REFUSED_STREAM, False),
        (NotSentCause.CLOSED, False),
    ],
)
def test_a_server_that_is_not_reached_is_an_outage(cause: NotSentCause, outage: bool) -> None:
    """One that holds a stream back is not, nor is our own closing."""
    assert outcome_of(NotSentError("x", cause=cause)).outage is outage


def test_a_request_without_an_answer_is_an_outage() -> None:
    """Whoever it was for."""
    assert outcome_of(UnknownOutcomeError("x")).outage


@pytest.mark.parametrize("origin", ["ftp://a", "https://", "https://a/path", "nonsense"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    """A base address with a path, without a host or of another scheme is named."""
    with pytest.raises(ValueError, match="not an origin"):
        Http2Client(origin, ssl_context=ssl.create_default_context())


def test_https_without_a_context_is_refused() -> None:
    """There is no unverified TLS by omission."""
    with pytest.raises(ValueError, match="ssl_context"):
        Http2Client("https://a", ssl_context=None)


@pytest.mark.parametrize("path", ["/3/device/ž", "/3/device/a\r\nx: y"])
def test_a_path_that_must_be_quoted_is_refused(path: str) -> None:
    """A path with controls or letters beyond ASCII never reaches the wire."""

    async def scenario() -> None:
        client = Http2Client("https://a", ssl_context=ssl.create_default_context())
        with pytest.raises(ValueError, match="percent-encoded"):
            await client.request("POST", path, [], b"")

    asyncio.run(scenario())


@pytest.mark.parametrize("header", [("a", "x\r\ny: z"), ("a", "žluť"), ("ž", "x"), ("a", "\x00")])
def test_a_header_no_peer_would_take_is_refused(header: tuple[str, str]) -> None:
    """Line ends, controls and letters beyond latin-1 are refused before the header table changes."""

    async def scenario() -> None:
        client = Http2Client("https://a", ssl_context=ssl.create_default_context())
        with pytest.raises(ValueError, match="no header can carry"):
            await client.request("POST", "/", [header], b"")

    asyncio.run(scenario())
