"""Recipients a second through the whole road by email and text message, one worker process a channel, in one run.

    python -m benchmarks.providers [--runs 1] [--delay-ms 0]

A topic is sent to through SendGrid and Mailgun (batches), SMTP (a message each on ten connections) and Twilio (a
request each), against the sandbox; beside each the adapter alone, without Celery and database, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from celery import Celery
from sqlalchemy import text

from benchmarks.stack import SECRET, Servers, servers, workers
from messaging import Messaging
from messaging.catalog import OURS
from messaging.channel import Channel
from messaging.local import sandbox_accounts
from messaging.local.environment import sandbox_environment
from messaging.local.sandbox.addresses import SandboxAddresses, read_addresses
from messaging.message import Content, Email, Sms
from messaging.settings import Settings
from messaging.store import projects
from messaging.store.engine import open_engine
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.destinations import ANYWHERE

RECIPIENTS = {"sendgrid": 50_000, "mailgun": 50_000, "smtp": 5_000, "twilio": 5_000}
QUIET = ("--without-gossip", "--without-mingle", "-l", "WARNING")


@dataclass(frozen=True)
class Figure:
    """Recipients a second."""

    road: float
    alone: float


@contextmanager
def sandbox(found: Servers) -> Iterator[SandboxAddresses]:
    """The providers' stand-ins, in a process of their own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "messaging.local.sandbox", "--data-dir", str(found.directory)],
        stdout=subprocess.DEVNULL,
    )
    path = found.directory / "sandbox" / "addresses.json"
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError("The sandbox did not start.")
            time.sleep(0.05)
        yield read_addresses(path)
    finally:
        process.terminate()
        process.wait(30)


def content_of(channel: Channel) -> Content:
    """A short message."""
    return Email(subject="Hello", content="<p>there</p>", html=True) if channel is Channel.EMAIL else Sms(content="Hi")


def address(channel: Channel, number: int) -> str:
    """Somebody's."""
    return f"reader{number}@example.com" if channel is Channel.EMAIL else f"+4477{number:08}"


