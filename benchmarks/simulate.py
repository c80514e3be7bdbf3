"""From the measured cost of a delivery to what a number of deliveries a day needs, and a day of it, simulated.

    python -m benchmarks.simulate                                     the table of docs/explanation/scale.md
    python -m benchmarks.simulate --per-day 50_000_000 --peak 6       one row of it, in words, with a simulated day

The costs are those of `benchmarks/results/` where `make bench` has run, else the ones in `benchmarks/costs.py`.
Nothing is measured here: what does not grow in a straight line with the deliveries, this cannot see.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import simulated_day
from benchmarks.costs import Costs, measured
from benchmarks.simulated_day import Day, Shape
from messaging.channel import Channel

DAY_S = 86_400
DAYS_SHOWN = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
# https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas: 600,000 messages a minute and project
FCM_PER_S = 10_000
# a connection carries as many requests per round trip as the server allows streams
APNS_STREAMS, APNS_ROUND_TRIP_S = 1000, 0.06
TASK_ROWS = 1000
_MONTH_DAYS = 30
# a process, a server is planned to be this busy at the peak: the rest is for what arrives unevenly
WORKERS_BUSY, SERVERS_BUSY = 0.7, 0.5


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is to be delivered."""

    per_day: int
    peak: float = 5.0
    """The busiest second over the mean one."""
    push: float = 0.70
    email: float = 0.25
    sms: float = 0.05
    fcm: float = 0.6
    """Share of the pushes that go to FCM; the others go to APNs."""
    codes: float = 0.10
    """Share of all deliveries that are messages to one target, which pay for a task, a batch and a message each."""
    retention_days: int = 90

    @classmethod
    def of_a_day(cls, per_day: int) -> Demand:
        """So many a day, otherwise as above."""
        return cls(per_day=per_day)

    @property
    def peak_per_s(self) -> float:
        """Deliveries in the busiest second."""
        return self.per_day / DAY_S * self.peak

    def share(self, channel: Channel) -> float:
        """Of the deliveries, by this channel."""
        return {Channel.PUSH: self.push, Channel.EMAIL: self.email, Channel.SMS: self.sms}[channel]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What it takes at the peak."""

    bulk_workers: dict[Channel, int]
    """Processes, of one core each."""
    code_workers: int
    intake_workers: int
    fanout_workers: int
    postgres_cores: float
    broker_cores: float
    broker_tasks_per_s: float
    provider_mbit_per_s: float
    wal_mb_per_s: float
    ledger_gb_per_day: float
    ledger_gb_kept: float
    rows_a_partition: float
    """Of the ledger in a month."""
    fcm_quotas: float
    """Of FCM's default quota for a project."""
    apns_connections: int

    @property
    def worker_cores(self) -> int:
        """Cores for workers of all kinds."""
        return sum(self.bulk_workers.values()) + self.code_workers + self.intake_workers + self.fanout_workers


def plan(demand: Demand, costs: Costs) -> Plan:
    """Cores, processes, bytes and quotas for the busiest second of a day."""
    peak = demand.peak_per_s
    bulk, single = peak * (1 - demand.codes), peak * demand.codes
    pushes = peak * demand.push
    disk = demand.per_day * costs.ledger_bytes / 1e9
    return Plan(
        bulk_workers={
            channel: _processes(bulk * demand.share(channel), costs.worker_us[channel]) for channel in Channel
        },
        code_workers=_processes(single, costs.single_worker_us),
        intake_workers=_processes(single, costs.single_intake_us),
        fanout_workers=_processes(bulk, costs.fanout_us),
        postgres_cores=(bulk * costs.postgres_us + single * costs.single_postgres_us) / 1e6 / SERVERS_BUSY,
        broker_cores=(bulk * costs.broker_us + single * costs.single_broker_us) / 1e6 / SERVERS_BUSY,
        broker_tasks_per_s=bulk / TASK_ROWS + 2 * single,  # a single message is an intake task and a batch
        provider_mbit_per_s=peak * costs.request_bytes * 8 / 1e6,
        wal_mb_per_s=(bulk * costs.wal_bytes + single * costs.single_wal_bytes) / 1e6,
        ledger_gb_per_day=disk,
        ledger_gb_kept=disk * demand.retention_days,
        rows_a_partition=float(demand.per_day * _MONTH_DAYS),
        fcm_quotas=pushes * demand.fcm / FCM_PER_S,
        apns_connections=math.ceil(pushes * (1 - demand.fcm) * APNS_ROUND_TRIP_S / APNS_STREAMS),
    )


def shape(demand: Demand, costs: Costs, made: Plan, *, campaigns: int) -> Shape:
    """The pushes of that day, for the simulation: campaigns in the bulk lane, codes in theirs."""
    pushes = demand.per_day * demand.push
    quota = max(1.0, math.ceil(made.fcm_quotas)) * FCM_PER_S / demand.fcm
    return Shape(
        campaign_deliveries=round(pushes * (1 - demand.codes)),
        campaigns=campaigns,
        codes=round(pushes * demand.codes),
        bulk_per_s=made.bulk_workers[Channel.PUSH] * 1e6 / costs.worker_us[Channel.PUSH],
        quota_per_s=quota,
        code_processes=max(1, math.ceil(made.code_workers * demand.push)),
        code_us=costs.single_worker_us,
    )


