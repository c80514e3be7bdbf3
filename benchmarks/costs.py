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


# before the road was made faster; one process by the rates it had: SendGrid 14,500 recipients a second, Twilio 627
MEASURED = Costs(worker_us={Channel.PUSH: 122.0, Channel.EMAIL: 69.0, Channel.SMS: 1595.0})
_SERIES = "cpu_us_by_process"


def measured(results: Path = RESULTS) -> Costs:
    """The costs of the last `make bench`; `MEASURED` for what it has not measured.

    Messages to one are counted as in a burst: that is when one needs the processes.
    """
    many, kept = _by_process(results / "end_to_end.json"), _figures(results)
    worker_us = {
        Channel.PUSH: many.get("push"),
        Channel.EMAIL: kept.get("SendGrid, email"),
        Channel.SMS: kept.get("Twilio, sms"),
    }
    named = {
        "fanout_us": many.get("fanout"),
        "postgres_us": many.get("postgres"),
        "broker_us": many.get("valkey"),
        "single_worker_us": kept.get("in a burst, push-high"),
        "single_intake_us": kept.get("in a burst, intake"),
        "single_postgres_us": kept.get("in a burst, postgres"),
        "single_broker_us": kept.get("in a burst, valkey"),
        "ledger_bytes": kept.get("ledger, as over FCM, disk a delivery"),
        "wal_bytes": kept.get("ledger, as over FCM, written ahead a delivery"),
    }
    return replace(
        MEASURED,
        worker_us={**MEASURED.worker_us, **{channel: us for channel, us in worker_us.items() if us is not None}},
        **{name: value for name, value in named.items() if value is not None},
    )


def _figures(results: Path) -> dict[str, float]:
    """What the benchmarks of single messages, providers and the ledger found, by name."""
    found: dict[str, float] = {}
    for name in ("single", "providers", "ledger"):
        path = results / f"{name}.json"
        if path.exists():
            figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
            found |= {figure["what"]: float(figure["value"]) for figure in figures}
    return found


def _by_process(path: Path) -> dict[str, float]:
    """Microseconds by the kind of process; several of a kind are numbered (push0, push1) and added up."""
    found: dict[str, float] = {}
    if path.exists():
        series = json.loads(path.read_text(encoding="utf-8"))["series"]
        for name, us in series.get(_SERIES, {}).items():
            kind = name.rstrip("0123456789")
            found[kind] = found.get(kind, 0.0) + float(us)
    return found
