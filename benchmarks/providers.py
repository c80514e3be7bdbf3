"""Recipients a second through the whole road by email and text message, one worker process a channel, in one run.

    python -m benchmarks.providers [--runs 5] [--delay-ms 50] [--smtp-delay-ms 10] [--sandbox]

A topic is sent to through SendGrid and Mailgun (batches), SMTP (a message each) and Twilio (a request each) against a
lean server (`benchmarks.lean_providers`): the sandbox, which reads and keeps each message, would take a core of the
two. With `--sandbox` they go there. Every answer comes so much later. Beside each stand the adapter alone, without
Celery and database, and for SMTP and Twilio the bare library with as many connections, in the same run; and the
processor time a recipient takes, by process.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
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

import aiosmtplib
import httpx
from celery import Celery
from sqlalchemy import text

from benchmarks.figures import Figure, publish
from benchmarks.lean_providers import Lean, lean_providers
from benchmarks.processes import cpu_s
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

RECIPIENTS = {"sendgrid": 50_000, "mailgun": 50_000, "smtp": 10_000, "twilio": 10_000}
GOALS = {"sendgrid": 10_000, "mailgun": 10_000, "smtp": 1_000, "twilio": 1_500}
LIBRARIES = {"smtp": "bare aiosmtplib", "twilio": "bare httpx"}
"""What sends one message a call without us."""
BARE = 1_000
"""Messages of the bare library."""
QUIET = ("--without-gossip", "--without-mingle", "-l", "WARNING")


@dataclass(frozen=True)
class Road:
    """One campaign."""

    rate: float
    """Recipients a second."""
    cpu_us: Mapping[str, float]
    """Microseconds of processor time a recipient, by process."""


@dataclass(frozen=True)
class Server:
    """What answers as the provider."""

    name: str
    pid: int
    fields: Mapping[str, Any]
    """Of the account."""
    environment: Mapping[str, str]


@contextmanager
def sandbox(found: Servers) -> Iterator[tuple[SandboxAddresses, int]]:
    """The providers' stand-ins, in a process of their own, and its id."""
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
        yield read_addresses(path), process.pid
    finally:
        process.terminate()
        process.wait(30)


def content_of(channel: Channel) -> Content:
    """A short message."""
    return Email(subject="Hello", content="<p>there</p>", html=True) if channel is Channel.EMAIL else Sms(content="Hi")


def address(channel: Channel, number: int) -> str:
    """Somebody's."""
    return f"reader{number}@example.com" if channel is Channel.EMAIL else f"+4477{number:08}"


def prepare(found: Servers, served: Mapping[str, Server]) -> None:
    """An account of each kind and a topic for each."""
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    engine = open_engine(_settings(found), role="benchmark")
    for kind, server in served.items():
        count = RECIPIENTS[kind]
        client.providers.create(kind, provider_id=kind, enabled=True, **server.fields)
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


def through_the_road(found: Servers, kind: str, server: Server) -> Road:
    """One campaign from a bare Celery client's send; the rate is from the first to the last outcome recorded."""
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
    with workers(found, roles, **server.environment) as pids:
        processes = {**pids, server.name: server.pid}
        before = {name: cpu_s(pid) for name, pid in processes.items()}
        kwargs = said | {"topics": [kind]}
        sent = producer.send_task(f"messaging.send_{channel}", queue="messaging", kwargs=kwargs)
        deadline, first, settled = time.monotonic() + 300, None, 0
        while settled < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Only {settled} of {count} were settled.")
            time.sleep(0.05)  # asking costs the database
            settled = _settled(client, sent.id)
            if settled and first is None:
                first = (time.perf_counter(), settled)
        assert first is not None
        wall = time.perf_counter() - first[0]
        accepted = sum(by for status, by in client.get(sent.id).totals.items() if status in {"accepted", "delivered"})
        assert accepted == count, client.get(sent.id).totals
        used = {name: (cpu_s(pid) - before[name]) / count * 1e6 for name, pid in processes.items()}
        return Road((count - first[1]) / wall, used)


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


def bare(kind: str, server: Server, ca_file: Path) -> float:
    """Messages a second of the library by itself, over as many connections as the adapter has."""
    each = OURS[kind].connections

    async def texts() -> None:
        limits = httpx.Limits(max_connections=each, max_keepalive_connections=each)
        address = f"{server.environment['MESSAGING_ENDPOINTS__TWILIO']}/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
        auth = (f"AC{'0' * 32}", "token")
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:
            numbers = iter(range(BARE))

            async def work() -> None:
                for number in numbers:
                    form = {"To": f"+4477{number:08}", "From": "+15005550006", "Body": "Hi"}
                    (await client.post(address, data=form, auth=auth)).raise_for_status()

            await asyncio.gather(*(work() for _ in range(each)))

    async def mails() -> None:
        host, _, port = server.environment["MESSAGING_ENDPOINTS__SMTP"].rpartition("/")[2].rpartition(":")
        use_tls = server.environment["MESSAGING_ENDPOINTS__SMTP"].startswith("ssl:")
        numbers = iter(range(BARE))
        tls = ssl.create_default_context(cafile=str(ca_file))

        async def work() -> None:
            async with aiosmtplib.SMTP(hostname=host, port=int(port), use_tls=use_tls, tls_context=tls) as client:
                for number in numbers:
                    to = f"reader{number}@example.com"
                    mail = f"From: news@example.org\r\nTo: {to}\r\nSubject: Hello\r\n\r\nthere\r\n"
                    await client.sendmail("news@example.org", [to], mail)

        await asyncio.gather(*(work() for _ in range(each)))

    started = time.perf_counter()
    asyncio.run(texts() if kind == "twilio" else mails())
    return BARE / (time.perf_counter() - started)


