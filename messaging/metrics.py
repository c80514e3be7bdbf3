"""Every metric we export: its name, what it says, its labels. One table, which code, documentation and tests share.

Labels have few values, all of them our own words: never an address, an id of a message or a text of a provider's. The
ids of accounts are the one thing an operator chose; there are as many as there are accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Where(StrEnum):
    """Who exports a metric."""

    API = "API"
    WORKERS = "workers"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, as it is written in a query."""

    name: str
    kind: Kind
    where: Where
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds in seconds, of a histogram."""

    def counter(self, registry: CollectorRegistry) -> Counter:
        """The counter, exported by `registry`."""
        return Counter(self.name, self.says, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """The gauge, summed over the living processes of a pool."""
        return Gauge(self.name, self.says, self.labels, registry=registry, multiprocess_mode="livesum")

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """The histogram."""
        return Histogram(self.name, self.says, self.labels, registry=registry, buckets=self.buckets)

    def family(self) -> GaugeMetricFamily:
        """A gauge that is filled when it is asked for."""
        return GaugeMetricFamily(self.name, self.says, labels=self.labels)


_WAITS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_CALLS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ANSWERS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

# -- the road, counted by the workers ----------------------------------------------------------------------------------

INTAKE_TASKS = Metric(
    name="heliograph_intake_tasks_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("task", "outcome"),
    says="Tasks of producers: accepted (repeated ones too), or refused because no message could be made of them.",
)
EXPANDED = Metric(
    name="heliograph_deliveries_expanded_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel", "lane"),
    says="Deliveries made by fan-out. Small audiences are expanded as they are accepted, and are not among them.",
)
DELIVERIES = Metric(
    name="heliograph_deliveries_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel", "kind", "status"),
    says="Deliveries that reached a status: accepted by the provider, then delivered or failed as its receipts say.",
)
FAILURES = Metric(
    name="heliograph_delivery_failures_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel", "kind", "reason"),
    says="Deliveries that ended as failed, suppressed or unknown, by reason.",
)
RETRIES = Metric(
    name="heliograph_delivery_retries_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel", "kind", "reason"),
    says="Deliveries put back to be sent again, by reason.",
)
IN_HAND = Metric(
    name="heliograph_deliveries_in_hand",
    kind=Kind.GAUGE,
    where=Where.WORKERS,
    labels=("channel", "kind"),
    says="Deliveries claimed whose outcome is not recorded: the requests in flight, and what waits to be written.",
)
IN_DOUBT = Metric(
    name="heliograph_deliveries_in_doubt_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel",),
    says="Deliveries that were in flight when their worker was lost; each may have been sent.",
)
QUEUE_SECONDS = Metric(
    name="heliograph_queue_seconds",
    kind=Kind.HISTOGRAM,
    where=Where.WORKERS,
    labels=("channel", "lane"),
    buckets=_WAITS_S,
    says="Time from a message's acceptance, or its schedule, to the first claim of each of its batches.",
)
REQUEST_SECONDS = Metric(
    name="heliograph_provider_request_seconds",
    kind=Kind.HISTOGRAM,
    where=Where.WORKERS,
    labels=("kind",),
    buckets=_CALLS_S,
    says="Time of a request to a provider; a sample: the first of each batch, then one in 64.",
)
PACING_WAITS = Metric(
    name="heliograph_pacing_waits_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("limit",),
    says="Times that a window waited because of an account's pace: its rate a second, a minute or a day, or a pause.",
)
PACING_WAIT_SECONDS = Metric(
    name="heliograph_pacing_wait_seconds_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("limit",),
    says="How long they were told to wait.",
)
PROVIDER_STOPS = Metric(
    name="heliograph_provider_stops_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("kind", "why"),
    says="Accounts stopped: by an outage (the breaker opened), for their quota, or until somebody looks.",
)
MOVED = Metric(
    name="heliograph_deliveries_moved_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    says="Deliveries handed to another account, because theirs did not work.",
)
LEASES_LOST = Metric(
    name="heliograph_leases_lost_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel",),
    says="Leases that ran out while their worker still worked; its answers are kept as evidence.",
)
TAKEN_OVER = Metric(
    name="heliograph_batches_taken_over_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("channel",),
    says="Batches whose lease expired and which another worker took over.",
)
SWEEPS = Metric(
    name="heliograph_sweeps_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    says="Sweeps: one a second over all workers, as a rule.",
)
SWEPT = Metric(
    name="heliograph_swept_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("what",),
    says="What sweeps found: messages started, fan-outs stalled, deliveries moved, batches hinted or closed, …",
)
QUARANTINED = Metric(
    name="heliograph_quarantined_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("what",),
    says="What was put aside because it ended its workers.",
)
RECEIPTS = Metric(
    name="heliograph_receipts_total",
    kind=Kind.COUNTER,
    where=Where.WORKERS,
    labels=("kind", "outcome"),
    says="Requests to receipt addresses: applied, refused, held for want of a key, or looked at again later.",
)

# -- the API -----------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = Metric(
    name="heliograph_http_requests_total",
    kind=Kind.COUNTER,
    where=Where.API,
    labels=("operation", "status"),
    says="Requests to the API, by operation and class of status (2xx, 4xx, 5xx).",
)
HTTP_SECONDS = Metric(
    name="heliograph_http_request_seconds",
    kind=Kind.HISTOGRAM,
    where=Where.API,
    labels=("operation",),
    buckets=_ANSWERS_S,
    says="Time until the API had an answer; of a file, until its first piece.",
)

# -- how things stand, read from PostgreSQL and the broker when the API is asked --------------------------------------

DUE_BATCHES = Metric(
    name="heliograph_due_batches",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("channel", "lane"),
    says="Batches that are due, or whose lease has run out; counted up to 100,000 over all.",
)
DUE_DELIVERIES = Metric(
    name="heliograph_due_deliveries",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("channel", "lane"),
    says="Deliveries not settled in those batches: the work that waits for a worker.",
)
OLDEST_DUE_SECONDS = Metric(
    name="heliograph_oldest_due_batch_seconds",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("channel", "lane"),
    says="For how long the oldest of those batches has been due; 0 where none is.",
)
LEASED_BATCHES = Metric(
    name="heliograph_leased_batches",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("channel", "lane"),
    says="Batches that a worker is sending now.",
)
QUEUE_LENGTH = Metric(
    name="heliograph_queue_length",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("queue",),
    says="Tasks that lie in a queue of the broker. Above a mark hints are held back: see due deliveries.",
)
MESSAGES = Metric(
    name="heliograph_messages",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("state",),
    says="Messages that are scheduled, processing or paused.",
)
OVERDUE_MESSAGES = Metric(
    name="heliograph_overdue_messages",
    kind=Kind.GAUGE,
    where=Where.API,
    says="Scheduled messages whose time came more than ten seconds ago: nobody sweeps.",
)
PROVIDER_STATE = Metric(
    name="heliograph_provider_state",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("project", "provider", "channel", "kind", "state"),
    says="1 for the state of each account: working, paused (its breaker is open), stopped or disabled.",
)
QUARANTINE = Metric(
    name="heliograph_quarantine_entries",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("what",),
    says="What lies in quarantine and waits for somebody to look.",
)
RECEIPTS_WAITING = Metric(
    name="heliograph_receipts_waiting",
    kind=Kind.GAUGE,
    where=Where.API,
    says="Requests of providers not applied yet; counted up to 100,000.",
)
READ = Metric(
    name="heliograph_source_up",
    kind=Kind.GAUGE,
    where=Where.API,
    labels=("source",),
    says="1 where the database, or the broker, said how things stand; at 0 what it would have said is missing.",
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order above."""


def samples_of(metric: Metric) -> tuple[str, ...]:
    """The names under which it is queried."""
    if metric.kind is Kind.HISTOGRAM:
        return tuple(f"{metric.name}_{part}" for part in ("bucket", "count", "sum"))
    return (metric.name,)
