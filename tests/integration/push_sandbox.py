"""What the push adapters are tried against: the sandbox as a process, and a token store that mints once."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from messaging.local.sandbox.addresses import SandboxAddresses, read_addresses
from messaging.message import Push
from workers.providers.base import Context, Minted, Outgoing, Recipient
from workers.providers.destinations import Destinations

_PATIENCE_S = 120.0
"""For a process that starts, or answers, on a machine with much else to do."""


@contextlib.contextmanager
def sandbox(directory: Path) -> Iterator[SandboxAddresses]:
    """Addresses of a sandbox that runs on `directory` and ends with the block."""
    command = [sys.executable, "-m", "messaging.local.sandbox", "--data-dir", str(directory)]
    log = directory / "sandbox.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            file = directory / "sandbox" / "addresses.json"
            deadline = time.monotonic() + _PATIENCE_S
            while not file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the sandbox did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.02)
            yield read_addresses(file)
        finally:
            process.terminate()


class Tokens:
    """A `TokenStore` in memory; counts what was minted."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.minted = 0
        self._lock = asyncio.Lock()

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """The token under `key`, minted when there is none."""
        async with self._lock:
            if key not in self.tokens:
                self.tokens[key] = (await mint()).token
                self.minted += 1
            return self.tokens[key]

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """Another token than `rejected`."""
        async with self._lock:
            if self.tokens.get(key) == rejected:
                self.tokens[key] = (await mint()).token
                self.minted += 1
            return self.tokens[key]


def context(addresses: SandboxAddresses, tokens: Tokens, *, connections: int = 1) -> Context:
    """What an adapter is opened with to reach the sandbox."""
    return Context(
        tokens=tokens,
        endpoints={"apns": addresses.apns, "fcm": addresses.fcm},
        ca_file=Path(addresses.ca_file),
        destinations=Destinations(("127.0.0.0/8",)),  # the service account has its tokens minted there
        connections=connections,
    )


def recipients(*addresses: str) -> list[Recipient]:
    """One delivery per address."""
    made = [uuid.uuid4() for _ in addresses]
    return [Recipient(n, a, f"tag-{u.hex}", str(u)) for n, (a, u) in enumerate(zip(addresses, made, strict=True))]


def outgoing(**push: Any) -> Outgoing:
    """A push that expires in an hour."""
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return Outgoing(message_id="m", content=Push(**(push or {"title": "Hi", "body": "there"})), expires_at=expires_at)


def set_faults(addresses: SandboxAddresses, **faults: object) -> None:
    """Put faults of one protocol in force; without any, end all."""
    with httpx.Client(trust_env=False, base_url=addresses.control, timeout=_PATIENCE_S) as client:
        if faults:
            client.post("/faults", json=faults).raise_for_status()
        else:
            client.delete("/faults").raise_for_status()


def accepted(addresses: SandboxAddresses, protocol: str) -> list[dict[str, Any]]:
    """The sandbox's record of what it accepted, oldest first."""
    with httpx.Client(trust_env=False, base_url=addresses.control, timeout=_PATIENCE_S) as client:
        answer = client.get("/record", params={"protocol": protocol}).raise_for_status()
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    return [line for line in lines if line["outcome"] == "accepted"]
