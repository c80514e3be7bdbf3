"""The road of a push, as the benchmarks of it share it: its processes as the Procfile starts them, and one campaign.

with servers() as found, native_server(...) as native, road(found, native) as running:
running.send("bench", 100_000)
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from sqlalchemy import Engine, text

from benchmarks import http2_client
from benchmarks.native import NativeServer
from benchmarks.processes import children, cpu_s, ours_us, rss_mb
from benchmarks.stack import SECRET, Servers
from messaging.local.children import Command, ask, finish, spawn
from messaging.local.environment import flower_environment
from messaging.local.free_ports import free_ports
from messaging.local.processes import PROCESSES, Kind
from messaging.settings import Settings
from messaging.store.engine import open_engine
from workers.providers.http2 import Http2Client

TITLE, BODY = "Order 17", "Ready at 18:00"
BARE_REQUESTS = 30_000
_IN_FLIGHT = 500
_LOOK_S = 0.1
_LOOK_FOR_THE_FIRST_S = 0.015
_LOOKS_TO_SPARE = 2_000_000
"""Deliveries of a campaign for each second between two looks at its batches: looking is to cost nearly nothing."""
_START_S = 120.0
_SLOWEST_PER_S = 300
_NAMES = ("intake", "fanout", "push", "beat", "flower")
_BY_NAME = {process.name: process for process in PROCESSES}
_SHAPES = {"apns": http2_client.apns, "fcm": http2_client.fcm}


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What one message to a topic took."""

    targets: int
    wall_s: float
    """From the producer's send to the last row settled."""
    first_s: float
    """From the send to the first request at the provider."""
    expanded_s: float
    """From the send to the last page of the topic."""
    steady_per_s: float
    """Deliveries a second between the first and the last tenth."""
    cpu_us: Mapping[str, float]
    """Processor time per delivery by the Procfile's names, push workers together; and the provider's, as `server`."""

    @property
    def per_s(self) -> float:
        """Deliveries a second from the send to the last row."""
        return self.targets / self.wall_s

    @property
    def ours_us(self) -> float:
        """Processor time per delivery of every process but the provider's."""
        return ours_us(self.cpu_us)


@dataclass(frozen=True)
class Road:
    """A road that runs."""

    found: Servers
    native: NativeServer
    engine: Engine
    producer: Celery
    pids: Mapping[str, int]
    """By name; further push workers are `push2`, `push3`, …"""

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds so far, named as in `Campaign.cpu_us`."""
        spent: dict[str, float] = {}
        for name, pid in {**self.pids, **self.found.pids, "server": self.native.pid}.items():
            kind = name.rstrip("0123456789")
            spent[kind] = spent.get(kind, 0.0) + cpu_s(pid)
        return spent

    def push_rss_mb(self) -> float:
        """Memory of the largest push worker."""
        return max(rss_mb(pid) for name, pid in self.pids.items() if name.startswith("push"))

    def fanout_rss_mb(self) -> float:
        """Memory of the largest process of the fan-out worker's pool, which does the work."""
        return max(rss_mb(pid) for pid in children(self.pids["fanout"]))

    def send(self, topic: str, targets: int) -> Campaign:
        """Send one push to the topic of so many targets, from a bare Celery client to the last row.

        Raises `TimeoutError` where it does not end, `RuntimeError` where a row was not accepted.
        """
        requests, before = self.native.requests(), self.cpu_s()
        started = time.perf_counter()
        message = self.producer.send_task(
            "messaging.send_push", queue="messaging", kwargs={"title": TITLE, "body": BODY, "topics": [topic]}
        ).id
        within_s = targets / _SLOWEST_PER_S + 60
        _wait(lambda: self.native.requests() > requests, "the first request", within_s, _LOOK_FOR_THE_FIRST_S)
        first_s = time.perf_counter() - started
        expanded_s, looked_s, every_s = 0.0, 0.0, max(_LOOK_S, targets / _LOOKS_TO_SPARE)
        seen = [(0.0, 0)]
        while seen[-1][1] < targets:
            now_s = time.perf_counter() - started
            if now_s > within_s:
                raise TimeoutError(f"Only {seen[-1][1]:,} of {targets:,} were settled within {within_s:.0f} s.")
            if not expanded_s and self._is_expanded(message):
                expanded_s = now_s
            if now_s - looked_s >= every_s:
                settled = self._settled(message)
                looked_s = time.perf_counter() - started
                seen.append((looked_s, settled))
            time.sleep(_LOOK_S / 2)
        wall_s = seen[-1][0]
        spent = {name: s - before[name] for name, s in self.cpu_s().items()}
        self._check(message, targets)
        return Campaign(
            targets=targets,
            wall_s=wall_s,
            first_s=first_s,
            expanded_s=expanded_s or wall_s,
            steady_per_s=steady_per_s(seen, targets),
            cpu_us={name: s / targets * 1e6 for name, s in spent.items()},
        )

    def _is_expanded(self, message: str) -> bool:
        return bool(self._ask("SELECT expanded FROM messages WHERE public_id = :id", message))

    def _settled(self, message: str) -> int:
        counted = "b.accepted + b.delivered + b.failed + b.unknown + b.expired + b.cancelled + b.suppressed"
        return int(
            self._ask(
                f"""SELECT coalesce(sum({counted}), 0) FROM messages m
                      JOIN batches b ON b.month = m.month AND b.message_id = m.id WHERE m.public_id = :id""",
                message,
            )
            or 0
        )

    def _check(self, message: str, targets: int) -> None:
        accepted = self._ask(
            """SELECT count(*) FROM messages m JOIN deliveries d ON d.month = m.month AND d.message_id = m.id
                WHERE m.public_id = :id AND d.accepted_at IS NOT NULL""",
            message,
        )
        if accepted != targets:
            raise RuntimeError(f"{accepted} of {targets} were accepted; the logs in {self.found.directory} say why.")

    def _ask(self, question: str, message: str) -> int | None:
        with self.engine.connect() as connection:
            answer: int | None = connection.execute(text(question), {"id": message}).scalar_one_or_none()
        return answer


