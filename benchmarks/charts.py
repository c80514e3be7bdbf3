"""The pictures of `benchmarks/charts/`, of whatever series the results hold (`benchmarks/figures.py` names them)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import svg

_CURVE_POINTS = 200
_LEAST_MS = 0.1  # the axis is logarithmic

THROUGHPUT = "throughput_by_recipients"
LATENCIES = {"idle_ms": "idle", "campaign_ms": "during a campaign", "noop_ms": "a Celery task that does nothing, idle"}
RATES = "rates_by_client"


def pictures(series: Mapping[str, Any]) -> dict[str, str]:
    """SVG by file name; only of the series that are there and hold something."""
    found = {}
    if series.get(THROUGHPUT):
        points = [(float(recipients), float(rate)) for recipients, rate in series[THROUGHPUT]]
        found["throughput.svg"] = svg.lines(
            "Deliveries a second, end to end, by recipients of the message",
            "recipients",
            "deliveries a second",
            {"push, two worker processes": sorted(points)},
            dots=True,
        )
    curves = {label: shares(series[name]) for name, label in LATENCIES.items() if series.get(name)}
    if curves:
        found["latency.svg"] = svg.lines(
            "One message to one target: share that reached the provider within",
            "milliseconds from the send",
            "% of the messages",
            curves,
            y_most=100,
        )
    if series.get(RATES):
        rows = sorted(((str(name), float(rate)) for name, rate in series[RATES]), key=lambda row: -row[1])
        found["peers.svg"] = svg.bars(
            "HTTP/2 clients beside each other, one process each", "requests a second", rows, ours="ours"
        )
    return found


def shares(samples: Sequence[float]) -> list[tuple[float, float]]:
    """Per cent of the samples at or below each value, rising."""
    rising = sorted(samples)
    nth = max(1, len(rising) // _CURVE_POINTS)
    at = sorted({*range(0, len(rising), nth), len(rising) - 1})
    return [(max(rising[each], _LEAST_MS), 100 * (each + 1) / len(rising)) for each in at]
