"""Deliveries a second through the whole road, beside the bare HTTP/2 client, in one run on one machine.

    python -m benchmarks.end_to_end [--targets 100000] [--runs 3] [--push-processes 1]

A bare Celery client sends one push to a topic; intake, fan-out, one push process, Celery, PostgreSQL
(durable) and Valkey do the rest, against `recorder.mjs`, a native server that answers as APNs does and counts
the tokens it saw. Prints the rate, what each process spent per delivery, and the ratio to what the bare
client reaches against the same server in the same run; and how many ledger rows a second fan-out inserts.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

from benchmarks import http2_client
from benchmarks.native import native_server
from benchmarks.processes import cpu_s
from benchmarks.stack import SECRET, Servers, servers, workers
from messaging import Messaging
from messaging.channel import Channel
from messaging.message import Push
from messaging.producer import accept
from messaging.publish import Publisher
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.store import projects
from messaging.store.engine import open_engine
from messaging.vault import Vault
from workers import fanout
from workers.providers.http2 import Http2Client

TITLE, BODY = "Order 17", "Ready at 18:00"


@dataclass(frozen=True)
class EndToEnd:
    """What one send through the whole road took."""

    wall_s: float
    """From the producer's send to the last outcome recorded."""
    steady_per_s: float
    """Deliveries a second between the first and the last tenth."""
    cpu_us: dict[str, float]
    """Processor time per delivery, by process."""


def ceiling(origin: str, ca_file: Path, requests: int) -> http2_client.Result:
    """The bare client: one process, one connection, nothing but requests and answers."""

    async def measure() -> http2_client.Result:
        context = ssl.create_default_context(cafile=str(ca_file))
        client = Http2Client(origin, ssl_context=context)

        async def post(path: str, headers: list[tuple[str, str]], body: bytes) -> int:
            return (await client.request("POST", path, headers, body)).status

        await http2_client.run(post, http2_client.apns, 2000, 500)
        result = await http2_client.run(post, http2_client.apns, requests, 500)
        await client.aclose()
        return result

    return asyncio.run(measure())


def prepare(found: Servers, targets: int) -> None:
    """An APNs provider, and a topic with so many targets."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    engine = open_engine(_settings(found), role="benchmark")
    with engine.begin() as connection:
        projects.ensure(connection, "default")
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    client.providers.create(
        "apns",
        provider_id="apns",
        authKey=key.decode(),
        authKeyId="KEY4567890",
        teamId="TEAM567890",
        bundleId="com.example.app",
    )
    client.topics.create("bench", name="Benchmark")
    with engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO targets (project_id, provider_id, public_id, channel, identifier, address_hash)
                    SELECT p.project_id, p.id, 't' || i, 'push', md5(i::text) || md5(i::text), int8send(i)
                      FROM providers p, generate_series(CAST(1 AS bigint), :n) AS i"""),
            {"n": targets},
        )
        connection.execute(
            text("""INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                    SELECT t.project_id, (SELECT id FROM topics), t.id, t.channel, 's' || t.id FROM targets t""")
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE targets, subscribers"))
    engine.dispose()


def end_to_end(found: Servers, origin: str, ca_file: Path, *, targets: int, push_processes: int) -> EndToEnd:
    """One push to the topic, from a bare Celery client to the last row."""
    quiet = ("--without-gossip", "--without-mingle", "-l", "WARNING")
    pool = ("-P", "threads", "-c", "2")  # as in the Procfile: two batches under way
    roles = {
        "intake": ("worker", "-Q", "messaging.high,messaging", "-n", "intake@%h", "-c", "1", *quiet),
        "fanout": ("worker", "-Q", "messaging.fanout,messaging.sweep", "-n", "fanout@%h", "-c", "1", *quiet),
        **{
            f"push{number or ''}": ("worker", "-Q", "messaging.push", "-n", f"push{number}@%h", *pool, *quiet)
            for number in range(push_processes)
        },
        "beat": ("beat", "-s", str(found.directory / "beat"), "-l", "WARNING"),
    }
    client = Messaging.connect(database_url=found.database_url, secret_key=SECRET)
    producer = Celery(broker=found.broker_url, set_as_current=False)
    environment = {"MESSAGING_ENDPOINTS__APNS": origin, "MESSAGING_CA_FILE": str(ca_file)}
    with workers(found, roles, **environment) as pids:
        watched = pids | {"postgres": _postgres_pid(found)}
        before = {name: cpu_s(pid) for name, pid in watched.items()}
        started = time.perf_counter()
        sent = producer.send_task(
            "messaging.send_push",
            queue="messaging",
            kwargs={"title": TITLE, "body": BODY, "topics": ["bench"]},
        )
        settled, seen = 0, [(started, 0)]
        while settled < targets:
            time.sleep(0.1)
            if time.perf_counter() - started > targets / 300 + 60:
                raise TimeoutError(f"Only {settled} of {targets} were settled.")
            settled = _settled(client, sent.id)
            seen.append((time.perf_counter(), settled))
        wall = time.perf_counter() - started
        spent = {name: cpu_s(pid) - before[name] for name, pid in watched.items()}
    first = next(at for at, n in seen if n >= targets * 0.1)
    last = next(at for at, n in seen if n >= targets * 0.9)
    return EndToEnd(wall, 0.8 * targets / (last - first), {name: s / targets * 1e6 for name, s in spent.items()})


def fanout_rows_per_s(found: Servers, rows: int) -> float:
    """Ledger rows a second that fan-out inserts, with nobody delivering."""
    settings = _settings(found)
    engine, vault, publisher = open_engine(settings, role="benchmark"), Vault(SECRET), Publisher(settings)
    with engine.begin() as connection:
        project = connection.execute(text("SELECT id FROM projects")).scalar_one()
        request = SendRequest(content=Push(title=TITLE, body=BODY), topics=("bench",))
        message = accept(connection, vault, settings, project, request).message_id
    assert message is not None
    started = time.perf_counter()
    while "complete" not in fanout.expand(engine, settings, publisher, message):
        pass
    wall = time.perf_counter() - started
    with engine.begin() as connection:
        inserted = connection.execute(
            text("SELECT count(*) FROM deliveries WHERE message_id = :id"), {"id": message}
        ).scalar_one()
    assert inserted == rows
    with engine.begin() as connection:
        connection.execute(text("UPDATE messages SET state = 7, finished_at = now(); UPDATE batches SET state = 2"))
    with redis.Redis.from_url(found.broker_url) as broker:
        broker.flushall()
    publisher.close()
    engine.dispose()
    return rows / wall


def _settings(found: Servers) -> Settings:
    return Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)


