"""What a message costs and how fast it is as its topic grows: rate, start, memory; and fan-out alone.

    python -m benchmarks.campaigns [--targets 1000000] [--runs 5] [--largest]

Pushes over APNs to topics of a hundredth, a tenth and all of `--targets` (and five times as many with `--largest`),
through the road as the Procfile starts it with two push workers. The larger a topic, the fewer its runs: the largest
two are sent three times and once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis
from sqlalchemy import text

from benchmarks.figures import Figure, publish
from benchmarks.http2_client import Result, certificate
from benchmarks.native import native_server
from benchmarks.push_audience import prepare, topic
from benchmarks.push_road import (
    BARE_REQUESTS,
    BODY,
    TITLE,
    Campaign,
    Road,
    bare_client,
    in_words,
    middle_cpu_us,
    road,
    settings,
)
from benchmarks.stack import SECRET, Servers, servers
from messaging.message import Push
from messaging.producer import accept
from messaging.publish import Publisher
from messaging.send_request import SendRequest
from messaging.store.engine import open_engine
from messaging.vault import Vault
from workers import fanout

MILLION = 1_000_000
_FURTHER = 5
_SLACK_MB = 20.0
_MOST_MB = 150.0
_SPREAD = 1.15
_RUNS_OF_LARGE = 3


@dataclass(frozen=True)
class Expansion:
    """Fan-out alone, nobody delivering."""

    rows_per_s: float
    copied_per_s: float
    """The yardstick: the same rows, copied by one statement into a table with the same index."""


@dataclass
class Size:
    """The campaigns of one size, and the bare client before and after them."""

    targets: int
    campaigns: list[Campaign] = field(default_factory=list)
    bare: list[Result] = field(default_factory=list)

    def middle(self, of: Callable[[Campaign], float]) -> float:
        """The median over the campaigns."""
        return statistics.median(of(each) for each in self.campaigns)

    @property
    def cpu_us(self) -> float:
        """Processor time per recipient of all processes but the provider's."""
        return self.middle(lambda each: each.ours_us)


@dataclass
class Memory:
    """Megabytes in use by the largest process of its kind."""

    fanout_small: float = 0.0
    fanout_large: float = 0.0
    push: list[float] = field(default_factory=list)
    """Push workers after the million, and after each further fifth of it."""


def expansion(found: Servers, name: str, rows: int) -> Expansion:
    """Ledger rows a second that fan-out inserts; the ledger is empty before and after."""
    used = settings(found)
    engine, vault, publisher = open_engine(used, role="benchmark"), Vault(SECRET), Publisher(used)
    with engine.begin() as connection:
        project = connection.execute(text("SELECT id FROM projects")).scalar_one()
        request = SendRequest(content=Push(title=TITLE, body=BODY), topics=(name,))
        message = accept(connection, vault, used, project, request).message_id
    assert message is not None
    started = time.perf_counter()
    while "complete" not in fanout.expand(engine, used, publisher, message):
        pass
    wall_s = time.perf_counter() - started
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE copied (LIKE deliveries INCLUDING ALL)"))
    started = time.perf_counter()
    with engine.begin() as connection:
        copied = connection.execute(text("INSERT INTO copied SELECT * FROM deliveries ORDER BY target_id")).rowcount
    copied_s = time.perf_counter() - started
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE copied"))
        connection.execute(text("TRUNCATE deliveries, batches, messages CASCADE"))
    if copied != rows:
        raise RuntimeError(f"Fan-out wrote {copied} rows for {rows} targets.")
    with redis.Redis.from_url(found.broker_url) as broker:
        broker.flushall()
    publisher.close()
    engine.dispose()
    return Expansion(rows / wall_s, rows / copied_s)


