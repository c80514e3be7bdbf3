"""A broker that others can write to: only what a trusted certificate signed is done, and nothing is done twice."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from messaging.status import DeliveryStatus, MessageState
from messaging.wire import Queue, TaskName
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import recorded
from tests.certificates import signing_pair

pytestmark = pytest.mark.timeout(600)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "sign-tasks.md"
CANARY = "canary-" + secrets.token_hex(8)


def blocks(language: str) -> list[str]:
    """The page's code in that language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@dataclass(frozen=True)
class Shared:
    """A stack with signed tasks, and a folder with what its producers have."""

    stack: Stack
    folder: Path
    topic: str
    devices: list[str]

    def send(self, *, code: str | None = None, **kwargs: Any) -> str:
        """The id of a task sent by the page's producer in a process of its own, with other arguments if given."""
        program = (code or blocks("python")[0]).replace(
            "redis://broker.example.org:6379/0", self.stack.runtime.broker_url
        )
        given = kwargs or {"title": "Hello", "topics": [self.topic]}
        program = re.sub(r"kwargs=\{.*?\}(?=, queue)", lambda _: f"kwargs={given!r}", program)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=self.folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refusal(self, task_id: str) -> str:
        """Why the task was refused, once it was."""

        def reason() -> str | None:
            with psycopg.connect(self.stack.runtime.database_url) as connection:
                row = connection.execute("SELECT reason FROM refusals WHERE task_id = %s", [task_id]).fetchone()
            return None if row is None else str(row[0])

        return until(reason, lambda: f"{task_id} was not refused\n{self.stack.tail('intake', 'push')}")

    def settled(self, message_id: str) -> dict[DeliveryStatus, int]:
        """Deliveries by status, once the message is sent."""

        def found() -> dict[DeliveryStatus, int] | None:
            with self.stack.client() as client:
                try:
                    view = client.get(message_id)
                except LookupError:
                    return None
                return {k: v for k, v in view.totals.items() if v} if view.state is MessageState.SENT else None

        return until(found, lambda: f"{message_id}: {self.stack.tail('intake', 'fanout', 'push', 'push-high', 'beat')}")

    @contextmanager
    def broker(self) -> Iterator[Any]:
        """A client of the broker's Redis, as another tenant has it."""
        with redis.Redis.from_url(self.stack.runtime.broker_url) as client:
            yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    """The page's certificates, settings and stack."""
    folder = Path(tempfile.mkdtemp(prefix="heliograph-signing-"))
    try:
        certificates, settings = blocks("sh")
        if shutil.which("openssl") is None:
            for name in ("messaging", "shop"):
                signing_pair(folder, name, lasts=timedelta(days=365))  # as the page's own
            certificates = "\n".join(line for line in certificates.splitlines() if not line.startswith("openssl"))
        subprocess.run(["sh", "-e"], input=certificates, cwd=folder, text=True, capture_output=True, check=True)
        env = dict(re.findall(r"export (\w+)=(\S+)", settings))
        with running(
            "--sandbox", **UNHURT, **{name: value.replace("$PWD", str(folder)) for name, value in env.items()}
        ) as up:
            with up.client() as client:
                configure(client, up.sandbox)
                devices = apns_tokens(3)
                topic = push_topic(client, apns=devices)
            yield Shared(up, folder, topic, devices)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_what_the_pages_producer_sends_takes_the_whole_road(shared: Shared) -> None:
    """Signed by it, by the workers in between, and by beat for what waits until its time."""
    assert shared.settled(shared.send()) == {DeliveryStatus.ACCEPTED: 3}
    with shared.stack.client() as client:
        many = push_topic(client, apns=apns_tokens(150))  # too many for one transaction: a fan-out, and its hints
    assert shared.settled(shared.send(title="Hello", topics=[many])) == {DeliveryStatus.ACCEPTED: 150}
    with psycopg.connect(shared.stack.runtime.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM refusals").fetchone() == (0,)


def test_a_stranger_at_the_broker_gets_nothing_done(shared: Shared) -> None:
    """Unsigned, by a foreign certificate, our own tasks: each is counted, no body is logged, and nobody dies."""
    before = dict(shared.stack.runtime.processes)
    kwargs = {"title": CANARY, "topics": [shared.topic]}
    broker_url = shared.stack.runtime.broker_url
    body = json.dumps([[], kwargs, {}])
    bare.publish(broker_url, body, task=bare.PUSH, id="unsigned")
    bare.publish(broker_url, json.dumps([[1], {}, {}]), task=TaskName.DELIVER, id="hint", queue=Queue.PUSH)
    bare.publish(broker_url, json.dumps([[], kwargs, {}]), task="celery.map", id="built-in")
    bare.publish(broker_url, body, task=[], id="no-name")
    foreign = signing_pair(shared.folder, "foreign")
    code = blocks("python")[0].replace("shop.key", foreign.key.name).replace("shop.pem", foreign.certificate.name)
    stranger = shared.send(code=code, **kwargs)
    newer = shared.send(code=blocks("python")[0].replace("task_protocol=1", "task_protocol=2"), **kwargs)
    assert "not signed" in shared.refusal("unsigned")
    assert "not signed" in shared.refusal("hint")
    assert "not signed" in shared.refusal("built-in")
    assert "not signed" in shared.refusal("no-name")
    assert "not among those trusted" in shared.refusal(stranger)
    assert "task_protocol = 1" in shared.refusal(newer)
    assert shared.settled(shared.send()) == {DeliveryStatus.ACCEPTED: 3}  # by the same workers
    assert dict(shared.stack.runtime.processes) == before
    assert not [name for name in before if CANARY in shared.stack.log(name)]
    with shared.broker() as client:
        until(lambda: not client.exists("unacked"), "something is handed out again and again")
        assert not client.llen(Queue.INTAKE)
    with psycopg.connect(shared.stack.runtime.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM messages WHERE content::text LIKE %s", [f"%{CANARY}%"])
        assert found.fetchone() == (0,)


def received(shared: Shared) -> Counter[str]:
    """How often the provider took something for each device."""
    return Counter(line["recipient"] for line in recorded(shared.stack.sandbox["control"], "apns"))


def test_a_recorded_task_that_is_sent_again_is_the_same_message(shared: Shared) -> None:
    """As it was, under headers of another task and time; with a changed body it is refused."""
    before = received(shared)
    code = blocks("python")[0].replace('queue="messaging"', 'queue="a-tap"')
    message_id = shared.send(code=code, title=CANARY, topics=[shared.topic])
    with shared.broker() as client:
        raw = json.loads(client.rpop("a-tap"))

        def again(document: dict[str, Any], **headers: str) -> None:
            tag = secrets.token_hex(8)
            changed = document | {"headers": document["headers"] | headers}
            client.lpush(
                Queue.INTAKE, json.dumps(changed | {"properties": document["properties"] | {"delivery_tag": tag}})
            )

        again(raw)
        assert shared.settled(message_id) == {DeliveryStatus.ACCEPTED: 3}
        again(raw)
        again(raw, id="another", task=bare.PUSH, eta="2031-01-31T12:00:00+00:00")
        parts = base64.b64decode(base64.b64decode(raw["body"])).split(b"\x00\x01", 4)
        forged = base64.b64encode(b"\x00\x01".join([*parts[:4], parts[4].replace(message_id.encode(), b"other")]))
        again(raw | {"body": base64.b64encode(forged).decode()}, id="forged")
    assert "not that of its body" in shared.refusal("forged")
    assert shared.settled(shared.send()) == {DeliveryStatus.ACCEPTED: 3}  # all before it have been looked at
    after = received(shared)
    assert {device: after[device] - before[device] for device in shared.devices} == dict.fromkeys(shared.devices, 2)
    with psycopg.connect(shared.stack.runtime.database_url) as connection:
        found = connection.execute("SELECT public_id FROM messages WHERE content::text LIKE %s", [f"%{CANARY}%"])
        assert found.fetchall() == [(message_id,)]
        kept = connection.execute("SELECT keep_until > now() + interval '300 days' FROM intake_keys WHERE key = %s",
                                  [f"task:{message_id}"]).fetchone()  # fmt: skip
    assert kept == (True,), "its id is forgotten before its certificate runs out"
