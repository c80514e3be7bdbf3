"""What a message to one target costs: processor time by process, one by one and in a burst, and how many a second.

    python -m benchmarks.single [--burst 3000] [--paced 200] [--runs 5] [--no-events] [--profile DIR]

The Procfile's intake, push worker of the high lane and Flower run beside PostgreSQL, Valkey and a native server that
answers as APNs does. A bare Celery client sends pushes to one device each: some one by one on an idle system (what the
processes spend without any is taken off), then a burst. The yardstick, from the same run: a burst of tasks that do
nothing, in a worker with the settings of the intake. With `--profile` py-spy (`PY_SPY` says where it is) writes what
the intake, one of its children and the push worker did in each burst.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from sqlalchemy import Engine, text

from benchmarks import push_audience
from benchmarks.figures import Figure, publish
from benchmarks.http2_client import certificate
from benchmarks.native import NativeServer, native_server
from benchmarks.processes import children, cpu_s, ours_us
from benchmarks.push_road import in_words, settings
from benchmarks.stack import SECRET, Servers, servers
from messaging.local.children import Command, ask, finish, spawn
from messaging.local.environment import flower_environment
from messaging.local.free_ports import free_ports
from messaging.local.processes import PROCESSES, Kind
from messaging.store.engine import open_engine

_ROAD = ("intake", "push-high", "flower")
_NOTHING = ("-m", "celery", "-A", "benchmarks.noop", "worker", "-Q", "benchmark.noop", "-n", "noop@%h", "-c", "2")
_QUIET = ("--without-gossip", "--without-mingle", "-l", "INFO")
_BY_NAME = {process.name: process for process in PROCESSES}
_COUNTED = ("noop", "valkey", "flower")
"""Whose time a task that does nothing takes."""
_EVERY_S = 0.04
_IDLE_S = 3.0
_FLOWER_ASKS_S = 6.0
"""It asks workers for events every five seconds."""
_WARM_UP = 300
_WITHIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What so many single messages, or tasks that do nothing, took."""

    per_s: float
    cpu_us: Mapping[str, float]
    """Processor time each, by process."""

    @property
    def total_us(self) -> float:
        """Of all processes but the provider's."""
        return ours_us(self.cpu_us)


