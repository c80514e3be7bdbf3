"""What one POST over HTTP/2 costs our client, and httpx in the same run as the ratio.

    python -m benchmarks.http2_client [--requests 20000] [--in-flight 500] [--connections 1]

Sends APNs-shaped and FCM-shaped requests, each with its own token, to HAProxy (`benchmarks/native.py`), and prints
requests a second and microseconds of this process's processor time per request. It keeps no result: `benchmarks.peers`
does, of more clients. The other benchmarks take the certificate and the requests from here.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import ipaddress
import ssl
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.native import native_server
from workers.providers.http2 import Http2Client

Post = Callable[[str, list[tuple[str, str]], bytes], Awaitable[int]]
BEARER = "bearer " + "e" * 230
CONSTANT = [
    ("authorization", BEARER),
    ("apns-topic", "com.example.app"),
    ("apns-push-type", "alert"),
    ("apns-priority", "10"),
    ("apns-expiration", "1900000000"),
]
BODY = b'{"aps":{"alert":{"title":"Order 17","body":"Ready at 18:00"},"sound":"default"}}'


@dataclass(frozen=True)
class Result:
    """One measured run."""

    requests_per_s: float
    cpu_us: float


def certificate(directory: Path) -> tuple[Path, Path]:
    """Paths of a new key and a self-signed certificate for 127.0.0.1."""
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
    key_file, cert_file = directory / "key.pem", directory / "cert.pem"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return key_file, cert_file


def apns(_number: int) -> tuple[str, list[tuple[str, str]], bytes]:
    """A request as the APNs adapter makes it."""
    token = uuid.uuid4().hex + uuid.uuid4().hex
    return f"/3/device/{token}", [*CONSTANT, ("apns-id", str(uuid.uuid4()))], BODY


def fcm(_number: int) -> tuple[str, list[tuple[str, str]], bytes]:
    """A request as the FCM adapter makes it."""
    token = uuid.uuid4().hex * 5
    body = b'{"message":{"notification":{"title":"Order 17","body":"Ready"},"token":"' + token.encode() + b'"}}'
    return "/v1/projects/demo/messages:send", [("authorization", BEARER), ("content-type", "application/json")], body


async def run(
    post: Post, make: Callable[[int], tuple[str, list[tuple[str, str]], bytes]], requests: int, in_flight: int
) -> Result:
    """Send `requests`, `in_flight` at a time; the requests are made before the clock starts."""
    todo = iter([make(number) for number in range(requests)])

    async def sender() -> None:
        for path, headers, body in todo:
            status = await post(path, headers, body)
            if status != 200:
                msg = f"the server answered {status}"
                raise RuntimeError(msg)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(sender() for _ in range(in_flight)))
    cpu = time.process_time() - cpu
    wall = time.perf_counter() - wall
    return Result(requests / wall, cpu / requests * 1e6)


async def measure(origin: str, ca_file: Path, requests: int, in_flight: int, connections: int) -> None:
    """Print the table."""
    context = ssl.create_default_context(cafile=str(ca_file))
    client = Http2Client(origin, ssl_context=context, connections=connections)

    async def ours(path: str, headers: list[tuple[str, str]], body: bytes) -> int:
        return (await client.request("POST", path, headers, body)).status

    foreign_context = ssl.create_default_context(cafile=str(ca_file))
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=None)
    other = httpx.AsyncClient(http2=True, verify=foreign_context, base_url=origin, limits=limits, timeout=60)
    async with other:

        async def theirs(path: str, headers: list[tuple[str, str]], body: bytes) -> int:
            return (await other.post(path, headers=headers, content=body)).status_code

        print(f"{'client':<8}{'as':<6}{'requests/s':>12}{'us CPU each':>14}")
        for shape, make in (("apns", apns), ("fcm", fcm)):
            await run(ours, make, min(2000, requests), in_flight)  # warm
            mine = await run(ours, make, requests, in_flight)
            print(f"{'ours':<8}{shape:<6}{mine.requests_per_s:>12,.0f}{mine.cpu_us:>14.1f}", flush=True)
            few = max(500, requests // 10)
            other_result = await run(theirs, make, few, min(in_flight, 100))
            print(
                f"{'httpx':<8}{shape:<6}{other_result.requests_per_s:>12,.0f}{other_result.cpu_us:>14.1f}"
                f"   = {other_result.cpu_us / mine.cpu_us:.1f} times ours",
                flush=True,
            )
    await client.aclose()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--connections", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        key_file, cert_file = certificate(Path(name))
        with native_server(key_file, cert_file) as server:
            asyncio.run(
                measure(server.origin, cert_file, arguments.requests, arguments.in_flight, arguments.connections)
            )
            print("requests the server saw:", server.requests())
    sys.stdout.flush()


if __name__ == "__main__":
    main()