def prepare(found: Servers, addresses: SandboxAddresses) -> dict[str, dict[str, Any]]:
    """An account of each kind and a topic for each; the accounts' fields."""
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    fields = {kind: sandbox_accounts.fields(kind, addresses) for kind in RECIPIENTS}
    engine = open_engine(_settings(found), role="benchmark")
    for kind, count in RECIPIENTS.items():
        client.providers.create(kind, provider_id=kind, enabled=True, **fields[kind])
        client.topics.create(kind, name=kind)
        pattern = (
            "'reader' || i || '@example.com'"
            if OURS[kind].channel is Channel.EMAIL
            else "'+4477' || lpad(i::text, 8, '0')"
        )
        with engine.begin() as connection:
            connection.execute(
                text(f"""WITH made AS (
                    INSERT INTO targets (project_id, provider_id, public_id, channel, identifier, address_hash)
                    SELECT p.project_id, p.id, p.kind || i, p.channel, {pattern}, int8send(i)
                      FROM providers p, generate_series(CAST(1 AS bigint), :n) AS i WHERE p.public_id = :kind
                    RETURNING id, project_id, channel)
                  INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                  SELECT m.project_id, t.id, m.id, m.channel, 's' || m.id
                    FROM made m, topics t WHERE t.public_id = :kind"""),
                {"n": count, "kind": kind},
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE targets, subscribers"))
    engine.dispose()
    return fields


def through_the_road(found: Servers, kind: str, environment: Mapping[str, str]) -> float:
    """Recipients a second from the first to the last outcome recorded, from a bare Celery client's send."""
    channel, count = OURS[kind].channel, RECIPIENTS[kind]
    roles = {
        "intake": ("worker", "-Q", "messaging.high,messaging", "-n", "intake@%h", "-c", "1", *QUIET),
        "fanout": ("worker", "-Q", "messaging.fanout,messaging.sweep", "-n", "fanout@%h", "-c", "1", *QUIET),
        channel: ("worker", "-Q", f"messaging.{channel}", "-n", f"{channel}@%h", "-c", "1", *QUIET),
        "beat": ("beat", "-s", str(found.directory / "beat"), "-l", "WARNING"),
    }
    said = (
        {"subject": "Hello", "content": "<p>there</p>", "html": True} if channel is Channel.EMAIL else {"content": "Hi"}
    )
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    producer = Celery(broker=found.broker_url, set_as_current=False)
    with workers(found, roles, **environment):
        kwargs = said | {"topics": [kind]}
        sent = producer.send_task(f"messaging.send_{channel}", queue="messaging", kwargs=kwargs)
        deadline, first, settled = time.monotonic() + 300, None, 0
        while settled < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Only {settled} of {count} were settled.")
            time.sleep(0.05)
            settled = _settled(client, sent.id)
            if settled and first is None:
                first = (time.perf_counter(), settled)
        assert first is not None
        wall = time.perf_counter() - first[0]
        accepted = sum(by for status, by in client.get(sent.id).totals.items() if status in {"accepted", "delivered"})
        assert accepted == count, client.get(sent.id).totals
        return (count - first[1]) / wall


def alone(kind: str, fields: Mapping[str, Any], environment: Mapping[str, str], ca_file: Path) -> float:
    """Recipients a second of the adapter itself, as many calls in flight as the road allows."""
    entry, count = OURS[kind], RECIPIENTS[kind]
    endpoints = {
        name.removeprefix("MESSAGING_ENDPOINTS__").lower(): url
        for name, url in environment.items()
        if name.startswith("MESSAGING_ENDPOINTS__")
    }
    context = Context(
        tokens=cast("Any", None),
        endpoints=endpoints,
        ca_file=ca_file,
        destinations=ANYWHERE,
        connections=entry.connections,
        concurrency=entry.concurrency,
    )
    credentials = {field.name for field in entry.credentials}
    defaults = {f.name: f.default for f in (*entry.credentials, *entry.options) if f.default is not None}
    given = defaults | dict(fields)
    account = Account(
        provider_id=1,
        public_id=kind,
        kind=kind,
        credentials={name: value for name, value in given.items() if name in credentials},
        options={name: value for name, value in given.items() if name not in credentials},
    )
    people = [
        Recipient(number, address(entry.channel, number), f"d51-{number:x}-1", str(UUID(int=number)))
        for number in range(count)
    ]

    async def run() -> float:
        adapter = cast("Adapter", import_module(f"workers.providers.{entry.module}").open_adapter(account, context))
        shared = Outgoing(
            message_id="m", content=content_of(entry.channel), expires_at=datetime.now(UTC) + timedelta(days=1)
        )
        prepared = adapter.prepare(shared)
        requests = iter([people[at : at + entry.request_size] for at in range(0, count, entry.request_size)])

        async def work() -> None:
            for request in requests:
                outcomes = await adapter.send(prepared, request)
                assert all(outcome.action == "accepted" for outcome in outcomes), outcomes

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(entry.concurrency)))
        wall = time.perf_counter() - started
        await adapter.aclose()
        return count / wall

    return asyncio.run(run())


def _settings(found: Servers) -> Settings:
    return Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)


def _settled(client: Messaging, message_id: str) -> int:
    try:
        return client.get(message_id).settled
    except LookupError:
        return 0


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="latency of every answer")
    parser.add_argument("--kinds", nargs="*", default=list(RECIPIENTS))
    arguments = parser.parse_args()
    with servers() as found, sandbox(found) as addresses:
        engine = open_engine(_settings(found), role="benchmark")
        with engine.begin() as connection:
            projects.ensure(connection, "default")
        engine.dispose()
        fields = prepare(found, addresses)
        environment = {
            name: value
            for name, value in sandbox_environment(addresses.as_json()).items()
            if name.startswith("MESSAGING_")
        }
        for kind in arguments.kinds:
            httpx.post(
                f"{addresses.control}/faults", json={"protocol": kind, "delay_ms": arguments.delay_ms}, trust_env=False
            )
            figures = [
                Figure(
                    through_the_road(found, kind, environment),
                    alone(kind, fields[kind], environment, Path(addresses.ca_file)),
                )
                for _ in range(arguments.runs)
            ]
            road = statistics.median(figure.road for figure in figures)
            ratio = statistics.median(figure.road / figure.alone for figure in figures)
            print(f"{OURS[kind].title:<12}{road:>10,.0f} recipients/s = {ratio:.2f} of the adapter alone", flush=True)


if __name__ == "__main__":
    main()