@dataclass(frozen=True)
class Road:
    """What runs, and what a producer needs."""

    found: Servers
    native: NativeServer
    engine: Engine
    producer: Celery
    pids: Mapping[str, int]
    notes: Path
    targets: Iterator[str]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds by process."""
        pids = {**self.pids, **self.found.pids, "server": self.native.pid}
        return {name: cpu_s(pid) for name, pid in pids.items()}

    def idle(self, for_s: float) -> dict[str, float]:
        """Processor seconds that each process spends in a second without messages."""
        before = self.cpu_s()
        time.sleep(for_s)
        return {name: (s - before[name]) / for_s for name, s in self.cpu_s().items()}

    def send(self, count: int, every_s: float, idle: Mapping[str, float] | None = None) -> Cost:
        """Send single pushes, one each `every_s` (0: as fast as it goes), and wait until each is recorded."""
        requests, before, started = self.native.requests(), self.cpu_s(), time.monotonic()
        with self.producer.producer_pool.acquire(block=True) as connection:
            for number in range(count):
                self.producer.send_task(
                    "messaging.send_push",
                    queue="messaging",
                    kwargs={"title": "Your code", "body": "123456", "targets": [next(self.targets)]},
                    producer=connection,
                )
                time.sleep(max(0.0, started + (number + 1) * every_s - time.monotonic()))
        _wait(lambda: self.native.requests() - requests >= count, f"{count} requests")
        _wait(lambda: not self._open(), f"{count} messages to be recorded")
        return self._cost(count, started, before, idle)

    def send_nothing(self, count: int) -> Cost:
        """Send a burst of tasks that do nothing."""
        self.notes.write_text("")
        before, started = self.cpu_s(), time.monotonic()
        with self.producer.producer_pool.acquire(block=True) as connection:
            for _ in range(count):
                self.producer.send_task(
                    "benchmarks.noop", queue="benchmark.noop", kwargs={"sent": time.time()}, producer=connection
                )
        _wait(lambda: self.notes.read_text().count("\n") >= count, f"{count} tasks that do nothing")
        cost = self._cost(count, started, before, None)
        return Cost(per_s=cost.per_s, cpu_us={name: cost.cpu_us[name] for name in _COUNTED})

    def _cost(self, count: int, started: float, before: Mapping[str, float], idle: Mapping[str, float] | None) -> Cost:
        lasted_s = time.monotonic() - started
        after = self.cpu_s()
        cpu = {name: after[name] - s - (idle or {}).get(name, 0.0) * lasted_s for name, s in before.items()}
        return Cost(per_s=count / lasted_s, cpu_us={name: s / count * 1e6 for name, s in cpu.items()})

    def _open(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM batches WHERE state <> 2")).scalar_one())


@contextlib.contextmanager
def road(found: Servers, native: NativeServer, *, events: bool) -> Iterator[Road]:
    """The processes a single push meets, and the worker of tasks that do nothing; ended in order."""
    (port,) = free_ports(1)
    common = {
        "NODE_SUFFIX": "",
        "FLOWER_PORT": str(port),
        "MESSAGING_ENDPOINTS__APNS": native.origin,
        "MESSAGING_CA_FILE": str(native.ca_file),
        "NOOP_NOTES": str(found.directory / "noop.txt"),
        **flower_environment("benchmark", SECRET, events=events),
    }
    logs = found.directory / "logs"
    logs.mkdir(exist_ok=True)
    with contextlib.ExitStack() as ends:
        engine = open_engine(settings(found), role="benchmark")
        ends.callback(engine.dispose)
        with engine.connect() as connection:
            names = connection.execute(text("SELECT public_id FROM targets ORDER BY id")).scalars().all()
        producer = Celery(broker=found.broker_url, set_as_current=False)
        ends.callback(producer.close)
        running: dict[str, subprocess.Popen[bytes]] = {}
        for name in (*_ROAD, "noop"):
            ready = found.directory / f"{name}.ready"
            environment = found.environment(**common | {"MESSAGING_READY_FILE": str(ready)})
            argv = [sys.executable, *_NOTHING, *_QUIET] if name == "noop" else _BY_NAME[name].argv(environment)
            running[name] = spawn(Command(argv=argv, cwd=Path.cwd(), env=environment, log=logs / f"{name}.log"))
            ends.callback(finish, running[name], timeout_s=30.0)
        for process in running.values():
            ends.callback(ask, process, signal.SIGTERM)
        for name in running:
            if name == "noop" or _BY_NAME[name].kind is Kind.WORKER:
                _wait((found.directory / f"{name}.ready").exists, f"{name} to be ready")
        if events:
            time.sleep(_FLOWER_ASKS_S)
        pids = {name: process.pid for name, process in running.items()}
        yield Road(found, native, engine, producer, pids, Path(common["NOOP_NOTES"]), iter(names))


def _wait(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {_WITHIN_S:.0f} s for {what}.")
        time.sleep(0.03)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        per_s=statistics.median(cost.per_s for cost in costs),
        cpu_us={name: statistics.median(cost.cpu_us[name] for cost in costs) for name in costs[0].cpu_us},
    )


@contextlib.contextmanager
def profiled(found: Road, directory: Path | None) -> Iterator[None]:
    """Within it, py-spy (if there is a directory for its files) looks at what runs on the road's processes."""
    running: list[subprocess.Popen[bytes]] = []
    if directory is not None:
        intake = found.pids["intake"]
        places = {"intake": intake, "intake-child": children(intake)[0], "push-high": found.pids["push-high"]}
        for name, pid in places.items():
            out = directory / f"{name}.raw"
            running.append(
                subprocess.Popen(
                    [os.environ["PY_SPY"], "record", "--gil", "-r", "500", "-f", "raw", "-o", str(out), "-p", str(pid)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        time.sleep(1)
    try:
        yield
    finally:
        for each in running:
            each.send_signal(signal.SIGINT)
        for each in running:
            each.wait(20)


def figures(paced: Cost, burst: Cost, nothing: Cost) -> list[Figure]:
    """The table."""
    yardstick = f"a task that does nothing, {nothing.total_us:,.0f} us"
    found = [
        Figure(
            f"one message, {name}", cost.total_us, "us of CPU", beside=yardstick, ratio=cost.total_us / nothing.total_us
        )
        for name, cost in (("one by one", paced), ("in a burst", burst))
    ]
    for name, us in sorted(burst.cpu_us.items(), key=lambda each: -each[1]):
        found.append(Figure(f"in a burst, {name}", us, "us of CPU"))
    beside = f"tasks that do nothing, {nothing.per_s:,.0f}/s"
    found.append(Figure("a burst", burst.per_s, "messages/s", beside=beside, ratio=burst.per_s / nothing.per_s))
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--burst", type=int, default=3000, help="single messages of a burst")
    parser.add_argument("--paced", type=int, default=200, help="single messages sent one by one")
    parser.add_argument("--runs", type=int, default=5, help="the figures are the medians of so many")
    parser.add_argument("--events", action=argparse.BooleanOptionalAction, default=True, help="Flower asks for events")
    parser.add_argument("--profile", type=Path, default=None, metavar="DIR")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("single: stopped"))  # and the servers with it, in order
    with contextlib.ExitStack() as ends:
        found = ends.enter_context(servers())
        push_audience.prepare(found, "apns", _WARM_UP + arguments.runs * (arguments.burst + arguments.paced))
        native = ends.enter_context(native_server(*certificate(found.directory)))
        running = ends.enter_context(road(found, native, events=arguments.events))
        running.send(_WARM_UP, 0)
        running.send_nothing(_WARM_UP)
        time.sleep(1)
        idle = running.idle(_IDLE_S)
        print("idle, ms of CPU a second:", in_words({name: s * 1000 for name, s in idle.items()}), flush=True)
        paced, bursts, nothing = [], [], []
        for _ in range(arguments.runs):
            paced.append(running.send(arguments.paced, _EVERY_S, idle))
            print(f"one by one: {paced[-1].total_us:.0f} us: {in_words(paced[-1].cpu_us)}", flush=True)
            with profiled(running, arguments.profile):
                bursts.append(running.send(arguments.burst, 0))
            print(f"a burst: {bursts[-1].per_s:.0f}/s, {in_words(bursts[-1].cpu_us)}", flush=True)
            nothing.append(running.send_nothing(arguments.burst))
            print(f"nothing: {nothing[-1].per_s:.0f}/s, {in_words(nothing[-1].cpu_us)}", flush=True)
    publish("single", figures(middle(paced), middle(bursts), middle(nothing)), cpu_us_by_process=middle(paced).cpu_us)


if __name__ == "__main__":
    main()
