"""Messages a second accepted over HTTP by one API process on one core, durable in PostgreSQL when answered.

    python -m benchmarks.http_create [--requests 8000] [--clients 16] [--runs 5] [--topic 1000000]

`h2load` (Debian's nghttp2-client) posts `POST /v1/messaging/messages/push` to one user over HTTP/1.1; its log
gives each answer's time. The yardsticks are of the same run: `GET /v1/ping` from the same process, which asks the
database nothing, and durable transactions of one row, one after the other. Then one client alone, which must not wait
for others, and one message to a topic of a million. Each figure is the median of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
from sqlalchemy import Engine, create_engine, text

from benchmarks.figures import Figure, publish
from benchmarks.processes import cpu_s
from benchmarks.stack import SECRET, Servers, servers
from messaging import Messaging
from messaging.local.free_ports import free_ports
from messaging.settings import sqlalchemy_url
from messaging.store import api_keys, projects

_START_S = 30.0
_ALONE = 300
"""Requests of the one client."""
_GOAL_PER_S = 1500
_GOAL_API_US = 600


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
    generator_us: float
    """The same of h2load."""


def load(url: str, pid: int, found: Servers, *, requests: int, clients: int, more: list[str]) -> Load:
    """Run h2load and read its log."""
    log = found.directory / "h2load.log"
    log.unlink(missing_ok=True)
    postgres = int((found.directory / "postgres" / "postmaster.pid").read_text().split()[0])
    before, postgres_before, generator_before = cpu_s(pid), cpu_s(postgres), _waited_for_s()
    command = ["h2load", "--h1", "-n", str(requests), "-c", str(clients), "-t", "1", f"--log-file={log}", *more, url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    spent, postgres_spent = cpu_s(pid) - before, cpu_s(postgres) - postgres_before
    generator_spent = _waited_for_s() - generator_before
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
        generator_us=generator_spent / requests * 1e6,
    )


def _waited_for_s() -> float:
    """Processor seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    parser.add_argument("--runs", type=int, default=5)
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
        os.sched_setaffinity(api.pid, {max(os.sched_getaffinity(0))})  # before it has threads, which inherit it
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
    clients, requests, to_push = arguments.clients, arguments.requests, f"{url}/messaging/messages/push"
    load(to_push, pid, found, requests=500, clients=clients, more=post)  # warm
    commits, pings, pushes, alone = [], [], [], []
    for _ in range(arguments.runs):
        commits.append(commits_per_s(engine, 500))
        pings.append(load(f"{url}/ping", pid, found, requests=requests, clients=clients, more=sent))
        pushes.append(load(to_push, pid, found, requests=requests, clients=clients, more=post))
        alone.append(load(to_push, pid, found, requests=_ALONE, clients=1, more=post))
        print(_told(pushes[-1]), flush=True)
    with engine.begin() as connection:
        stored = connection.execute(text("SELECT count(*) FROM messages")).scalar_one()
    assert stored == 500 + arguments.runs * (requests + _ALONE), stored
    assert not any(each.failed for each in (*pings, *pushes, *alone))
    topic_ms = list(_to_topic(url, headers))
    publish(
        "http_create",
        [
            *_figures(commits, pings, pushes, alone),
            Figure(f"push to a topic of {arguments.topic:,}, answered in", statistics.median(topic_ms), "ms"),
            Figure("the same, at most (of 20)", max(topic_ms), "ms"),
        ],
    )


def _told(push: Load) -> str:
    return (
        f"push to one user {push.per_s:>8,.0f}/s, p50 {push.p50_ms:.1f} ms, p99 {push.p99_ms:.1f} ms, {push.failed}"
        f" failed, CPU each: {push.api_us:.0f} us of the API, {push.postgres_us:.0f} of PostgreSQL,"
        f" {push.generator_us:.0f} of h2load"
    )


def _figures(
    commits: Sequence[float], pings: Sequence[Load], pushes: Sequence[Load], alone: Sequence[Load]
) -> list[Figure]:
    def middle(of: Sequence[Load], name: str) -> float:
        return float(statistics.median(getattr(each, name) for each in of))

    rate, ping, single = middle(pushes, "per_s"), middle(pings, "per_s"), statistics.median(commits)
    api_us, ping_us = middle(pushes, "api_us"), middle(pings, "api_us")
    met = rate >= _GOAL_PER_S
    return [
        Figure(
            "push to one user, durable when answered",
            rate,
            "creates/s",
            goal=f"{_GOAL_PER_S:,}",
            met=met,
            beside=f"{ping:,.0f}/s of GET /v1/ping",
            ratio=rate / ping,
        ),
        Figure(
            "the same, beside single commits",
            rate,
            "creates/s",
            beside=f"{single:,.0f}/s of single commits",
            ratio=rate / single,
        ),
        Figure(
            "CPU of the API",
            api_us,
            "us each",
            goal=f"under {_GOAL_API_US}",
            met=api_us < _GOAL_API_US,
            beside=f"{ping_us:.0f} us of GET /v1/ping",
            ratio=api_us / ping_us,
        ),
        Figure("CPU of PostgreSQL", middle(pushes, "postgres_us"), "us each"),
        Figure("CPU of h2load", middle(pushes, "generator_us"), "us each"),
        Figure("answered in, p50", middle(pushes, "p50_ms"), "ms"),
        Figure("answered in, p99", middle(pushes, "p99_ms"), "ms"),
        Figure("one client alone, answered in, p50", middle(alone, "p50_ms"), "ms"),
        Figure("one client alone, answered in, p99", middle(alone, "p99_ms"), "ms"),
    ]


def _to_topic(url: str, headers: Mapping[str, str]) -> Iterator[float]:
    """Milliseconds to an answer, twenty times."""
    with httpx.Client(headers=dict(headers), timeout=30) as client:
        for _ in range(20):
            started = time.perf_counter()
            answer = client.post(
                f"{url}/messaging/messages/push",
                json={"messageId": "unique()", "title": "News", "topics": ["million"]},
            )
            yield (time.perf_counter() - started) * 1000
            assert answer.status_code == 201, answer.text


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
