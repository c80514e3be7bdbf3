"""The receiver of docs/reference/webhook-provider.md, run as it stands there, and the words of the page."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.local.free_ports import free_ports
from messaging.message import Sms
from messaging.outcome import Action
from messaging.receipt import Event
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from workers.providers import webhook, webhook_codes
from workers.providers.base import Account, Adapter, Context
from workers.providers.destinations import Destinations

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "webhook-provider.md"
SECRET = "whsec_" + b64encode(os.urandom(24)).decode()


@dataclass(frozen=True)
class Running:
    """The example, listening."""

    url: str
    log: Path

    def adapter(self, **changed: str) -> Adapter:
        """An adapter that posts to it."""
        credentials = {"url": self.url, "secret": SECRET} | changed
        account = Account(provider_id=1, public_id="p", kind="webhook_sms", credentials=credentials)
        allowed = Destinations(("127.0.0.1",))  # as MESSAGING_PRIVATE_DESTINATIONS does
        return webhook.open_adapter(account, Context(tokens=NoTokens(), destinations=allowed))


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The page's Python in a process of its own."""
    folder = tmp_path_factory.mktemp("receiver")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "receiver.py").write_text(code, encoding="utf-8")
    (port,) = free_ports(1)
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-W", "error", str(folder / "receiver.py")],
            env={"PATH": os.environ["PATH"], "WEBHOOK_SECRET": SECRET, "PORT": str(port)},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            running = Running(f"http://127.0.0.1:{port}/messages", log)
            deadline = time.monotonic() + 120
            with httpx.Client(trust_env=False) as client:
                while not answers(client, running.url):
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the example did not start:\n{log.read_text(errors='replace')}")
                    time.sleep(0.02)
            yield running
        finally:
            process.terminate()


def answers(client: httpx.Client, url: str) -> bool:
    """Whether somebody answers there; unsigned, so nothing is taken."""
    try:
        return client.post(url, content=b"{}").status_code == 401
    except httpx.TransportError:  # not yet, or it listens and is slow to begin
        return False


def done(adapter: Adapter, *addresses: str, tags: str = "") -> list[Any]:
    """The outcomes of one call, and that of a check."""

    async def calls() -> list[Any]:
        to = [replace(one, tag=f"{tags}{place}") if tags else one for place, one in enumerate(people(*addresses))]
        outcomes = [*await adapter.send(adapter.prepare(outgoing(Sms(content="Hello"))), to), await adapter.check()]
        await adapter.aclose()
        return outcomes

    return asyncio.run(calls())


def test_the_example_takes_what_is_signed_and_answers_a_ping(receiver: Running) -> None:
    """Two recipients and a check."""
    outcomes = done(receiver.adapter(), "+447700900123", "+447700900124")
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 3


def test_the_example_refuses_another_secret(receiver: Running) -> None:
    """And the provider stops, with a word about the secret."""
    outcomes = done(receiver.adapter(secret="another one"), "+447700900123")
    assert {outcome.action for outcome in outcomes} == {Action.STOP_PROVIDER}
    assert "secret" in outcomes[0].reason


def test_the_example_takes_a_repeated_delivery_once(receiver: Running) -> None:
    """By its name."""

    def taken() -> int:
        adapter = receiver.adapter()
        assert isinstance(adapter, webhook.WebhookAdapter)

        async def ping() -> int:
            answer = await adapter._post("ping_1", b'{"type": "ping"}')
            await adapter.aclose()
            return int(answer.json()["taken"])

        return asyncio.run(ping())

    before = taken()
    for _ in range(2):
        done(receiver.adapter(), "+447700900123", "+447700900124", tags="again")
    assert taken() == before + 2


def test_the_page_names_every_status_event_and_code_there_is() -> None:
    """A word the program knows and the page does not is one nobody can use."""
    text = PAGE.read_text(encoding="utf-8")
    for word in (*webhook_codes.STATUSES, *Event):
        assert f"`{word}`" in text, word
    for code in webhook_codes.CODES:
        assert re.search(rf"\b{code}\b", text), code
