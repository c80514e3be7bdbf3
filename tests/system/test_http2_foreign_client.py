"""The sandbox's APNs speaks HTTP/2 as others understand it: nghttp2's clients have nothing in common with ours."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from messaging.local.sandbox.credentials import apns_credentials
from tests.integration.push_sandbox import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from messaging.local.sandbox.addresses import SandboxAddresses

_REQUESTS = 2000
_TOKEN = "ab" * 32


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[SandboxAddresses]:
    """A running sandbox."""
    with sandbox(tmp_path) as running:
        yield running


def _headers(addresses: SandboxAddresses) -> list[str]:
    key = apns_credentials(addresses.control)
    token = jwt.encode(
        {"iss": key["teamId"], "iat": int(time.time())},
        key["authKey"],
        algorithm="ES256",
        headers={"kid": key["authKeyId"]},
    )
    return [
        f"-Hauthorization: bearer {token}",
        f"-Hapns-topic: {key['bundleId']}",
        "-Hapns-push-type: alert",
        "-Hcontent-type: application/json",
    ]


def _payload(folder: Path) -> Path:
    path = folder / "payload.json"
    path.write_text(json.dumps({"aps": {"alert": {"title": "Hello", "body": "World"}}}))
    return path


def test_h2load_gets_an_answer_to_every_request(addresses: SandboxAddresses, tmp_path: Path) -> None:
    """Two thousand pushes over two connections of fifty streams: all answered with 200, all on the record."""
    done = subprocess.run(
        [
            "h2load",
            f"-n{_REQUESTS}",
            "-c2",
            "-m50",
            f"-d{_payload(tmp_path)}",
            *_headers(addresses),
            f"{addresses.apns}/3/device/{_TOKEN}",
        ],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    assert re.search(rf"status codes: {_REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout), done.stdout
    assert re.search(rf"{_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout
    counts = httpx.get(f"{addresses.control}/counts", trust_env=False).json()
    assert counts["apns"]["accepted"] == _REQUESTS


def test_nghttp_reads_the_reason_of_a_refusal(addresses: SandboxAddresses, tmp_path: Path) -> None:
    """A token without its JWT is refused with 403 and Apple's reason, over a connection that ends in order."""
    done = subprocess.run(
        [
            "nghttp",
            "--verbose",
            "--no-verify-peer",
            f"--data={_payload(tmp_path)}",
            "-Hapns-topic: com.example.app",
            f"{addresses.apns}/3/device/{_TOKEN}",
        ],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    assert ":status: 403" in done.stdout, done.stdout
    assert "MissingProviderToken" in done.stdout, done.stdout
