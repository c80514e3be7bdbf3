"""Messages a second accepted over HTTP by one API process, durable in PostgreSQL when answered.

    python -m benchmarks.http_create [--requests 8000] [--clients 16] [--topic 1000000]

`h2load` (Debian's nghttp2-client) posts `POST /v1/messaging/messages/push` to one user over HTTP/1.1; its log
gives each answer's time. Beside it, in the same run, the same process answers `GET /v1/ping`, and `pgbench`-like
single commits say what one durable transaction costs here. Then one message to a topic of a million.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import httpx
from sqlalchemy import Engine, create_engine, text

from benchmarks.stack import SECRET, Servers, cpu_s, servers
from messaging import Messaging
from messaging.local.free_ports import free_ports
from messaging.settings import sqlalchemy_url
from messaging.store import api_keys, projects

_START_S = 30.0


@dataclass(frozen=True)
class Load:
    """What a run of the load generator saw."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    api_us: float
    """Processor time of the API process per request."""
    postgres_us: float
    """The same of PostgreSQL."""


def load(url: str, pid: int, found: Servers, *, requests: int, clients: int, more: list[str]) -> Load:
    """Run h2load and read its log."""
    log = found.directory / "h2load.log"
    log.unlink(missing_ok=True)
    postgres = int((found.directory / "postgres" / "postmaster.pid").read_text().split()[0])
    before, postgres_before = cpu_s(pid), cpu_s(postgres)
    command = ["h2load", "--h1", "-n", str(requests), "-c", str(clients), "-t", "1", f"--log-file={log}", *more, url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    spent, postgres_spent = cpu_s(pid) - before, cpu_s(postgres) - postgres_before
    rows = [line.split() for line in log.read_text().splitlines()]
    times_us = sorted(int(row[2]) for row in rows)
    starts = [int(row[0]) for row in rows]
    wall_s = (max(start + int(row[2]) for start, row in zip(starts, rows, strict=True)) - min(starts)) / 1e6
    failed = sum(not 200 <= int(row[1]) < 300 for row in rows)
    return Load(
        per_s=len(rows) / wall_s,
        p50_ms=times_us[len(times_us) // 2] / 1000,
        p99_ms=times_us[int(len(times_us) * 0.99)] / 1000,
        failed=failed,
        api_us=spent / requests * 1e6,
        postgres_us=postgres_spent / requests * 1e6,
    )


def prepare(found: Servers, engine: Engine, topic_size: int) -> str:
    """One user with a push target, a provider, a topic of so many; an API key."""
    with engine.begin() as connection:
        project = projects.ensure(connection, "default")
        _, key = api_keys.create(connection, project, name="benchmark")
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    client.providers.create(
        "fcm",
        provider_id="fcm",
        serviceAccountJSON={"project_id": "p", "client_email": "a@example.com", "private_key": "k"},
    )
    client.users.create("ada", name="Ada")
    client.targets.create(channel="push", identifier="token-of-ada", user_id="ada", target_id="phone")
    client.topics.create("million", name="Million")
    with engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO targets (project_id, public_id, channel, identifier, address_hash)
                    SELECT :project, 't' || i, 'push', md5(i::text), int8send(i)
                      FROM generate_series(CAST(1 AS bigint), :n) AS i"""),
            {"project": project, "n": topic_size},
        )
        connection.execute(
            text("""INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                    SELECT t.project_id, (SELECT id FROM topics), t.id, t.channel, 's' || t.id FROM targets t""")
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE targets, subscribers"))
    return key


def commits_per_s(engine: Engine, number: int) -> float:
    """The yardstick: single-row transactions, one after the other, each durable."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS yardstick (n int)"))
    started = time.perf_counter()
    for n in range(number):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO yardstick VALUES (:n)"), {"n": n})
    return number / (time.perf_counter() - started)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--topic", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("http_create: h2load is missing. Install with: apt-get install --no-install-recommends nghttp2-client")
    with servers() as found:
        engine = create_engine(sqlalchemy_url(found.database_url))
        key = prepare(found, engine, arguments.topic)
        (port,) = free_ports(1)
        api = subprocess.Popen(
            [sys.executable, "-m", "messaging.cli.main", "api", "--port", str(port)],
            env=found.environment(PATH=os.environ["PATH"]),
            stdout=(found.directory / "api.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait(url)
            print(f"one API process, {arguments.clients} clients, {arguments.requests:,} requests a run", flush=True)
            _measure(found, engine, url, key, api.pid, arguments)
        finally:
            api.terminate()
            api.wait(30)
            engine.dispose()


def _measure(  # noqa: PLR0917  one run
    found: Servers, engine: Engine, url: str, key: str, pid: int, arguments: argparse.Namespace
) -> None:
    headers = {"x-appwrite-project": "default", "x-appwrite-key": key, "content-type": "application/json"}
    body = found.directory / "push.json"
    body.write_text(json.dumps({"messageId": "unique()", "title": "Order 17", "body": "Ready", "users": ["ada"]}))
    sent = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    post = ["-d", str(body), *sent]
    clients, requests = arguments.clients, arguments.requests
    load(f"{url}/messaging/messages/push", pid, found, requests=500, clients=clients, more=post)  # warm
    rates = []
    for _ in range(arguments.runs):
        commits = commits_per_s(engine, 500)
        ping = load(f"{url}/ping", pid, found, requests=requests, clients=clients, more=sent)
        push = load(f"{url}/messaging/messages/push", pid, found, requests=requests, clients=clients, more=post)
        rates.append(push.per_s)
        print(
            f"push to one user {push.per_s:>8,.0f}/s, p50 {push.p50_ms:.1f} ms, p99 {push.p99_ms:.1f} ms,"
            f" {push.failed} failed, {push.api_us:.0f} us CPU of the API and {push.postgres_us:.0f} of PostgreSQL each"
            f" | ping {ping.per_s:,.0f}/s, {ping.api_us:.0f} us | single commits {commits:,.0f}/s",
            flush=True,
        )
    print(f"median {statistics.median(rates):,.0f}/s")
    with engine.begin() as connection:
        stored = connection.execute(text("SELECT count(*) FROM messages")).scalar_one()
    assert stored == 500 + arguments.runs * requests, stored
    times_ms = []
    with httpx.Client(headers=headers, timeout=30) as client:
        for _ in range(20):
            started = time.perf_counter()
            answer = client.post(
                f"{url}/messaging/messages/push",
                json={"messageId": "unique()", "title": "News", "topics": ["million"]},
            )
            times_ms.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 201, answer.text
    print(
        f"push to a topic of {arguments.topic:,}: answered in {statistics.median(times_ms):.1f} ms (median of 20),"
        f" {max(times_ms):.1f} ms at most"
    )


def _wait(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"The API did not answer within {_START_S:.0f} s.")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