def _settled(client: Messaging, message_id: str) -> int:
    try:
        return client.get(message_id).settled
    except LookupError:
        return 0


def _postgres_pid(found: Servers) -> int:
    return int((found.directory / "postgres" / "postmaster.pid").read_text().split()[0])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--push-processes", type=int, default=1)
    arguments = parser.parse_args()
    with servers() as found:
        key_file, cert_file = http2_client.certificate(found.directory)
        print(f"{arguments.targets:,} {Channel.PUSH} targets; {arguments.push_processes} push process(es)", flush=True)
        prepare(found, arguments.targets)
        rows = statistics.median(fanout_rows_per_s(found, arguments.targets) for _ in range(arguments.runs))
        print(f"fan-out                 {rows:>10,.0f} rows/s (median of {arguments.runs})", flush=True)
        with native_server(key_file, cert_file) as server:
            origin, ratios = server.origin, []
            for _ in range(arguments.runs):
                before = ceiling(origin, cert_file, 30_000)
                whole = end_to_end(
                    found, origin, cert_file, targets=arguments.targets, push_processes=arguments.push_processes
                )
                after = ceiling(origin, cert_file, 30_000)
                # the machine changes its pace within a run: the client is measured on both sides
                bare_per_s = (before.requests_per_s + after.requests_per_s) / 2
                ratios.append(whole.steady_per_s / bare_per_s)
                print(
                    f"bare HTTP/2 client      {bare_per_s:>10,.0f} requests/s"
                    f" ({before.requests_per_s:,.0f} before, {after.requests_per_s:,.0f} after),"
                    f" {(before.cpu_us + after.cpu_us) / 2:.0f} us CPU each"
                )
                print(
                    f"end to end              {whole.steady_per_s:>10,.0f} deliveries/s steady,"
                    f" {arguments.targets / whole.wall_s:,.0f} from send to last row ({whole.wall_s:.1f} s)"
                    f" = {ratios[-1]:.2f} of the bare client"
                )
                parts = ", ".join(f"{name} {us:.0f}" for name, us in whole.cpu_us.items())
                print(f"  CPU us a delivery: {parts}", flush=True)
            print(f"ratio to the bare client, median of {arguments.runs}: {statistics.median(ratios):.2f}")
            print("requests the server saw:", server.requests())
    sys.stdout.flush()


if __name__ == "__main__":
    main()
