from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from tests.integration.http2_peer import Certificate, Peer, make_certificate, serve
from workers.providers.http2 import Http2Client, NotSentCause, NotSentError, Response, UnknownOutcomeError

HEADERS = [("authorization", "bearer x"), ("apns-topic", "com.example.app")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the module."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def post(client: Http2Client, number: int, body: bytes = b"{}") -> Awaitable[Response]:
    """The answer to a push-like request for device `number`."""
    return client.request("POST", f"/3/device/{number:064x}", HEADERS, body)


def path_of(number: int) -> str:
    """The path `post` uses."""
    return f"/3/device/{number:064x}"


async def results(client: Http2Client, count: int) -> list[Response | BaseException]:
    """What became of `count` requests made at once, errors included."""
    return await asyncio.gather(*(post(client, n) for n in range(count)), return_exceptions=True)


def test_answers_reach_the_request_they_belong_to(certificate: Certificate) -> None:
    """Three hundred requests at once, answered backwards, each get their own status, headers and body."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=300)
        await peer.until(lambda p: len(p.complete) == 300)
        for request in reversed(peer.complete):
            number = int(request.headers[":path"][-64:], 16)
            peer.answer(request.stream_id, 200 + number % 2, {"apns-id": str(number)}, request.body[::-1])

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            answers = await asyncio.gather(*(post(client, n, b"body %d" % n) for n in range(300)))
            for number, answer in enumerate(answers):
                assert answer.status == 200 + number % 2
                assert answer.header(b"apns-id") == str(number)
                assert answer.body == (b"body %d" % number)[::-1]
            await client.aclose()

    asyncio.run(scenario())


def test_headers_arrive_as_they_were_given_on_every_request(certificate: Certificate) -> None:
    """Cached and never-indexed header fields decode, at a foreign HPACK decoder, to what was sent."""
    seen: list[dict[str, str]] = []

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=10, header_table_size=200)
        for count in range(1, 31):
            await peer.until(lambda p, n=count: len(p.complete) == n)  # type: ignore[misc]
            seen.append(peer.complete[-1].headers)
            if count == 10:
                peer.settings(header_table_size=0)
            if count == 20:
                peer.settings(header_table_size=4096)
            peer.answer(peer.complete[-1].stream_id)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            expected = []
            for number in range(30):
                varying = [("apns-id", f"id-{number}"), ("apns-priority", str(number % 3)), ("x-note", "é" * number)]
                fields = [*HEADERS, *varying]
                await client.request("POST", path_of(number), fields, b"x")
                given = {":method": "POST", ":scheme": "https", ":authority": origin[8:], ":path": path_of(number)}
                expected.append({**given, **dict(fields)})
            assert seen == expected
            await client.aclose()

    asyncio.run(scenario())


def test_a_limit_of_one_stream_serialises(certificate: Certificate) -> None:
    """A server that allows one stream gets one at a time until it allows more."""
    most_open = 0

    async def script(peer: Peer) -> None:
        nonlocal most_open
        peer.settings(max_concurrent_streams=1)
        for count in range(1, 6):
            await peer.until(lambda p, n=count: len(p.complete) == n)  # type: ignore[misc]
            most_open = max(most_open, len(peer.requests) - count + 1)
            peer.answer(peer.complete[-1].stream_id)
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 40)
        for request in peer.complete[5:]:
            peer.answer(request.stream_id)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            answers = await asyncio.gather(*(post(client, n) for n in range(40)))
            assert [a.status for a in answers] == [200] * 40
            assert most_open == 1
            await client.aclose()

    asyncio.run(scenario())


def test_a_limit_lowered_in_mid_flight_neither_hangs_nor_is_exceeded(certificate: Certificate) -> None:
    """With 60 of 100 requests in flight the limit falls to 1: the 60 are answered, the 40 follow one by one."""
    opened_too_early = False

    async def script(peer: Peer) -> None:
        nonlocal opened_too_early
        peer.settings(max_concurrent_streams=60)
        await peer.until(lambda p: len(p.complete) == 60)
        peer.settings(max_concurrent_streams=1)
        for request in peer.complete[:59]:
            peer.answer(request.stream_id)
        last = peer.complete[59].stream_id
        await peer.settle()  # the 60th is still open, so nothing may have started
        opened_too_early = len(peer.requests) > 60
        peer.answer(last)
        for count in range(61, 101):
            await peer.until(lambda p, n=count: len(p.complete) == n)  # type: ignore[misc]
            opened_too_early |= len(peer.requests) > count
            peer.answer(peer.complete[-1].stream_id)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context(), request_timeout_s=60)
            answers = await asyncio.gather(*(post(client, n) for n in range(100)))
            assert len(answers) == 100
            assert not opened_too_early
            await client.aclose()

    asyncio.run(scenario())


def test_a_graceful_goaway_keeps_the_answers_that_still_come(certificate: Certificate) -> None:
    """After GOAWAY(last=39) the 20 streams up to it are answered; the 30 above were certainly not processed."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.settings(max_concurrent_streams=100)
        if connections == 1:
            await peer.until(lambda p: len(p.complete) == 50)
            peer.go_away(39)
            for request in peer.complete:
                if request.stream_id <= 39:
                    peer.answer(request.stream_id)
            return
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(peer.complete[0].stream_id)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            outcomes = await results(client, 50)
            assert [o.status for o in outcomes[:20] if isinstance(o, Response)] == [200] * 20
            not_sent = [o for o in outcomes[20:] if isinstance(o, NotSentError)]
            assert len(not_sent) == 30
            assert {o.cause for o in not_sent} == {NotSentCause.GOAWAY}
            assert (await post(client, 99)).status == 200
            assert connections == 2
            await client.aclose()

    asyncio.run(scenario())


def test_a_goaway_that_says_nothing_was_processed_fails_all_as_not_sent(certificate: Certificate) -> None:
    """GOAWAY(last=0) with a reason in its debug data: every request is not sent, and the reason is in the words."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 10)
        peer.go_away(0, error_code=2, debug=b'{"reason":"Shutdown"}')

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            outcomes = await results(client, 10)
            assert all(isinstance(o, NotSentError) and "INTERNAL_ERROR (Shutdown)" in o.reason for o in outcomes)
            await client.aclose()

    asyncio.run(scenario())


def test_streams_under_a_goaway_that_get_no_answer_are_unknown(certificate: Certificate) -> None:
    """Streams up to last_stream_id whose connection ends without an answer are unknown, not lost."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 4)
        peer.go_away(3)
        peer.answer(1)
        await peer.writer.drain()
        peer.writer.close()

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            first, second, third, fourth = await results(client, 4)
            assert isinstance(first, Response)
            assert isinstance(second, UnknownOutcomeError)
            assert "GOAWAY NO_ERROR" in second.reason
            assert isinstance(third, NotSentError)
            assert isinstance(fourth, NotSentError)
            await client.aclose()

    asyncio.run(scenario())


def test_a_refused_stream_is_not_sent_and_another_reset_is_unknown(certificate: Certificate) -> None:
    """REFUSED_STREAM promises no processing; INTERNAL_ERROR promises nothing."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 2)
        peer.refuse(1)
        peer.refuse(3, error_code=2)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            first, second = await results(client, 2)
            assert isinstance(first, NotSentError)
            assert first.cause is NotSentCause.REFUSED_STREAM
            assert isinstance(second, UnknownOutcomeError)
            assert "INTERNAL_ERROR" in second.reason
            await client.aclose()

    asyncio.run(scenario())


def test_a_connection_dropped_after_the_request_leaves_it_unknown(certificate: Certificate) -> None:
    """The server read twenty requests and went away without a word: all twenty are unknown."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 20)
        peer.cut()

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            outcomes = await results(client, 20)
            assert all(isinstance(o, UnknownOutcomeError) for o in outcomes)
            await client.aclose()

    asyncio.run(scenario())


def test_a_request_cut_off_before_it_was_whole_is_not_sent(certificate: Certificate) -> None:
    """A body still waiting for window when the connection breaks was certainly not processed."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100, initial_window_size=10)
        await peer.until(lambda p: 1 in p.requests and len(p.requests[1].body) == 10)
        peer.cut()

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            with pytest.raises(NotSentError) as caught:
                await post(client, 1, b"x" * 100)
            assert caught.value.cause is NotSentCause.CONNECTION_LOST
            await client.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("initial", [1, 100])
def test_a_slow_stream_window_is_followed(certificate: Certificate, initial: int) -> None:
    """Bodies arrive whole through a window of a few bytes, widened per stream or by a new initial size."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100, initial_window_size=initial)
        await peer.until(lambda p: len(p.requests) == 3 and all(len(r.body) == initial for r in p.requests.values()))
        peer.open_window(1, 5_000)
        await peer.until(lambda p: p.requests[1].ended)
        peer.settings(initial_window_size=6_000)
        await peer.until(lambda p: len(p.complete) == 3)
        for request in peer.complete:
            peer.answer(request.stream_id, body=request.body)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            bodies = [bytes([n]) * 4000 for n in range(3)]
            answers = await asyncio.gather(*(post(client, n, bodies[n]) for n in range(3)))
            assert [a.body for a in answers] == bodies
            await client.aclose()

    asyncio.run(scenario())


def test_the_connection_window_holds_for_all_streams_together(certificate: Certificate) -> None:
    """With 65,535 bytes of connection window, later bodies wait for WINDOW_UPDATE and then arrive whole."""
    received_first = 0

    async def script(peer: Peer) -> None:
        nonlocal received_first
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: sum(len(r.body) for r in p.requests.values()) == 65_535)
        received_first = len(peer.complete)
        for _ in range(10):
            peer.open_window(0, 50_000)
        await peer.until(lambda p: len(p.complete) == 50)
        for request in peer.complete:
            peer.answer(request.stream_id, body=str(len(request.body)).encode())

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            answers = await asyncio.gather(*(post(client, n, b"x" * 4096) for n in range(50)))
            assert {a.body for a in answers} == {b"4096"}
            assert received_first == 15
            await client.aclose()

    asyncio.run(scenario())


