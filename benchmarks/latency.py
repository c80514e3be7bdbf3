"""How long one message to one target takes, from the producer's call to the request at the provider.

    python -m benchmarks.latency [--codes 400] [--every-ms 50] [--targets 1000000] [--campaigns 1]

The whole stack of the Procfile runs (`messaging up`) against a native server that answers as APNs does and notes when
each request's first byte came. A bare Celery client sends one push each to devices of their own: first on an idle
system, then while a message to a topic of so many targets is going out. The yardstick, from the same run: how long a
task that does nothing takes until it starts, in an idle worker with the same settings on the same broker.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from celery import Celery
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import create_engine, text

from benchmarks.figures import Figure, publish
from benchmarks.http2_client import certificate
from benchmarks.native import NativeServer, native_server
from benchmarks.processes import cpu_s
from messaging import Messaging
from messaging.local.children import Command, spawn
from messaging.local.postgres_home import remove
from messaging.local.runtime import Runtime, read_runtime
from messaging.settings import sqlalchemy_url

_START_S = 180.0
_ARRIVE_S = 60.0
_CODE = "c0de"
"""How the token of a device begins that gets a single push."""
_NOTE_CODES = f"""
  log 127.0.0.1:{{port}} format raw local0
  log-format "%[var(txn.path)] %[var(txn.came)]"
  http-request set-var(txn.came) date(0,us)
  http-request set-var(txn.path) path
  http-request set-log-level silent if ! {{{{ path_beg /3/device/{_CODE} }}}}
"""


@dataclass
class Arrivals:
    """When the request for each device came, as the provider's log says: seconds since 1970, by token."""

    log: socket.socket
    at: dict[str, float] = field(default_factory=dict)

    @classmethod
    def listen(cls) -> Arrivals:
        """One that hears a log on a port of its own."""
        log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        log.bind(("127.0.0.1", 0))
        log.setblocking(False)  # noqa: FBT003  the socket's own signature
        return cls(log)

    @property
    def rules(self) -> str:
        """What the provider is to do for each request."""
        return _NOTE_CODES.format(port=self.log.getsockname()[1])

    def hear(self) -> None:
        """Read what was logged since."""
        with contextlib.suppress(BlockingIOError):
            while True:
                path, came = self.log.recv(4096).decode().split()
                self.at.setdefault(path.rpartition("/")[2], int(came) / 1e6)  # the first counts


