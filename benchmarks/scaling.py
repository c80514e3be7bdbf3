"""What a delivery costs with one, two and four push workers: cores limit the rate, and must not change the cost.

    python -m benchmarks.scaling [--targets 200000] [--runs 3] [--workers 1 2 4]

The road as the Procfile starts it, over APNs; each run sends once with each number of workers, so that a machine that
changes its pace does so for all of them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.figures import Figure, publish
from benchmarks.http2_client import certificate
from benchmarks.native import native_server
from benchmarks.push_audience import prepare, topic
from benchmarks.push_road import BARE_REQUESTS, Campaign, bare_client, in_words, middle_cpu_us, road
from benchmarks.stack import servers

_SPREAD = 1.10
_WARM = 5_000


def figures(measured: Mapping[int, Sequence[Campaign]], bare_us: float, bare_per_s: float) -> list[Figure]:
    """A line for each number of workers, and how much they differ."""
    found = []
    middle: dict[str, dict[int, float]] = {"push workers together": {}, "all processes": {}}
    of: dict[str, Callable[[Campaign], float]] = {
        "push workers together": lambda each: each.cpu_us["push"],
        "all processes": lambda each: each.ours_us,
    }
    for workers, campaigns in measured.items():
        for what, cost in of.items():
            middle[what][workers] = statistics.median(cost(each) for each in campaigns)
        per_s = statistics.median(each.steady_per_s for each in campaigns)
        found += [
            Figure(
                f"CPU a delivery, {workers} push worker(s)",
                middle["all processes"][workers],
                "us",
                beside=f"{in_words(middle_cpu_us(campaigns))}; the bare client {bare_us:.1f}",
            ),
            Figure(
                f"push, {workers} push worker(s), steady",
                per_s,
                "deliveries/s",
                beside=f"the bare client {bare_per_s:,.0f}/s",
                ratio=per_s / bare_per_s,
            ),
        ]
    for what, each in middle.items():
        spread = max(each.values()) / min(each.values())
        counts = ", ".join(str(workers) for workers in each)
        found.append(
            Figure(
                f"CPU a delivery, {what}, dearest over cheapest of {counts} workers",
                spread,
                "times",
                goal="within 10 %",
                met=spread <= _SPREAD,
                beside=", ".join(f"{us:.1f} us" for us in each.values()),
            )
        )
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    measured: dict[int, list[Campaign]] = {workers: [] for workers in arguments.workers}
    bare = []
    with servers() as found:
        prepare(found, "apns", arguments.targets)
        topic(found, "all", "apns", arguments.targets)
        topic(found, "warm", "apns", min(arguments.targets, _WARM))
        with native_server(*certificate(found.directory)) as native:
            for _ in range(arguments.runs):
                bare.append(bare_client(native.origin, native.ca_file, "apns", min(BARE_REQUESTS, arguments.targets)))
                for workers, campaigns in measured.items():
                    with road(found, native, push_workers=workers) as running:
                        running.send("warm", min(arguments.targets, _WARM))
                        campaign = running.send("all", arguments.targets)
                    campaigns.append(campaign)
                    print(
                        f"{workers} push worker(s): steady {campaign.steady_per_s:,.0f}/s, {campaign.ours_us:.1f} us:"
                        f" {in_words(campaign.cpu_us)}; bare {bare[-1].requests_per_s:,.0f}/s, {bare[-1].cpu_us:.1f}",
                        flush=True,
                    )
    bare_us = statistics.median(result.cpu_us for result in bare)
    bare_per_s = statistics.median(result.requests_per_s for result in bare)
    publish(
        "scaling",
        figures(measured, bare_us, bare_per_s),
        cpu_us_by_workers=[(workers, middle_cpu_us(campaigns)) for workers, campaigns in measured.items()],
    )


if __name__ == "__main__":
    main()