def test_large_answers_do_not_exhaust_our_own_window(certificate: Certificate) -> None:
    """A hundred answers of 16 KB, more than the connection's window, arrive whole: the client gives window back."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        for count in range(1, 101):
            await peer.until(lambda p, n=count: len(p.complete) == n)  # type: ignore[misc]
            stream_id = peer.complete[-1].stream_id
            peer.answer(stream_id, body=b"y" * 16_000)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            for number in range(100):
                assert len((await post(client, number)).body) == 16_000
            await client.aclose()

    asyncio.run(scenario())


def test_a_silent_server_is_pinged_and_given_up(certificate: Certificate) -> None:
    """A peer that answers no PING is dead: what is in flight becomes unknown long before its own timeout."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        peer.answers_pings = False
        await peer.until(lambda p: p.pings >= 1)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            context = certificate.client_context()
            client = Http2Client(
                origin, ssl_context=context, request_timeout_s=600, ping_interval_s=0.5, ping_timeout_s=0.5
            )
            with pytest.raises(UnknownOutcomeError, match="PING"):
                await post(client, 1)
            await client.aclose()

    asyncio.run(scenario())


def test_an_idle_connection_is_kept_by_pings(certificate: Certificate) -> None:
    """While nothing is sent, pings keep the connection, and the next request uses it."""
    connections = 0
    pinged = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(1)
        await peer.until(lambda p: p.pings >= 3)
        pinged.set()
        await peer.until(lambda p: len(p.complete) == 2)
        peer.answer(3)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            context = certificate.client_context()
            client = Http2Client(origin, ssl_context=context, ping_interval_s=0.05, ping_timeout_s=60)
            await post(client, 1)
            await asyncio.wait_for(pinged.wait(), 60)
            await post(client, 2)
            assert connections == 1
            await client.aclose()

    asyncio.run(scenario())


