"""Web Push against a push service nobody here wrote: the npm package web-push-testing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from messaging.local.free_ports import free_ports
from messaging.local.sandbox import web
from messaging.message import Push
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from tests.sdk.node import FOLDER, node_program, packages
from workers.providers import webpush
from workers.providers.base import Account, Context

_PATIENCE_S = 120.0

LAUNCH = """
const {PushApiModel} = require("web-push-testing/src/PushApiModel.js");
const Server = require("web-push-testing/src/server.js");
const server = new Server(new PushApiModel(), Number(process.argv[1]));
const listen = server._app.listen.bind(server._app);
server._app.listen = (port, then) => listen(port, "127.0.0.1", then);
server.startServer();
"""
"""Its own command would listen to the whole network, in the background."""


@dataclass(frozen=True)
class Service:
    """The push service, and the browsers behind it."""

    url: str
    credentials: dict[str, Any]

    def post(self, path: str, **body: object) -> httpx.Response:
        """A request to one of its own addresses."""
        with httpx.Client(trust_env=False, base_url=self.url, timeout=_PATIENCE_S) as client:
            return client.post(path, json=body)

    def subscribe(self) -> tuple[str, str]:
        """A browser's subscription to our key, as an address, and the name it has there."""
        answer = self.post(
            "/subscribe", userVisibleOnly="true", applicationServerKey=self.credentials["vapidPublicKey"]
        )
        data = answer.raise_for_status().json()["data"]
        address = json.dumps({"endpoint": data["endpoint"], "keys": data["keys"]}, separators=(",", ":"))
        return address, data["clientHash"]

    def notifications(self, browser: str) -> list[Any]:
        """What that browser has read."""
        answer = self.post("/get-notifications", clientHash=browser).raise_for_status()
        return [json.loads(text) for text in answer.json()["data"]["messages"]]

    def sent(self, push: Push, *addresses: str, **changed: str) -> list[Outcome]:
        """The outcomes of one call."""
        account = Account(provider_id=1, public_id="p", kind="webpush", credentials=self.credentials | changed)

        async def sending() -> list[Outcome]:
            adapter = webpush.open_adapter(account, Context(tokens=NoTokens(), endpoints={"webpush": self.url}))
            outcomes = await adapter.send(adapter.prepare(outgoing(push)), people(*addresses))
            await adapter.aclose()
            return list(outcomes)

        return asyncio.run(sending())


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The server, running on loopback."""
    packages()
    (port,) = free_ports(1)
    found = Service(f"http://127.0.0.1:{port}", web.stand_in("webpush").fields())
    with tempfile.TemporaryFile("w+") as log:
        command = [node_program(), "--input-type=commonjs", "--eval", LAUNCH, "--", str(port)]
        with subprocess.Popen(command, cwd=FOLDER, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as process:
            try:
                deadline = time.monotonic() + _PATIENCE_S
                while not answers(found):
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        pytest.fail(f"web-push-testing did not start:\n{log.read()[-2000:]}")
                    time.sleep(0.05)
                yield found
            finally:
                process.terminate()


def answers(service: Service) -> bool:
    """Whether it is up."""
    try:
        return service.post("/status").status_code == 200
    except httpx.ConnectError:
        return False


def test_what_a_browser_reads_is_what_was_sent(service: Service) -> None:
    """Letters of every kind, and each browser its own copy."""
    (one, first), (other, second) = service.subscribe(), service.subscribe()
    push = Push(
        title="Grüße 🎈", body="there", data={"order": "1"}, action="https://shop.example/1", collapse_id="order"
    )
    outcomes = service.sent(push, one, other)
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 2
    expected = {
        "id": "m1",
        "title": "Grüße 🎈",
        "body": "there",
        "action": "https://shop.example/1",
        "url": "https://shop.example/1",
        "data": {"order": "1"},
    }
    assert service.notifications(first) == service.notifications(second) == [expected]


def test_the_largest_message_is_read_whole(service: Service) -> None:
    """3993 bytes of plaintext in one record."""
    address, browser = service.subscribe()
    room = 3993 - len(b'{"id":"m1","body":""}')
    (outcome,) = service.sent(Push(body="x" * room), address)
    assert outcome.action is Action.ACCEPTED
    assert service.notifications(browser) == [{"id": "m1", "body": "x" * room}]


def test_a_subscription_that_expired_is_retired(service: Service) -> None:
    """410, and its neighbour still gets the message."""
    (gone, name), (good, neighbour) = service.subscribe(), service.subscribe()
    assert service.post(f"/expire-subscription/{name}").status_code == 200
    first, second = service.sent(Push(title="x"), gone, good)
    assert (first.action, first.code) == (Action.DISABLE_TARGET, "410")
    assert second.action is Action.ACCEPTED
    assert service.notifications(name) == []
    assert len(service.notifications(neighbour)) == 1


def test_another_key_than_the_browser_subscribed_to_reaches_nobody(service: Service) -> None:
    """This service answers 400 where others say 401 or 403: not sent, and nobody is blamed."""
    address, browser = service.subscribe()
    other = web.stand_in("webpush").fields()
    keys = {name: other[name] for name in ("vapidPublicKey", "vapidPrivateKey")}
    (outcome,) = service.sent(Push(title="x"), address, **keys)
    assert outcome.action is Action.REJECT_MESSAGE
    assert service.notifications(browser) == []
