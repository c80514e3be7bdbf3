"""A server that answers as SendGrid, Mailgun, Twilio and a mail server do, and does little else: it is not what is measured.

    python -m benchmarks.lean_providers --certificate FILE --http-port N --smtps-port N [--delay-ms 50] [--smtp-delay-ms 10]

It keeps nothing but counts (`GET /counts`). A delay is that of a network: each answer leaves so much later, and the
server works on meanwhile. The sandbox reads each message, keeps it and takes three to thirty times the processor time.
"""  # noqa: E501  a command line

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools
import httpx

from benchmarks.processes import cpu_s
from messaging.local.free_ports import free_ports

_EHLO = b"250-lean.localhost\r\n250-SIZE 36700160\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n"
_REPLIES = {
    b"EHLO": _EHLO,
    b"AUTH": b"235 2.7.0 OK\r\n",
    b"MAIL": b"250 2.1.0 OK\r\n",
    b"RCPT": b"250 2.1.5 OK\r\n",
    b"DATA": b"354 go on\r\n",
    b"RSET": b"250 2.0.0 OK\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_END = b"\r\n.\r\n"
_START_S = 20.0


@dataclass(frozen=True)
class Lean:
    """A server that runs."""

    http: str
    """Base address of the three APIs over HTTP."""
    smtps: str
    """Host of the mail server, as an account has it."""
    pid: int

    def counts(self) -> dict[str, int]:
        """Recipients taken by kind."""
        return cast("dict[str, int]", httpx.get(f"{self.http}/counts", trust_env=False).raise_for_status().json())

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        return cpu_s(self.pid)


@contextmanager
def lean_providers(certificate: Path, *, delay_ms: float, smtp_delay_ms: float) -> Iterator[Lean]:
    """One in a process of its own; `certificate` is a PEM file with key and chain."""
    http_port, smtps_port = free_ports(2)
    command = [
        sys.executable, "-m", "benchmarks.lean_providers", "--certificate", str(certificate),
        "--http-port", str(http_port), "--smtps-port", str(smtps_port),
        "--delay-ms", str(delay_ms), "--smtp-delay-ms", str(smtp_delay_ms),
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            found = Lean(f"http://127.0.0.1:{http_port}", f"ssl://127.0.0.1:{smtps_port}", process.pid)
            deadline = time.monotonic() + _START_S
            while True:
                try:
                    found.counts()
                    break
                except httpx.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("The lean server did not start; what it printed says why.") from None
                    time.sleep(0.05)
            yield found
        finally:
            process.terminate()


class _Late(asyncio.Protocol):
    """Writes answers after a delay, in order."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def _say(self, data: bytes) -> None:
        if self._delay_s:
            self._loop.call_later(self._delay_s, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class HttpConnection(_Late):
    """Takes every request, and answers with an id of its own."""

    def __init__(self, delay_s: float, counts: Counter[str], numbers: Iterator[int]) -> None:
        super().__init__(delay_s)
        self._counts = counts
        self._numbers = numbers
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """The path."""
        self._path = url

    def on_body(self, part: bytes) -> None:
        """What is asked for, or a part of it."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Answer."""
        body, self._body = b"".join(self._body), []
        if self._path == b"/counts":
            self._write(_http(b"200 OK", json.dumps(self._counts).encode()))
            return
        number = next(self._numbers)
        if self._path == b"/v3/mail/send":
            self._counts["sendgrid"] += body.count(b'"to": [')
            self._say(_http(b"202 Accepted", b"", b"x-message-id: lean%d\r\n" % number))
        elif self._path.startswith(b"/v3/"):
            self._counts["mailgun"] += body.count(b"&to=")
            self._say(_http(b"200 OK", b'{"id": "<%d@lean.localhost>", "message": "Queued. Thank you."}' % number))
        else:
            self._counts["twilio"] += 1
            answer = b'{"sid": "SM%032x", "status": "queued", "error_code": null, "num_segments": "1"}' % number
            self._say(_http(b"201 CREATED", answer))


def _http(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, headers, len(body)) + body


class SmtpConnection(_Late):
    """Takes every message, commands one by one or pipelined."""

    def __init__(self, delay_s: float, counts: Counter[str], numbers: Iterator[int]) -> None:
        super().__init__(delay_s)
        self._counts = counts
        self._numbers = numbers
        self._buffer = b""
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        super().connection_made(transport)
        self._write(b"220 lean.localhost ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._buffer += data
        answers: list[bytes] = []
        while True:
            found, end, rest = self._buffer.partition(_END if self._in_message else b"\r\n")
            if not end:
                break
            self._buffer = rest
            if self._in_message:
                self._in_message = False
                self._counts["smtp"] += 1
                answers.append(b"250 2.0.0 OK: queued as %X\r\n" % next(self._numbers))
            else:
                word = found[:4].upper()
                self._in_message = word == b"DATA"
                answers.append(_REPLIES.get(word, b"250 2.0.0 OK\r\n"))
        if answers:
            self._say(b"".join(answers))


async def _serve(certificate: Path, http_port: int, smtps_port: int, delay_s: float, smtp_delay_s: float) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    loop, counts, numbers = asyncio.get_running_loop(), Counter[str](), itertools.count(1)
    web = await loop.create_server(lambda: HttpConnection(delay_s, counts, numbers), "127.0.0.1", http_port)
    mail = await loop.create_server(
        lambda: SmtpConnection(smtp_delay_s, counts, numbers), "127.0.0.1", smtps_port, ssl=tls
    )
    async with web, mail:
        await asyncio.gather(web.serve_forever(), mail.serve_forever())


def main() -> None:
    """Run until terminated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--smtps-port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--smtp-delay-ms", type=float, default=10.0)
    given = parser.parse_args()
    asyncio.run(
        _serve(given.certificate, given.http_port, given.smtps_port, given.delay_ms / 1000, given.smtp_delay_ms / 1000)
    )


if __name__ == "__main__":
    main()