def a_day(demand: Demand, costs: Costs, made: Plan, *, seed: int, campaigns: int = 50) -> Day:
    """That day, simulated."""
    return simulated_day.simulate(shape(demand, costs, made, campaigns=campaigns), seed=seed)


def table(plans: Sequence[tuple[Demand, Plan]]) -> str:
    """One column a number of deliveries, as Markdown."""
    rows: list[tuple[str, list[str]]] = [
        ("deliveries a day", [f"{demand.per_day:,}" for demand, _ in plans]),
        ("in the busiest second", [f"{demand.peak_per_s:,.0f}" for demand, _ in plans]),
    ]
    rows += [(f"{channel} workers", [f"{made.bulk_workers[channel]:,}" for _, made in plans]) for channel in Channel]
    said: dict[str, Callable[[Plan], str]] = {
        "workers for single messages": lambda made: f"{made.code_workers:,}",
        "processes that accept them": lambda made: f"{made.intake_workers:,}",
        "fan-out workers": lambda made: f"{made.fanout_workers:,}",
        "PostgreSQL, cores": lambda made: _round(made.postgres_cores),
        "PostgreSQL, log (WAL) MB/s": lambda made: _round(made.wal_mb_per_s),
        "ledger, GB a day": lambda made: _round(made.ledger_gb_per_day),
        "ledger kept, TB": lambda made: _round(made.ledger_gb_kept / 1000),
        "rows in a month's partition, millions": lambda made: f"{made.rows_a_partition / 1e6:,.0f}",
        "broker, tasks a second": lambda made: f"{made.broker_tasks_per_s:,.0f}",
        "broker, cores": lambda made: _round(made.broker_cores),
        "to providers, Mbit/s": lambda made: f"{made.provider_mbit_per_s:,.0f}",
        "FCM's default quota, times": lambda made: _round(made.fcm_quotas),
        "connections to APNs": lambda made: f"{made.apns_connections:,}",
    }
    rows += [(name, [say(made) for _, made in plans]) for name, say in said.items()]
    head, *body = rows
    lines = [f"| {head[0]} | {' | '.join(head[1])} |", "|---|" + "--:|" * len(plans)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in body)])


def day_in_words(found: Day) -> str:
    """When campaigns were through and how long codes waited."""
    largest = max(found.campaigns, key=lambda campaign: campaign.size)
    slowest = max(found.campaigns, key=lambda campaign: campaign.took_s)
    last = max(found.campaigns, key=lambda campaign: campaign.last_s)
    wait = f"{found.code_p50_ms:.1f} ms (p50), {found.code_p99_ms:.1f} ms (p99)"
    lines = [
        f"largest campaign: {largest.size:,} recipients, the last left {_time(largest.took_s)} after the send",
        f"slowest campaign: {slowest.size:,} recipients, sent {_clock(slowest.sent_s)}, {_time(slowest.took_s)}",
        f"last delivery of the day: {_clock(last.last_s)}",
        f"the provider's quota was the limit for {_time(found.quota_seconds)} of the day",
        f"a code waits for its worker {wait}; they are {found.busiest_code_process:.0%} busy in their busiest hour",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _processes(per_s: float, us: float) -> int:
    return max(1, math.ceil(per_s * us / 1e6 / WORKERS_BUSY))


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"


def _clock(second: float) -> str:
    day, rest = divmod(int(second), DAY_S)
    return f"{rest // 3600:02}:{rest % 3600 // 60:02}" + (f" of day {day + 1}" if day else "")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-day", type=int, help="deliveries a day; without it, 1 million to 1 billion")
    parser.add_argument("--peak", type=float, default=5.0, help="the busiest second over the mean one")
    parser.add_argument("--codes", type=float, default=0.10, help="share of messages to one target")
    parser.add_argument("--retention-days", type=int, default=90)
    parser.add_argument("--campaigns", type=int, default=50, help="a day, in the simulation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    costs = measured()
    sizes = [arguments.per_day] if arguments.per_day else DAYS_SHOWN
    demands = [
        Demand(per_day=size, peak=arguments.peak, codes=arguments.codes, retention_days=arguments.retention_days)
        for size in sizes
    ]
    plans = [(demand, plan(demand, costs)) for demand in demands]
    print(table(plans))
    for demand, made in plans:
        print(f"\nA day of {demand.per_day:,} deliveries, its pushes in {arguments.campaigns} campaigns and codes:")
        print(day_in_words(a_day(demand, costs, made, seed=arguments.seed, campaigns=arguments.campaigns)))


if __name__ == "__main__":
    main()