@dataclass(frozen=True)
class Stack:
    """A stack that runs, its provider, and what a producer needs."""

    runtime: Runtime
    directory: Path
    native: NativeServer
    arrivals: Arrivals
    producer: Celery
    tokens: Iterator[tuple[str, str]]
    """(target, device token) of devices that got nothing yet."""

    def send_code(self) -> tuple[str, float]:
        """Send one push to one device: its token, and when."""
        target, token = next(self.tokens)
        started = time.time()
        self.producer.send_task(
            "messaging.send_push",
            queue="messaging",
            kwargs={"title": "Your code", "body": "123456", "targets": [target]},
        )
        return token, started

    def send_codes(self, count: int, every_s: float, *, on: Callable[[], bool] = lambda: True) -> list[float]:
        """Send up to `count` while `on` says so; milliseconds each took. Raises `TimeoutError` if one never came."""
        sent: dict[str, float] = {}
        spacing = random.Random(7)
        while len(sent) < count and on():
            token, started = self.send_code()
            sent[token] = started
            # never in step with what happens once a second
            time.sleep(max(0.0, started + every_s * spacing.uniform(0.5, 1.5) - time.time()))
            self.arrivals.hear()
        deadline = time.monotonic() + _ARRIVE_S
        while missing := sent.keys() - self.arrivals.at.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(missing)} of {len(sent)} codes did not come within {_ARRIVE_S:.0f} s.")
            time.sleep(0.02)
            self.arrivals.hear()
        return [(self.arrivals.at[token] - started) * 1000 for token, started in sent.items()]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds by process."""
        return {name: cpu_s(pid) for name, pid in self.runtime.processes.items()} | {"provider": self.native.cpu_s()}


@contextlib.contextmanager
def stack(codes: int, targets: int) -> Iterator[Stack]:
    """`messaging up` on a fresh directory, with an APNs account, a topic of so many targets and devices for codes."""
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as name, contextlib.ExitStack() as ends:
        home = Path(name)
        home.chmod(0o711)  # PostgreSQL runs under another account
        arrivals = Arrivals.listen()
        ends.callback(arrivals.log.close)
        native = ends.enter_context(native_server(*certificate(home), rules=arrivals.rules))
        directory = home / "data"
        own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
        process = spawn(
            Command(
                argv=[sys.executable, "-m", "messaging.local.up", "--data-dir", str(directory), "--flower-events"],
                cwd=home,
                env=own | {"MESSAGING_ENDPOINTS__APNS": native.origin, "MESSAGING_CA_FILE": str(native.ca_file)},
                log=home / "up.out",
                parent_death_signal=signal.SIGTERM,
            )
        )
        ends.callback(remove, directory / "postgres")
        ends.callback(_stop, process)
        _wait(lambda: _is_up(directory, process, home / "up.out"), "the stack to be ready")
        runtime = read_runtime(directory)
        secret_key = (directory / "secret.key").read_text().strip()
        tokens = prepare(runtime, secret_key, codes=codes, targets=targets)
        producer = Celery(broker=runtime.broker_url, set_as_current=False)
        ends.callback(producer.close)
        yield Stack(runtime, directory, native, arrivals, producer, iter(tokens))


def prepare(runtime: Runtime, secret_key: str, *, codes: int, targets: int) -> list[tuple[str, str]]:
    """(target, token) of the devices for codes; beside them a topic `bench` with as many targets as asked for."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with Messaging.connect(database_url=runtime.database_url, secret_key=secret_key) as client:
        client.providers.create(
            "apns",
            provider_id="apns",
            authKey=key.decode(),
            authKeyId="KEY4567890",
            teamId="TEAM567890",
            bundleId="com.example.app",
        )
        client.topics.create("bench", name="Benchmark")
    engine = create_engine(sqlalchemy_url(runtime.database_url))
    insert = """INSERT INTO targets (project_id, provider_id, public_id, channel, identifier, address_hash)
                SELECT p.project_id, p.id, :name || i, 'push', {value}, int8send(i + :offset)
                  FROM providers p, generate_series(CAST(1 AS bigint), :n) AS i"""
    with engine.begin() as connection:
        connection.execute(
            text(insert.format(value="md5(i::text) || md5(i::text)")), {"name": "t", "offset": 0, "n": targets}
        )
        connection.execute(
            text("""INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                    SELECT t.project_id, (SELECT id FROM topics), t.id, t.channel, 's' || t.id FROM targets t""")
        )
        connection.execute(
            text(insert.format(value=f"'{_CODE}' || substr(md5(i::text) || md5(i::text), 5)")),
            {"name": "code", "offset": targets, "n": codes},
        )
        rows = connection.execute(text("SELECT public_id, identifier FROM targets WHERE public_id LIKE 'code%'")).all()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE targets, subscribers"))
    engine.dispose()
    return [(row.public_id, row.identifier) for row in rows]