def test_a_request_without_an_answer_times_out_as_unknown_and_resets_its_stream(certificate: Certificate) -> None:
    """The timeout of a request that left is unknown; its stream is reset and its place is free again."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=1)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(1)
        await peer.until(lambda p: p.resets == [3])
        await peer.until(lambda p: len(p.complete) == 3)
        peer.answer(3, 500)  # too late: crosses the reset
        peer.answer(5)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            await post(client, 1)  # connecting takes its time, which is not to come off that of the next one
            with pytest.raises(UnknownOutcomeError, match="after the request left"):
                await client.request("POST", "/a", [], b"x", timeout_s=0.2)
            assert (await client.request("POST", "/b", [], b"x")).status == 200
            await client.aclose()

    asyncio.run(scenario())


def test_a_request_that_never_got_a_stream_times_out_as_not_sent(certificate: Certificate) -> None:
    """Behind a limit of one stream the second request's timeout means: not sent."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=1)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(1)
        await peer.until(lambda p: p.resets == [3])

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            await post(client, 0)  # connecting takes its time, which is not to come off that of the next ones
            both = [
                asyncio.ensure_future(client.request("POST", path_of(n), HEADERS, b"x", timeout_s=0.1)) for n in (1, 2)
            ]
            await asyncio.sleep(0)
            # Both have asked, and both run out of time in this turn: else the second might get the first's stream.
            time.sleep(0.2)  # noqa: ASYNC251  the point
            first, second = await asyncio.gather(*both, return_exceptions=True)
            assert isinstance(first, UnknownOutcomeError)
            assert isinstance(second, NotSentError)
            assert second.cause is NotSentCause.TIMEOUT
            await client.aclose()

    asyncio.run(scenario())