def _served(kind: str, addresses: SandboxAddresses, sandbox_pid: int, lean: Lean | None) -> Server:
    environment = {n: v for n, v in sandbox_environment(addresses.as_json()).items() if n.startswith("MESSAGING_")}
    fields = sandbox_accounts.fields(kind, addresses)
    if lean is None:
        return Server("sandbox", sandbox_pid, fields, environment)
    place = lean.smtps if kind == "smtp" else lean.http
    return Server("lean server", lean.pid, fields, environment | {f"MESSAGING_ENDPOINTS__{kind.upper()}": place})


def _settings(found: Servers) -> Settings:
    return Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)


def _settled(client: Messaging, message_id: str) -> int:
    try:
        return client.get(message_id).settled
    except LookupError:
        return 0


def measure(found: Servers, kind: str, server: Server, ca_file: Path, runs: int) -> list[Figure]:
    """The figures of one kind, medians all."""
    title, goal = OURS[kind].title, GOALS[kind]
    roads, adapters, libraries = [], [], []
    for _ in range(runs):
        roads.append(through_the_road(found, kind, server))
        adapters.append(alone(kind, server.fields, server.environment, ca_file))
        libraries += [bare(kind, server, ca_file)] if kind in LIBRARIES else []
    rate, adapter = statistics.median(road.rate for road in roads), statistics.median(adapters)
    ratio = statistics.median(road.rate / each for road, each in zip(roads, adapters, strict=True))
    beside = f"{adapter:,.0f}/s of the adapter alone, {server.name}"
    figures = [
        Figure(
            f"{title}, whole road", rate, "recipients/s", goal=f"{goal:,}", met=rate >= goal, beside=beside, ratio=ratio
        )
    ]
    if libraries:
        library = statistics.median(libraries)
        said = f"{library:,.0f}/s of {LIBRARIES[kind]} with {OURS[kind].connections} connections"
        figures.append(Figure(f"{title}, adapter alone", adapter, "recipients/s", beside=said, ratio=adapter / library))
    used = {name: statistics.median(road.cpu_us[name] for road in roads) for name in roads[0].cpu_us}
    figures += [Figure(f"{title}, {name}", value, "µs of CPU a recipient") for name, value in used.items()]
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--delay-ms", type=float, default=50.0, help="latency of every answer over HTTP")
    parser.add_argument("--smtp-delay-ms", type=float, default=10.0, help="the same of SMTP")
    parser.add_argument("--sandbox", action="store_true", help="against the sandbox instead of the lean server")
    parser.add_argument("--kinds", nargs="*", default=list(RECIPIENTS))
    parser.add_argument("--recipients", type=int, help="of each campaign, for a quick look")
    given = parser.parse_args()
    if given.recipients:
        RECIPIENTS.update(dict.fromkeys(RECIPIENTS, given.recipients))
    figures: list[Figure] = []
    with servers() as found, sandbox(found) as (addresses, pid):  # the accounts' fields are the sandbox's
        certificate = found.directory / "sandbox" / "server.pem"
        with lean_providers(certificate, delay_ms=given.delay_ms, smtp_delay_ms=given.smtp_delay_ms) as lean:
            engine = open_engine(_settings(found), role="benchmark")
            with engine.begin() as connection:
                projects.ensure(connection, "default")
            engine.dispose()
            served = {kind: _served(kind, addresses, pid, None if given.sandbox else lean) for kind in given.kinds}
            prepare(found, served)
            for kind, server in served.items():
                delay = given.smtp_delay_ms if kind == "smtp" else given.delay_ms
                faults = {"protocol": kind, "delay_ms": delay}
                httpx.post(f"{addresses.control}/faults", json=faults, trust_env=False)
                figures += measure(found, kind, server, Path(addresses.ca_file), given.runs)
                if not given.sandbox:
                    sent = given.runs * (2 * RECIPIENTS[kind] + (BARE if kind in LIBRARIES else 0))
                    assert lean.counts()[kind] == sent, (lean.counts(), sent)
    publish("providers", figures)


if __name__ == "__main__":
    main()
