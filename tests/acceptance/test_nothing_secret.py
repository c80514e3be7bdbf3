"""No credential, and nobody's address, is anywhere but where it belongs: a whole stack, searched after all went wrong.

Everything is said at its loudest: workers log at DEBUG, and Flower hears every event.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import httpx
import pytest
import redis

from messaging.catalog import OURS
from messaging.client.messaging import Messaging
from messaging.local import sandbox_accounts
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.magic import MAGIC
from tests.acceptance import bare
from tests.acceptance.stack import FAST, Stack, running, until

pytestmark = pytest.mark.timeout(900)

_CANARY = f"canary{secrets.token_hex(6)}"
_SHORTEST = 12
_KEPT = {"api.key", "runtime.json", "secret.key", "postgres.password", "flower.password", "flower.cookie"}
"""Files whose purpose is to hold secrets, and which their owner alone may read."""
_SAID_BY_ANYONE = re.compile(r"0123456789|example|BEGIN|END|sandbox|^https?://|localhost|127\.0\.0\.1")


@dataclass
class World:
    """A stack, what must not be found, and what it said to whom."""

    stack: Stack
    secrets: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    answers: list[str] = field(default_factory=list)
    """Bodies of the API's answers."""
    printed: list[str] = field(default_factory=list)
    """What commands printed."""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request with the API key; its answer is kept."""
        runtime = self.stack.runtime
        sent = {"x-appwrite-project": runtime.project, "x-appwrite-key": runtime.api_key} | headers
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        answer = httpx.request(
            method,
            runtime.endpoint + path,
            content=content,
            headers=sent | {"content-type": "application/json"},
            trust_env=False,
            timeout=60,
        )
        self.answers.append(answer.text)
        return answer

    def run(self, *arguments: str, **env: str) -> None:
        """A command of ours that fails; what it printed is kept."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
        command = [sys.executable, "-m", "messaging.cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=own | env)
        assert done.returncode != 0
        self.printed.append(done.stdout + done.stderr)


def texts(value: Any) -> Iterator[str]:
    """Each text in a value, the lines of a longer one apart."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, str):
        yield from (line for line in value.splitlines() if len(line) >= _SHORTEST and not _SAID_BY_ANYONE.search(line))


def spellings(secret: str) -> set[str]:
    """How it may stand somewhere: as it is, in a URL, in JSON, or in Base64 at any place of a longer text."""
    found = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        found.add(coded[4 if before else 0 : -4])
        found.add(coded[4 if before else 0 : -4].replace("+", "-").replace("/", "_"))
    return {each for each in found if len(each) >= 8}


def found_in(text: str, wanted: set[str]) -> list[str]:
    """Those of `wanted` that stand in `text`, with what is around them."""
    return [
        f"{each!r} in …{text[max(0, at - 120) : at + 60]!r}"
        for each in sorted(wanted)
        for spelt in spellings(each)
        if (at := text.find(spelt)) >= 0
    ]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The stack after everything that can go wrong went wrong in it."""
    with running("--sandbox", "--flower-events", **FAST, LOG_LEVEL="DEBUG") as stack, stack.client() as client:
        made = World(stack)
        runtime = stack.runtime
        made.secrets |= {runtime.api_key, stack.secret_key}
        made.secrets |= {str(urlsplit(url).password) for url in (runtime.database_url, runtime.flower)}
        accounts(made, client)
        badly_configured(made, client)
        people(made)
        producers(made)
        commands(made)
        yield made


def accounts(world: World, client: Messaging) -> None:
    """Accounts of every kind with credentials that are right, and a message for each kind of bad answer.

    Each answer has an account to itself: one that stops or halts its account must not keep another message back.
    """
    addresses = SandboxAddresses.read(world.stack.sandbox)
    checks: list[tuple[str, str]] = []
    for kind in sandbox_accounts.kinds():
        fields = sandbox_accounts.fields(kind, addresses)
        known = {each.name for each in OURS[kind].credentials if each.secret}
        world.secrets |= set(texts({name: value for name, value in fields.items() if name in known}))
        rows = {row.answer.status: row for row in MAGIC.get(kind, ())}
        for status, row in rows.items():
            if status:
                address = magic_address(kind, row.prefix)
                world.addresses.add(address)
                provider = f"good-{kind}-{status}"
                client.providers.create(kind, provider_id=provider, enabled=True, **fields)
                checks.append((provider, client.providers.check(provider, send_to=address).id))
        client.providers.create(kind, provider_id=f"good-{kind}".replace("_", "-"), enabled=True, **fields)

    for asked in checks:
        until(partial(was_tried, client, *asked), partial(said, world, asked))


def said(world: World, of: object = "") -> str:
    """The last lines of the workers that send."""
    return f"{of}\n{world.stack.tail('push-high', 'email-high', 'sms-high')}"


def was_tried(client: Messaging, provider: str, check: str) -> bool:
    """Whether its message was answered at least once, or never will be: it goes on being tried for as long as it may.

    An answer of "too many requests" counts as no attempt, but its reason stands with the delivery.
    """
    found = client.providers.get_check(provider, check)
    if found.outcome is not None or client.providers.get(provider).stopped_at is not None:
        return True
    return found.message_id is not None and any(
        each.attempts or each.error for each in client.deliveries(found.message_id)
    )


def magic_address(kind: str, prefix: str) -> str:
    """An address of the kind that begins so, and that nobody else has."""
    if kind == "apns":
        return prefix + secrets.token_hex(28)
    if kind in {"fcm", "webhook_push"}:
        return f"{prefix}-{secrets.token_hex(16)}"
    if prefix.startswith("+"):
        return prefix + "".join(secrets.choice("0123456789") for _ in range(12 - len(prefix)))
    return f"{prefix}+{secrets.token_hex(6)}@example.com"


def badly_configured(world: World, client: Messaging) -> None:
    """An account of every kind with credentials that are wrong, one field after the other refused or checked."""
    asked: list[str] = []
    for kind, entry in OURS.items():
        path = f"/messaging/providers/{kind}"
        wrong: dict[str, Any] = {}
        for each in entry.credentials:
            value = f"{_CANARY}{secrets.token_hex(8)}"
            if each.secret:
                world.secrets.add(value)
            wrong[each.name] = {"private_key": value} if each.type is dict else value
            world.call("POST", path, {"providerId": "unique()", "name": 7, each.name: [value]})
            world.call("POST", path, {"providerId": "unique()", "name": "x", each.name: {"deep": {"er": value}}})
        name = f"bad-{kind}".replace("_", "-")
        if world.call("POST", path, {"providerId": name, "name": "x", **wrong}).is_success:
            world.call("PATCH", f"{path}/{name}", {**wrong, "enabled": True})
            world.call("GET", f"/messaging/providers/{name}")
            world.call("POST", f"/messaging/providers/{name}/checks", {})
            asked.append(name)
    world.call("GET", "/messaging/providers")
    until(
        lambda: all(check.outcome for each in asked for check in client.providers.checks(each)),
        partial(said, world),
    )


def people(world: World) -> None:
    """Somebody with a password and a session; both are also sent where they do not belong."""
    password, address = f"{_CANARY} {secrets.token_hex(8)}", f"ada-{secrets.token_hex(6)}@example.com"
    account = {"userId": "ada", "email": address, "password": password}
    assert world.call("POST", "/account", account).is_success
    session = world.call("POST", "/users/ada/sessions", {})
    secret = str(session.json()["secret"])
    world.answers.remove(session.text)  # that is how one gets it
    world.secrets |= {password, secret}
    world.call("POST", "/account", account)
    world.call("POST", "/account/sessions/email", {"email": address, "password": password + "x"})
    world.call("POST", "/account/sessions/email", {"email": password, "password": [password]})
    world.call("GET", "/account", **{"x-appwrite-key": world.stack.runtime.api_key + "x", "x-appwrite-jwt": secret})
    world.call("POST", "/messaging/topics", b'{"topicId": "' + world.stack.runtime.api_key.encode())
    world.addresses.add(address)


def producers(world: World) -> None:
    """Tasks with addresses in them: right, wrong, unknown, and no tasks at all."""
    broker = world.stack.runtime.broker_url
    with bare.producer(broker) as app:
        for kwargs in (
            {"content": "Hello", "addresses": ["{0}"]},
            {"content": "Hello", "addresses": ["{0} ext. 7 and more"]},
            {"content": ["{0}"], "addresses": ["{0}"]},
            {"content": "Hello", "addresses": {"{0}": "{0}"}},
            {"content": "Hello", "{0}": "{0}", "addresses": ["{0}"]},
        ):
            number = f"+4477{secrets.randbelow(10**8):08}"
            world.addresses.add(number)
            said = json.loads(json.dumps(kwargs).replace("{0}", number))
            app.send_task(bare.SMS, kwargs=said, queue=bare.QUEUE)
            app.send_task("shop.unknown", args=[number], kwargs=said, queue=bare.QUEUE)
            app.send_task("messaging.deliver", args=[number], queue=bare.QUEUE)
            app.send_task("messaging.cancel", kwargs={"message_id": "nothing", "project": number}, queue=bare.QUEUE)
            bare.publish(broker, json.dumps([[], said]), id="x", task=bare.SMS, argsrepr=number, kwargsrepr=number)
            bare.publish(broker, f"not JSON {number}", id="y", task=bare.SMS)
            bare.publish(broker, json.dumps({"id": "z", "task": "shop.old", "args": [number], "kwargs": said}))
    with redis.Redis.from_url(broker) as valkey:
        until(
            lambda: (
                not any(valkey.llen(queue) for queue in ("messaging", "messaging.high")) and not valkey.hlen("unacked")
            ),
            lambda: world.stack.tail("intake", lines=30),
        )


def commands(world: World) -> None:
    """Commands that can't do what they were asked to, for each address that may hold a password."""
    password = f"{_CANARY}{secrets.token_hex(8)}"
    world.secrets.add(password)
    good = {
        "MESSAGING_DATABASE_URL": world.stack.runtime.database_url,
        "MESSAGING_BROKER_URL": world.stack.runtime.broker_url,
        "MESSAGING_SECRET_KEY": world.stack.secret_key,
    }
    nowhere = f"shop:{password}@127.0.0.1:1"
    for wrong in (
        {"MESSAGING_DATABASE_URL": f"postgresql://{nowhere}/x"},
        {"MESSAGING_DATABASE_URL": f"postgresql://shop:{password}@127.0.0.1:port/x"},
        {"MESSAGING_SECRET_KEY": "", "MESSAGING_LEASE_S": password},
    ):
        world.run("topic", "get", "nothing", **(good | wrong))
    world.run("provider", "create", "sendgrid", f"apiKey={password}", "nonsense=1", **good)


# -- the search ----------------------------------------------------------------------------------------


def test_no_log_holds_a_secret_or_an_address(world: World) -> None:
    """Of any process, at DEBUG; the stand-ins for providers, which are other people, aside."""
    logs = world.stack.directory / "logs"
    assert "DEBUG" in world.stack.log("intake")
    for log in logs.iterdir():
        text = log.read_text(errors="replace")
        assert found_in(text, world.secrets) == [], log.name
        if log.name != "sandbox.log":
            assert found_in(text, world.addresses) == [], log.name
    assert found_in((world.stack.directory.parent / "data.out").read_text(), world.secrets | world.addresses) == []


def test_no_answer_of_the_api_holds_a_secret(world: World) -> None:
    """Neither of a success nor of an error, whatever was sent where."""
    assert len(world.answers) > 100
    for answer in world.answers:
        assert found_in(answer, world.secrets) == []


def test_no_command_prints_a_secret(world: World) -> None:
    """Not even where it can't read the address it was given."""
    for printed in world.printed:
        assert found_in(printed, world.secrets) == []


def test_flower_shows_neither(world: World) -> None:
    """On no page and in no answer of its API; the names and ids of tasks it does."""
    flower = world.stack.runtime.flower
    with httpx.Client(trust_env=False, timeout=60) as client:

        def known() -> dict[str, Any] | None:
            tasks: dict[str, Any] = client.get(f"{flower}/api/tasks").json()
            return tasks if "messaging.send_sms" in {task["name"] for task in tasks.values()} else None

        tasks = until(known, "Flower knows of no task of a producer's")
        paths = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/task/types"]
        paths += [f"/worker/{name}" for name in client.get(f"{flower}/api/workers").json()]
        paths += [path for uuid in list(tasks)[:100] for path in (f"/task/{uuid}", f"/api/task/info/{uuid}")]
        for path in paths:
            assert found_in(client.get(flower + path).text, world.secrets | world.addresses) == [], path


def test_the_broker_holds_neither_once_a_task_was_taken(world: World) -> None:
    """Our own tasks name rows; the rest are times and counters."""
    with redis.Redis.from_url(world.stack.runtime.broker_url) as valkey:
        for key in valkey.scan_iter("*"):
            if key == b"messaging.unreadable":  # what is no message, kept for a person to look at
                continue
            text = repr(key) + repr(valkey.dump(key))
            assert found_in(text, world.secrets | world.addresses) == [], key


def test_files_that_hold_secrets_are_their_owners_alone(world: World) -> None:
    """And there is none among the others."""
    apart = {"postgres", "valkey", "sandbox", "logs"}
    seen = set()
    for path in world.stack.directory.rglob("*"):
        parts = path.relative_to(world.stack.directory).parts
        if not path.is_file() or parts[0] in apart or path.is_symlink():
            continue
        if parts[0] in _KEPT:
            seen.add(parts[0])
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        else:
            assert found_in(path.read_bytes().decode("latin-1"), world.secrets | world.addresses) == [], path
    assert seen == _KEPT