@contextlib.contextmanager
def road(found: Servers, native: NativeServer, *, push_workers: int = 2) -> Iterator[Road]:
    """The Procfile's processes for bulk pushes, and Flower, with so many push workers; ended in order."""
    (port,) = free_ports(1)
    common = {
        "NODE_SUFFIX": "",
        "FLOWER_PORT": str(port),
        "MESSAGING_BEAT_FILE": str(found.directory / "beat"),
        "MESSAGING_ENDPOINTS__APNS": native.origin,
        "MESSAGING_ENDPOINTS__FCM": native.origin,
        "MESSAGING_ENDPOINTS__FCM_TOKEN": f"{native.origin}/token",
        "MESSAGING_CA_FILE": str(native.ca_file),
        # as `messaging up` starts it; the Procfile's workers send no events
        **flower_environment("benchmark", SECRET, events=False),
    }
    names = [*_NAMES, *(f"push{number}" for number in range(2, push_workers + 1))]
    logs = found.directory / "logs"
    logs.mkdir(exist_ok=True)
    with contextlib.ExitStack() as ends:
        engine = open_engine(settings(found), role="benchmark")
        ends.callback(engine.dispose)
        producer = Celery(broker=found.broker_url, set_as_current=False)
        ends.callback(producer.close)
        running = {}
        for name in names:
            process = _BY_NAME[name.rstrip("0123456789")]
            ready = found.directory / f"{name}.ready"
            ready.unlink(missing_ok=True)
            suffix = name.removeprefix(process.name)
            environment = found.environment(**common | {"NODE_SUFFIX": suffix, "MESSAGING_READY_FILE": str(ready)})
            running[name] = spawn(
                Command(argv=process.argv(environment), cwd=found.directory, env=environment, log=logs / f"{name}.log")
            )
            ends.callback(finish, running[name], timeout_s=30.0)
        for process_ in running.values():
            ends.callback(ask, process_, signal.SIGTERM)
        for name in names:
            if _BY_NAME[name.rstrip("0123456789")].kind is Kind.WORKER:
                _wait((found.directory / f"{name}.ready").exists, f"{name} to be ready")
        _wait(lambda: _listens(port), "Flower to listen")
        yield Road(found, native, engine, producer, {name: process_.pid for name, process_ in running.items()})


def settings(found: Servers) -> Settings:
    """Those of a worker."""
    return Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)


def steady_per_s(seen: Sequence[tuple[float, int]], targets: int) -> float:
    """Settled a second between the looks after the first and the last tenth; over all where it went by too fast."""
    first = next(at for at, (_, settled) in enumerate(seen) if settled >= targets * 0.1)
    last = next(at for at, (_, settled) in enumerate(seen) if settled >= targets * 0.9)
    (began, had), (ended, has) = seen[0 if first == last else first], seen[last]
    return (has - had) / (ended - began)


def bare_client(origin: str, ca_file: Path, kind: str, requests: int = BARE_REQUESTS) -> http2_client.Result:
    """The yardstick: our HTTP/2 client alone, one connection, nothing but requests and answers."""

    async def measure() -> http2_client.Result:
        context = ssl.create_default_context(cafile=str(ca_file))
        client = Http2Client(origin, ssl_context=context)

        async def post(path: str, headers: list[tuple[str, str]], body: bytes) -> int:
            return (await client.request("POST", path, headers, body)).status

        await http2_client.run(post, _SHAPES[kind], min(2000, requests), _IN_FLIGHT)
        result = await http2_client.run(post, _SHAPES[kind], requests, _IN_FLIGHT)
        await client.aclose()
        return result

    return asyncio.run(measure())


def middle_cpu_us(campaigns: Sequence[Campaign]) -> dict[str, float]:
    """The median of each process."""
    return {name: statistics.median(each.cpu_us[name] for each in campaigns) for name in campaigns[0].cpu_us}


def in_words(cpu_us: Mapping[str, float]) -> str:
    """Processor time by process, the largest first: "push 81, postgres 20.5, …"."""
    ordered = sorted(cpu_us.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {us:.0f}" if us >= 10 else f"{name} {us:.1f}" for name, us in ordered)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(done: Callable[[], object], what: str, within_s: float = _START_S, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {within_s:.0f} s for {what}.")
        time.sleep(every_s)
