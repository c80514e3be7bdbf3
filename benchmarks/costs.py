"""What one delivery costs, measured: processor time by part of the road, bytes on disk and on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import RESULTS
from messaging.channel import Channel


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Microseconds of one core, and bytes, per delivery.

    The defaults were measured in November 2026 on two busy cores, before the road was made faster: `make bench` has
    newer ones.
    """

    worker_us: Mapping[Channel, float]
    """A bulk worker's process, everything in it: lease, claim, send, record."""
    fanout_us: float = 5.0
    postgres_us: float = 28.0
    broker_us: float = 2.3
    """The broker's server, at 1,000 deliveries a task."""
    single_worker_us: float = 8000.0
    """A worker of the high lane, for a message to one target: a Celery task and a batch of its own."""
    single_intake_us: float = 5300.0
    """Accepting it over Celery; the API takes a quarter of that."""
    single_postgres_us: float = 6200.0
    single_broker_us: float = 820.0
    ledger_bytes: float = 290.0
    """On disk, indexes included, of a message to many; the rows of a message and of a batch vanish in it."""
    wal_bytes: float = 500.0
    """Written ahead, which is also what a replica is sent."""
    single_wal_bytes: float = 4550.0
    request_bytes: float = 420.0
    """To the provider and back, TLS included."""


# one process by the rates of `benchmarks.providers`: SendGrid 14,500 recipients a second, Twilio 627
MEASURED = Costs(worker_us={Channel.PUSH: 122.0, Channel.EMAIL: 69.0, Channel.SMS: 1595.0})
_CAMPAIGN, _SINGLE = "end_to_end", "latency"
_SERIES = "cpu_us_by_process"


def measured(results: Path = RESULTS) -> Costs:
    """The costs of the last `make bench`; `MEASURED` for what it has not measured."""
    many, one = _by_process(results / f"{_CAMPAIGN}.json"), _by_process(results / f"{_SINGLE}.json")
    push = many.get("push", MEASURED.worker_us[Channel.PUSH])
    return replace(
        MEASURED,
        worker_us={**MEASURED.worker_us, Channel.PUSH: push},
        fanout_us=many.get("fanout", MEASURED.fanout_us),
        postgres_us=many.get("postgres", MEASURED.postgres_us),
        broker_us=many.get("valkey", MEASURED.broker_us),
        single_worker_us=one.get("push-high", MEASURED.single_worker_us),
        single_intake_us=one.get("intake", MEASURED.single_intake_us),
        single_postgres_us=one.get("postgres", MEASURED.single_postgres_us),
        single_broker_us=one.get("valkey", MEASURED.single_broker_us),
    )


def _by_process(path: Path) -> dict[str, float]:
    """Microseconds by the kind of process; several of a kind are numbered (push0, push1) and added up."""
    found: dict[str, float] = {}
    if path.exists():
        series = json.loads(path.read_text(encoding="utf-8"))["series"]
        for name, us in series.get(_SERIES, {}).items():
            kind = name.rstrip("0123456789")
            found[kind] = found.get(kind, 0.0) + float(us)
    return found
