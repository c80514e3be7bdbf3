"""Our HTTP/2 client against nghttpd, which shares no code with it. It answers 404 to a POST."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from messaging.local.free_ports import free_ports
from tests.integration.http2_peer import make_certificate
from tests.system.programs import end, running
from workers.providers.http2 import Http2Client, NotSentError, Response, UnknownOutcomeError

_REQUESTS = 300
_EVENT = re.compile(r"recv HEADERS frame <.*stream_id=(?P<opened>\d+)>|stream_id=(?P<closed>\d+) closed")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def nghttpd(folder: Path, *options: str) -> Iterator[tuple[Http2Client, Path]]:
    """A client of a fresh nghttpd with one connection, and the server's log of frames."""
    certificate = make_certificate(folder)
    (port,) = free_ports(1)
    log = folder / "nghttpd.log"
    files = [str(certificate.key_file), str(certificate.cert_file)]
    command = ["nghttpd", "-v", "-a", "127.0.0.1", "-d", str(folder), *options, str(port), *files]
    with running(command, port=port, log=log):
        yield Http2Client(f"https://127.0.0.1:{port}", ssl_context=certificate.client_context()), log


async def posts(client: Http2Client, count: int, body: bytes = b"{}") -> list[Response]:
    """The answers to `count` requests made at once."""
    headers = [("authorization", "bearer x" * 20), ("apns-id", "1"), ("content-type", "application/json")]
    try:
        async with asyncio.timeout(60):
            return await asyncio.gather(
                *(client.request("POST", f"/3/device/{n:064x}", headers, body) for n in range(count))
            )
    except (NotSentError, UnknownOutcomeError) as error:
        pytest.fail(error.reason)


async def noticed_its_end(client: Http2Client) -> None:
    """Return when the client knows that its connection is gone: what it sends before that has an unknown outcome."""
    async with asyncio.timeout(60):
        while client.free_streams > 1:  # noqa: ASYNC110  it tells nobody; a connection yet to be opened counts as one
            await asyncio.sleep(0.01)


def open_at_most(log: Path) -> tuple[int, int]:
    """How many streams were open at a time at most, as the server saw it, and how many there were."""
    streams: set[int] = set()
    most = count = 0
    for event in _EVENT.finditer(_COLOUR.sub("", log.read_text(errors="replace"))):
        if event["opened"]:
            streams.add(int(event["opened"]))
            count += 1
            most = max(most, len(streams))
        else:
            streams.discard(int(event["closed"]))
    return most, count


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_every_request_is_answered_within_the_servers_limit_of_streams(limit: int, tmp_path: Path) -> None:
    """Three hundred at once, each on a stream of its own, never more of them open than SETTINGS allows."""

    async def scenario(client: Http2Client) -> None:
        answers = await posts(client, _REQUESTS)
        assert [answer.status for answer in answers] == [404] * _REQUESTS
        assert all(b"404" in answer.body for answer in answers)
        assert len({answer.connection for answer in answers}) == 1
        assert client.free_streams == limit
        await client.aclose()

    with nghttpd(tmp_path, "-m", str(limit)) as (client, log):
        asyncio.run(scenario(client))
    most, count = open_at_most(log)
    assert count == _REQUESTS
    assert most == limit
    assert "REFUSED_STREAM" not in log.read_text(errors="replace")


def test_bodies_pass_through_windows_smaller_than_themselves(tmp_path: Path) -> None:
    """Fifty bodies of 100 kB through windows of 4 kB: each gets its answer, no window is overrun."""

    async def scenario(client: Http2Client) -> None:
        answers = await posts(client, 50, b"x" * 100_000)
        assert [answer.status for answer in answers] == [404] * 50
        await client.aclose()

    with nghttpd(tmp_path, "-w", "12", "-W", "16") as (client, log):
        asyncio.run(scenario(client))
    assert "FLOW_CONTROL_ERROR" not in log.read_text(errors="replace")


def test_answers_are_read_whatever_the_header_table_and_the_padding(tmp_path: Path) -> None:
    """A table of no size at their decoder, padded frames, compressed error pages."""

    async def scenario(client: Http2Client) -> None:
        answers = await posts(client, 50)
        answers += await posts(client, 50)
        assert {answer.status for answer in answers} == {404}
        assert {answer.header(b"content-type") for answer in answers} == {"text/html; charset=UTF-8"}
        await client.aclose()

    with nghttpd(tmp_path, "-c", "0", "--encoder-header-table-size", "0", "-b", "100") as (client, _):
        asyncio.run(scenario(client))


def test_a_server_that_is_killed_is_told_apart_and_its_successor_is_used(tmp_path: Path) -> None:
    """Nothing listens: not sent. A new server on the same port: the same client goes on."""
    certificate = make_certificate(tmp_path)
    (port,) = free_ports(1)
    files = [str(certificate.key_file), str(certificate.cert_file)]
    command = ["nghttpd", "-a", "127.0.0.1", "-d", str(tmp_path), str(port), *files]

    async def scenario() -> None:
        client = Http2Client(f"https://127.0.0.1:{port}", ssl_context=certificate.client_context())
        with running(command, port=port, log=tmp_path / "first.log") as server:
            assert (await posts(client, 1))[0].status == 404
            await asyncio.to_thread(end, server)
            await noticed_its_end(client)
        with pytest.raises(NotSentError):
            await client.request("POST", "/3/device/00", [], b"{}", timeout_s=5)
        with running(command, port=port, log=tmp_path / "second.log"):
            assert (await posts(client, 20))[0].status == 404
        await client.aclose()

    asyncio.run(scenario())
