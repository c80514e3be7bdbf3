"""Push end to end over APNs and FCM, beside the bare HTTP/2 client in the same run.

    python -m benchmarks.end_to_end [--targets 100000] [--runs 5] [--ways apns fcm fcm-quota]

A bare Celery client sends one push to a topic; intake, fan-out, two push workers, beat and Flower as the Procfile
starts them, PostgreSQL (durable) and Valkey do the rest, against HAProxy, which answers as the provider does. The bare
client is measured against the same server right before and after each run, since a machine changes its pace.

FCM lets a project send 10,000 a second by default, and the road keeps to it: `fcm-quota` says how well it fills that,
`fcm` what the road does where Google allows more.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure, publish
from benchmarks.http2_client import certificate
from benchmarks.native import native_server
from benchmarks.push_audience import limit, prepare, topic
from benchmarks.push_road import BARE_REQUESTS, Campaign, Road, bare_client, in_words, middle_cpu_us, road
from benchmarks.stack import servers

GOAL_PER_S = 10_000
GOAL_US = 45.0
_WARM = 5_000
_RAISED_PER_S = 100_000.0


@dataclass(frozen=True)
class Way:
    """What is sent over, and how much the account allows."""

    kind: str
    shown: str
    per_second: float | None


WAYS = {
    "apns": Way("apns", "APNs", None),
    "fcm": Way("fcm", "FCM, quota raised", _RAISED_PER_S),
    "fcm-quota": Way("fcm", "FCM, default quota", None),
}


@dataclass(frozen=True)
class Run:
    """One campaign, and the bare client around it."""

    campaign: Campaign
    bare_per_s: float
    bare_us: float


def measure(running: Road, way: Way, *, targets: int, runs: int) -> list[Run]:
    """So many campaigns this way, after a small one that nobody counts."""
    kind = way.kind
    running.send(f"{kind}-warm", min(targets, _WARM))
    found, requests = [], min(BARE_REQUESTS, targets)
    for number in range(runs):
        before = bare_client(running.native.origin, running.native.ca_file, kind, requests)
        campaign = running.send(kind, targets)
        after = bare_client(running.native.origin, running.native.ca_file, kind, requests)
        run = Run(campaign, (before.requests_per_s + after.requests_per_s) / 2, (before.cpu_us + after.cpu_us) / 2)
        found.append(run)
        print(
            f"{way.shown} {number + 1}: {campaign.per_s:,.0f}/s, steady {campaign.steady_per_s:,.0f}/s,"
            f" bare {before.requests_per_s:,.0f} and {after.requests_per_s:,.0f}/s;"
            f" us: {campaign.ours_us:.1f} of which bare {before.cpu_us:.1f} and {after.cpu_us:.1f};"
            f" {in_words(campaign.cpu_us)}",
            flush=True,
        )
    return found


def figures(way: Way, runs: Sequence[Run]) -> list[Figure]:
    """The table's lines about one way."""

    def middle(of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in runs)

    name = f"push over {way.shown}, end to end"
    bare, bare_us = middle(lambda run: run.bare_per_s), middle(lambda run: run.bare_us)
    per_s, beyond = middle(lambda run: run.campaign.per_s), middle(lambda run: run.campaign.ours_us - run.bare_us)
    return [
        Figure(
            name,
            per_s,
            "deliveries/s",
            goal=f"{GOAL_PER_S:,}",
            met=per_s >= GOAL_PER_S,
            beside=f"the bare client {bare:,.0f}/s",
            ratio=middle(lambda run: run.campaign.per_s / run.bare_per_s),
        ),
        Figure(
            f"{name}, between the first and the last tenth",
            middle(lambda run: run.campaign.steady_per_s),
            "deliveries/s",
            beside=f"the bare client {bare:,.0f}/s",
            ratio=middle(lambda run: run.campaign.steady_per_s / run.bare_per_s),
        ),
        Figure(
            f"{name}, CPU beyond the bare client",
            beyond,
            "us",
            goal=f"at most {GOAL_US:g}",
            met=beyond <= GOAL_US,
            beside=f"the bare client {bare_us:.1f} us",
            ratio=middle(lambda run: (run.campaign.ours_us - run.bare_us) / run.bare_us),
        ),
        Figure(
            f"{name}, CPU of all processes but the provider's",
            middle(lambda run: run.campaign.ours_us),
            "us",
            beside=in_words(middle_cpu_us([run.campaign for run in runs])),
        ),
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    measured: dict[str, list[Run]] = {}
    with servers() as found:
        identity = certificate(found.directory)
        for kind in dict.fromkeys(WAYS[name].kind for name in arguments.ways):
            prepare(found, kind, arguments.targets)
            topic(found, kind, kind, arguments.targets)
            topic(found, f"{kind}-warm", kind, min(arguments.targets, _WARM))
        for name in arguments.ways:  # processes of its own for each, none with another's connections
            limit(found, WAYS[name].kind, WAYS[name].per_second)
            with native_server(*identity) as native, road(found, native) as running:
                measured[name] = measure(running, WAYS[name], targets=arguments.targets, runs=arguments.runs)
    by_process = {name: middle_cpu_us([run.campaign for run in runs]) for name, runs in measured.items()}
    publish(
        "end_to_end",
        [figure for name, runs in measured.items() for figure in figures(WAYS[name], runs)],
        cpu_us_by_process=by_process[arguments.ways[0]],
        cpu_us_by_process_and_way=by_process,
    )


if __name__ == "__main__":
    main()
