"""Requests as APNs and FCM get them, and how fast a bare client sends them: the yardstick of other benchmarks."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
