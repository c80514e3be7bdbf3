"""What the demonstration proves: the ledger against what the providers' stand-ins recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from messaging.client.messaging import Messaging
from messaging.status import DeliveryStatus, MessageState
from messaging.store.messages import MessageView

_TAKEN = (DeliveryStatus.ACCEPTED, DeliveryStatus.DELIVERED)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A message of the demonstration, and what should become of it."""

    label: str
    message_id: str
    marker: str
    """Words that stand in this message alone: by them the sandbox's record is searched."""
    total: int
    failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one message, in the ledger and in the sandbox. Times in seconds."""

    sent: Sent
    message: MessageView
    accepted: int
    delivered: int
    """Of the accepted, those whose provider has told by now that they arrived."""
    failed: Mapping[str, int]
    """By reason."""
    expired_targets: int
    lost: int
    """Accepted in the ledger, unknown to the sandbox."""
    doubled: int
    """Acceptances in the sandbox beyond the first of their recipient."""
    unrecorded: int
    """Accepted by the sandbox, not in the ledger."""
    duration_s: float
    p50_s: float
    p99_s: float

    @property
    def rate_per_s(self) -> float:
        """Acceptances a second, from the enqueueing to the last one."""
        return self.accepted / self.duration_s if self.duration_s else 0.0

    @property
    def state_wanted(self) -> MessageState:
        """The state the message should have ended in."""
        return MessageState.PARTIALLY_SENT if self.sent.failed else MessageState.SENT

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, in words."""
        failed = sum(self.failed.values())
        checks = (
            (self.message.state is self.state_wanted, f"it is {self.message.state}, not {self.state_wanted}"),
            (self.message.total == self.sent.total, f"{self.message.total:,} targets, not {self.sent.total:,}"),
            (self.accepted + failed == self.message.total, "accepted and failed are not the total"),
            (failed == self.sent.failed, f"{failed:,} failed, not {self.sent.failed:,}"),
            (not self.lost, f"{self.lost:,} lost"),
            (not self.doubled, f"{self.doubled:,} doubled"),
            (not self.unrecorded, f"{self.unrecorded:,} sent, but not in the ledger"),
        )
        return [f"{self.sent.label}: {problem}" for well, problem in checks if not well]


def judge(messaging: Messaging, record: Path, sent: Iterable[Sent]) -> list[Verdict]:
    """The verdict on every message, from its ledger and the sandbox's record file."""
    expected = list(sent)
    taken = _taken(record, expected)
    dead = {target.id for target in messaging.targets.list(channel="push", limit=1_000_000) if target.expired}
    return [_verdict(messaging, each, taken[each.message_id], dead) for each in expected]


def _verdict(messaging: Messaging, sent: Sent, taken: list[tuple[str, float]], dead: set[str]) -> Verdict:
    message = messaging.get(sent.message_id)
    accepted: set[str] = set()
    failed: Counter[str] = Counter()
    expired_targets = 0
    for delivery in messaging.all_deliveries(sent.message_id):
        if delivery.status in _TAKEN:
            accepted.add(delivery.identifier or delivery.id)
        elif delivery.status.is_settled:
            failed[delivery.error_code or delivery.status] += 1
            expired_targets += delivery.target_id in dead
    in_sandbox = Counter(recipient for recipient, _ in taken)
    since = _enqueued(message).timestamp()
    waits = sorted(at - since for _, at in taken)
    return Verdict(
        sent=sent,
        message=message,
        accepted=len(accepted),
        delivered=message.totals.get(DeliveryStatus.DELIVERED, 0),
        failed=failed,
        expired_targets=expired_targets,
        lost=len(accepted - in_sandbox.keys()),
        doubled=sum(in_sandbox.values()) - len(in_sandbox),
        unrecorded=len(in_sandbox.keys() - accepted),
        duration_s=waits[-1] if waits else 0.0,
        p50_s=_percentile(waits, 0.50),
        p99_s=_percentile(waits, 0.99),
    )


def _taken(record: Path, expected: Iterable[Sent]) -> dict[str, list[tuple[str, float]]]:
    """(recipient, epoch seconds) of every acceptance in the record, by message id."""
    found: dict[str, list[tuple[str, float]]] = {sent.message_id: [] for sent in expected}
    markers = [(sent.marker, sent.message_id) for sent in expected]
    with record.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["outcome"] != "accepted":
                continue
            payload = json.dumps(entry["payload"])
            for marker, message_id in markers:
                if marker in payload:
                    found[message_id].append((entry["recipient"], float(entry["at"])))
    return found


def _enqueued(message: MessageView) -> datetime:
    return message.scheduled_at or message.created_at


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