def send_all(running: Road, sizes: Sequence[Size], *, million: int, runs: int, memory: Memory) -> None:
    """Every campaign of every size, the small ones first; memory is noted on the way."""
    for size in sizes:
        times = runs if size.targets < million else min(runs, _RUNS_OF_LARGE if size.targets == million else 1)
        size.bare.append(bare_client(running.native.origin, running.native.ca_file, "apns", BARE_REQUESTS))
        for _ in range(times):
            campaign = running.send(f"of-{size.targets}", size.targets)
            size.campaigns.append(campaign)
            print(
                f"{size.targets:,}: {campaign.wall_s:.1f} s, {campaign.per_s:,.0f}/s, first request after"
                f" {campaign.first_s * 1000:.0f} ms, expanded after {campaign.expanded_s:.1f} s;"
                f" {campaign.ours_us:.1f} us: {in_words(campaign.cpu_us)}; fan-out {running.fanout_rss_mb():.0f} MB,"
                f" push {running.push_rss_mb():.0f} MB",
                flush=True,
            )
        size.bare.append(bare_client(running.native.origin, running.native.ca_file, "apns", BARE_REQUESTS))
        if size is sizes[0]:
            memory.fanout_small = running.fanout_rss_mb()
        if size.targets == million:
            memory.fanout_large = running.fanout_rss_mb()
            memory.push.append(running.push_rss_mb())
            for _ in range(_FURTHER):
                running.send("further", million // _FURTHER)
                memory.push.append(running.push_rss_mb())


def of_size(size: Size) -> list[Figure]:
    """The lines about one size."""
    wall, first, expanded = (
        size.middle(lambda each: each.wall_s),
        size.middle(lambda each: each.first_s * 1000),
        size.middle(lambda each: each.expanded_s),
    )
    bare = statistics.mean(result.requests_per_s for result in size.bare)
    is_million = size.targets == MILLION
    return [
        Figure(
            f"push to {size.targets:,}, from the send to the last row",
            wall,
            "s",
            goal="under 120" if is_million else "",
            met=wall < 120 if is_million else None,
            beside=f"{size.targets / wall:,.0f}/s, the bare client {bare:,.0f}/s",
            ratio=size.targets / wall / bare,
        ),
        Figure(
            f"push to {size.targets:,}, to the first request at the provider",
            first,
            "ms",
            goal="within 300" if size.targets <= MILLION else "",
            met=first <= 300 if size.targets <= MILLION else None,
            beside=f"to the last {wall * 1000:,.0f} ms",
        ),
        Figure(
            f"push to {size.targets:,}, until the topic is expanded",
            expanded,
            "s",
            goal="within 12" if is_million else "",
            met=expanded <= 12 if is_million else None,
            beside=f"{size.targets / expanded:,.0f} rows/s while it is being sent",
        ),
        Figure(
            f"push to {size.targets:,}, CPU per recipient",
            size.cpu_us,
            "us",
            beside=f"{in_words(middle_cpu_us(size.campaigns))}; the bare client"
            f" {statistics.mean(result.cpu_us for result in size.bare):.1f}",
        ),
    ]


def figures(sizes: Sequence[Size], expansions: Sequence[Expansion], memory: Memory) -> list[Figure]:
    """The whole table."""
    large = sizes[1:]
    spread = max(size.cpu_us for size in large) / min(size.cpu_us for size in large)
    rows = statistics.median(each.rows_per_s for each in expansions)
    copied = statistics.median(each.copied_per_s for each in expansions)
    grown, most = abs(memory.fanout_large - memory.fanout_small), max(memory.push)
    unlike = max(memory.push) - memory.push[0]
    return [
        *(figure for size in sizes for figure in of_size(size)),
        Figure(
            f"CPU per recipient, dearest over cheapest of {', '.join(f'{size.targets:,}' for size in large)}",
            spread,
            "times",
            goal="within 15 %",
            met=spread <= _SPREAD,
            beside=", ".join(f"{size.cpu_us:.1f} us" for size in large),
        ),
        Figure(
            "fan-out alone",
            rows,
            "rows/s",
            goal="100,000",
            met=rows >= 100_000,
            beside=f"one statement that copies the rows {copied:,.0f}/s",
            ratio=statistics.median(each.rows_per_s / each.copied_per_s for each in expansions),
        ),
        Figure(
            f"fan-out worker, memory gained from {sizes[0].targets:,} targets on",
            grown,
            "MB",
            goal=f"within {_SLACK_MB:g}",
            met=grown <= _SLACK_MB,
            beside=f"{memory.fanout_small:.0f} MB, then {memory.fanout_large:.0f} MB",
        ),
        Figure(
            "push worker, most memory",
            most,
            "MB",
            goal=f"under {_MOST_MB:g}",
            met=most < _MOST_MB,
            beside=f"after a million and further fifths: {', '.join(f'{each:.0f}' for each in memory.push)}",
        ),
        Figure(
            "push worker, memory gained by a million more",
            unlike,
            "MB",
            goal=f"flat: within {_SLACK_MB:g}",
            met=unlike <= _SLACK_MB,
        ),
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=MILLION)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--largest", action="store_true", help="five times as many as well: half an hour more")
    arguments = parser.parse_args()
    million = arguments.targets
    counts = [million // 100, million // 10, million, *([5 * million] if arguments.largest else [])]
    sizes, memory = [Size(count) for count in counts], Memory()
    with servers() as found:
        prepare(found, "apns", counts[-1])
        for count in counts:
            topic(found, f"of-{count}", "apns", count)
        topic(found, "further", "apns", million // _FURTHER)
        expansions = [expansion(found, f"of-{million}", million) for _ in range(arguments.runs)]
        rates = ", ".join(f"{each.rows_per_s:,.0f}" for each in expansions)
        print(f"fan-out alone: {rates} rows/s; copied {expansions[-1].copied_per_s:,.0f}/s", flush=True)
        with native_server(*certificate(found.directory)) as native, road(found, native) as running:
            send_all(running, sizes, million=million, runs=arguments.runs, memory=memory)
    publish(
        "campaigns",
        figures(sizes, expansions, memory),
        throughput_by_recipients=[(size.targets, size.middle(lambda each: each.per_s)) for size in sizes],
        cpu_us_by_recipients=[(size.targets, middle_cpu_us(size.campaigns)) for size in sizes],
        push_rss_mb=memory.push,
    )


if __name__ == "__main__":
    main()