def test_a_cancelled_request_frees_its_stream(certificate: Certificate) -> None:
    """Cancelling the waiting task resets the stream and lets the next request have it."""
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=1)
        await peer.until(lambda p: len(p.complete) == 1)
        arrived.set()
        await peer.until(lambda p: p.resets == [1])
        await peer.until(lambda p: len(p.complete) == 2)
        peer.answer(3)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            first = asyncio.ensure_future(post(client, 1))
            second = asyncio.ensure_future(post(client, 2))
            await asyncio.wait_for(arrived.wait(), 60)
            first.cancel()
            assert (await second).status == 200
            await client.aclose()

    asyncio.run(scenario())


def test_a_refused_connection_is_not_sent_and_the_next_one_is_tried_later(certificate: Certificate) -> None:
    """Without a server all waiting requests fail as not sent; once it is there, the same client reaches it."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(1)

    async def nothing(_peer: Peer) -> None:
        return

    async def scenario() -> None:
        async with serve(nothing, certificate) as origin:
            port = int(origin.rsplit(":", 1)[1])
        client = Http2Client(origin, ssl_context=certificate.client_context())
        outcomes = await results(client, 5)
        assert all(isinstance(o, NotSentError) and o.cause is NotSentCause.CONNECT for o in outcomes)
        async with serve(script, certificate, port=port):
            assert (await post(client, 1)).status == 200
            await client.aclose()

    asyncio.run(scenario())


def test_an_untrusted_certificate_is_not_sent(certificate: Certificate) -> None:
    """A server with a certificate nobody vouches for gets no request."""

    async def script(_peer: Peer) -> None:
        return

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=ssl.create_default_context())
            with pytest.raises(NotSentError, match="CERTIFICATE_VERIFY_FAILED"):
                await post(client, 1)
            await client.aclose()

    asyncio.run(scenario())


def test_a_server_without_http2_is_named_as_such(tmp_path: Path) -> None:
    """ALPN that selects no h2 ends as not sent, and says what is wrong."""
    certificate = make_certificate(tmp_path)

    async def scenario() -> None:
        async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _reader.read()
            writer.transport.abort()

        context = certificate.server_context(alpn=("http/1.1",))
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        async with server:
            origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = Http2Client(origin, ssl_context=certificate.client_context())
            with pytest.raises(NotSentError, match="HTTP/2"):
                await post(client, 1)
            await client.aclose()

    asyncio.run(scenario())


def test_a_retired_connection_finishes_and_a_new_one_takes_over(certificate: Certificate) -> None:
    """After `retire` new requests use another connection while the old one's answers still count."""
    connections = 0
    second, opened = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        mine = connections
        if mine == 2:
            opened.set()
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.answer(1)
        if mine == 1:
            await peer.until(lambda p: len(p.complete) == 2)
            second.set()
            await asyncio.wait_for(opened.wait(), 60)
            peer.answer(3, 201)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            first = await post(client, 1)
            slow = asyncio.ensure_future(post(client, 2))
            await asyncio.wait_for(second.wait(), 60)
            client.retire(first.connection)
            client.retire(first.connection)
            third = await post(client, 3)
            assert third.connection != first.connection
            assert (await slow).status == 201
            await client.aclose()

    asyncio.run(scenario())


def test_closing_lets_what_is_in_flight_finish(certificate: Certificate) -> None:
    """`aclose` waits for the answer, refuses what comes later, and leaves no connection."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 1)
        arrived.set()
        await asyncio.wait_for(go.wait(), 60)
        peer.answer(1)
        await peer.until(lambda p: p.gone)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            running = asyncio.ensure_future(post(client, 1))
            await asyncio.wait_for(arrived.wait(), 60)
            closing = asyncio.create_task(client.aclose())
            await asyncio.sleep(0)
            with pytest.raises(NotSentError):
                await post(client, 2)
            go.set()
            await closing
            assert (await running).status == 200

    asyncio.run(scenario())


def test_several_connections_share_the_load(certificate: Certificate) -> None:
    """Three connections of ten streams carry thirty requests at once."""
    full = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=10)
        await peer.until(lambda p: len(p.complete) == 10)
        await asyncio.wait_for(full.wait(), 60)
        for request in peer.complete:
            peer.answer(request.stream_id)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context(), connections=3)
            assert client.free_streams == 3
            answers = await asyncio.gather(*(post(client, n) for n in range(30)))
            assert len({a.connection for a in answers}) == 3
            assert client.free_streams == 30
            await client.aclose()

    asyncio.run(scenario())


def test_a_server_that_breaks_the_protocol_is_left(certificate: Certificate) -> None:
    """DATA on a stream that was never opened ends the connection; what was in flight is unknown."""

    async def script(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: len(p.complete) == 1)
        peer.writer.write(b"\x00\x00\x01\x00\x00\x00\x00\x00\x63x")

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            with pytest.raises(UnknownOutcomeError, match="broke the HTTP/2 protocol"):
                await post(client, 1)
            await client.aclose()

    asyncio.run(scenario())
