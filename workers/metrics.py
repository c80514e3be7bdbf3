"""What workers count, once per window, batch or task, and never per delivery.

`messaging/metrics.py` has the names. The metrics of a process are made when it first counts something: in the child of
a pool after the fork, so that each writes where `workers/metrics_files.py` has it write.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Mapping, Sequence
from functools import cache

from prometheus_client import CollectorRegistry

from messaging import metrics
from messaging.channel import Channel
from messaging.outcome import Action
from messaging.status import DeliveryStatus
from messaging.store.ledger import UNSENT, Verdict, Window
from messaging.wire import SEND_TASK

REGISTRY = CollectorRegistry()
"""Of this process, where it shares its metrics with no other."""

_S = DeliveryStatus
_ACCEPTED = DeliveryStatus.ACCEPTED  # looked up once: an enumeration's members are slow to find
_NO_ARRIVAL = frozenset({_S.FAILED, _S.SUPPRESSED, _S.UNKNOWN})
_RETRIES = frozenset({_S.RETRYING})


class Road:
    """The metrics of the workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.intake_tasks = metrics.INTAKE_TASKS.counter(registry)
        self.expanded = metrics.EXPANDED.counter(registry)
        self.deliveries = metrics.DELIVERIES.counter(registry)
        self.failures = metrics.FAILURES.counter(registry)
        self.retries = metrics.RETRIES.counter(registry)
        self.in_hand = metrics.IN_HAND.gauge(registry)
        self.in_doubt = metrics.IN_DOUBT.counter(registry)
        self.queue_seconds = metrics.QUEUE_SECONDS.histogram(registry)
        self.request_seconds = metrics.REQUEST_SECONDS.histogram(registry)
        self.pacing_waits = metrics.PACING_WAITS.counter(registry)
        self.pacing_wait_seconds = metrics.PACING_WAIT_SECONDS.counter(registry)
        self.provider_stops = metrics.PROVIDER_STOPS.counter(registry)
        self.moved = metrics.MOVED.counter(registry)
        self.leases_lost = metrics.LEASES_LOST.counter(registry)
        self.taken_over = metrics.TAKEN_OVER.counter(registry)
        self.sweeps = metrics.SWEEPS.counter(registry)
        self.swept = metrics.SWEPT.counter(registry)
        self.quarantined = metrics.QUARANTINED.counter(registry)
        self.receipts = metrics.RECEIPTS.counter(registry)
        for task in (*SEND_TASK.values(), "unknown"):
            self.intake_tasks.labels(task, "refused")  # at 0, so that the first is seen as an increase

    def paced(self, limit: str, wait_s: float) -> None:
        """A window has to wait for so long, because of that limit."""
        self.pacing_waits.labels(limit).inc()
        self.pacing_wait_seconds.labels(limit).inc(wait_s)


@cache
def road() -> Road:
    """The metrics of this worker."""
    return Road(REGISTRY)


class Counted:
    """What is counted of the deliveries of one channel and kind of provider."""

    def __init__(self, channel: Channel, kind: str) -> None:
        self._channel, self._kind = channel, kind
        self._accepted = road().deliveries.labels(channel, kind, _S.ACCEPTED)
        self._in_hand = road().in_hand.labels(channel, kind)

    def claimed(self, window: Window) -> None:
        """A window was claimed; some of its rows may have been settled instead."""
        if window.claimed:
            self._in_hand.inc(len(window.claimed))
        for (status, reason), by in Count(window.declined).items():
            self.settled(status, reason, by)

    def let_go(self, count: int) -> None:
        """So many are no longer in hand."""
        if count:
            self._in_hand.dec(count)

    def recorded(self, verdicts: Sequence[Verdict], actions: Mapping[int, Action]) -> None:
        """Outcomes were written; `actions` has what was answered for each target that was not accepted."""
        others = [verdict for verdict in verdicts if verdict.status is not _ACCEPTED]
        if len(others) < len(verdicts):
            self._accepted.inc(len(verdicts) - len(others))
        reasons = Count((verdict.status, _reason(verdict, actions)) for verdict in others)
        for (status, reason), by in reasons.items():
            self.settled(status, reason, by)

    def stopped(self, why: str) -> None:
        """An account of the kind was stopped."""
        road().provider_stops.labels(self._kind, why).inc()

    def settled(self, status: DeliveryStatus, reason: str, by: int) -> None:
        """So many reached `status` for `reason`, which is a word of ours."""
        if not by:
            return
        if status in _RETRIES:
            road().retries.labels(self._channel, self._kind, reason).inc(by)
            return
        road().deliveries.labels(self._channel, self._kind, status).inc(by)
        if status in _NO_ARRIVAL:
            road().failures.labels(self._channel, self._kind, reason).inc(by)


@cache
def counted(channel: Channel, kind: str) -> Counted:
    """What is counted of that channel and kind in this process."""
    return Counted(channel, kind)


def _reason(verdict: Verdict, actions: Mapping[int, Action]) -> str:
    if verdict.error_code == UNSENT:
        return UNSENT
    action = actions.get(verdict.target_id)
    return "other" if action is None else action.value