def campaign(found: Stack, *, targets: int, most: int, every_s: float) -> list[float]:
    """Milliseconds that codes took while a message to the whole topic was going out."""
    before = found.native.requests()
    found.producer.send_task(
        "messaging.send_push", queue="messaging", kwargs={"title": "News", "body": "Of the day", "topics": ["bench"]}
    )

    def gone() -> int:
        return found.native.requests() - before

    _wait(lambda: gone() > targets // 100, "the campaign to begin")
    started, cpu = time.monotonic(), found.cpu_s()
    took = found.send_codes(most, every_s, on=lambda: gone() < targets * 0.98)
    lasted, spent = time.monotonic() - started, {name: after - cpu[name] for name, after in found.cpu_s().items()}
    shares = ", ".join(f"{name} {used / lasted:.2f}" for name, used in spent.items() if used / lasted >= 0.01)
    print(f"campaign: {gone() / lasted:,.0f} requests/s beside {len(took)} codes; cores used: {shares}", flush=True)
    _wait(lambda: gone() >= targets + len(took), "the campaign to end", within_s=targets / 500 + 60)
    return took


def noop(found: Stack, *, tasks: int, every_s: float) -> list[float]:
    """Milliseconds from the call to the start of a task that does nothing, in a worker with our settings."""
    notes, ready = found.directory / "noop.txt", found.directory / "noop.ready"
    own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
    worker = spawn(
        Command(
            argv=[
                *(sys.executable, "-m", "celery", "-A", "benchmarks.noop", "worker", "-Q", "benchmark.noop"),
                *("-n", "noop@%h", "-c", "2", "--without-gossip", "--without-mingle", "-l", "WARNING"),
            ],
            cwd=Path.cwd(),
            env=own
            | {
                "MESSAGING_DATABASE_URL": found.runtime.database_url,
                "MESSAGING_BROKER_URL": found.runtime.broker_url,
                "MESSAGING_SECRET_KEY": (found.directory / "secret.key").read_text().strip(),
                "MESSAGING_READY_FILE": str(ready),
                "NOOP_NOTES": str(notes),
            },
            log=found.directory / "noop.log",
            parent_death_signal=signal.SIGTERM,
        )
    )
    try:
        _wait(ready.exists, "the worker with nothing to do to be ready")
        for _ in range(tasks):
            found.producer.send_task("benchmarks.noop", queue="benchmark.noop", kwargs={"sent": time.time()})
            time.sleep(every_s)
        _wait(lambda: notes.exists() and notes.read_text().count("\n") == tasks, "every task to start")
    finally:
        _stop(worker)
    return [float(line) for line in notes.read_text().splitlines()]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def figures(idle: Sequence[float], busy: Sequence[float], nothing: Sequence[float]) -> list[Figure]:
    """The table of the three."""
    yardstick = percentile(nothing, 0.5)
    found = []
    goals: Mapping[tuple[str, float], float] = {("idle", 0.5): 15, ("idle", 0.99): 50, ("during a campaign", 0.99): 250}
    for name, values in (("idle", idle), ("during a campaign", busy)):
        for label, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
            value, goal = percentile(values, share), goals.get((name, share))
            found.append(
                Figure(
                    f"one message, {name}, {label}",
                    value,
                    "ms",
                    goal="" if goal is None else f"under {goal:g}",
                    met=None if goal is None else value < goal,
                    beside=f"a task that does nothing, p50 {yardstick:.1f} ms",
                    ratio=value / yardstick,
                )
            )
    found += [
        Figure(f"a task that does nothing, idle, {label}", percentile(nothing, share), "ms")
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]
    return found


def _is_up(directory: Path, process: subprocess.Popen[bytes], out: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"The stack did not start:\n{out.read_text(errors='replace')[-2000:]}")
    try:
        return bool(read_runtime(directory).processes)
    except FileNotFoundError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(done: Callable[[], object], what: str, *, within_s: float = _START_S) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {within_s:.0f} s for {what}.")
        time.sleep(0.05)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=400, help="single messages of a run, at most")
    parser.add_argument("--every-ms", type=float, default=50.0, help="a single message is sent so often on average")
    parser.add_argument("--targets", type=int, default=1_000_000, help="size of the campaign")
    parser.add_argument("--runs", type=int, default=5, help="runs on the idle system; the figures are their medians'")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("latency: stopped"))  # and the stack with it, in order
    every_s = arguments.every_ms / 1000
    with stack(codes=(arguments.runs + 20) * arguments.codes, targets=arguments.targets) as found:
        first = found.send_codes(1, 0)
        print(f"the first message after the start: {first[0]:.1f} ms", flush=True)
        idle: list[list[float]] = []
        for _ in range(arguments.runs):
            idle.append(found.send_codes(arguments.codes, every_s))
            print(f"idle: p50 {percentile(idle[-1], 0.5):.1f} ms, p99 {percentile(idle[-1], 0.99):.1f} ms", flush=True)
        nothing = noop(found, tasks=arguments.codes, every_s=every_s)
        busy = campaign(found, targets=arguments.targets, most=20 * arguments.codes, every_s=every_s)
    usual = sorted(idle, key=statistics.median)[len(idle) // 2]
    publish(
        "latency",
        [Figure("the first message after the start", first[0], "ms"), *figures(usual, busy, nothing)],
        idle_ms=[round(each, 2) for each in sorted(usual)],
        campaign_ms=[round(each, 2) for each in sorted(busy)],
        noop_ms=[round(each, 2) for each in sorted(nothing)],
    )


if __name__ == "__main__":
    main()
