"""The ledger against what the providers' stand-ins recorded, per recipient. Events are never counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from messaging.client.messaging import Messaging
from messaging.status import DeliveryStatus
from messaging.store.delivery_views import DeliveryView

_S = DeliveryStatus
_ANSWERS_S = 60.0
"""The stand-ins have one event loop for this and for thousands of requests."""


def recorded(control: str, *protocols: str) -> list[dict[str, Any]]:
    """What these stand-ins took (all without a name), oldest first."""
    lines: list[dict[str, Any]] = []
    with httpx.Client(base_url=control, trust_env=False, timeout=_ANSWERS_S) as client:
        for protocol in protocols or ("apns", "fcm", "sendgrid", "twilio", "smtp"):
            text = client.get("/record", params={"protocol": protocol}).raise_for_status().text
            lines += [json.loads(line) for line in text.splitlines() if line]
    return [line for line in lines if line["outcome"] == "accepted"]


def set_faults(control: str, protocol: str, **faults: object) -> None:
    """Let a stand-in misbehave."""
    body = {"protocol": protocol} | faults
    httpx.post(f"{control}/faults", json=body, trust_env=False, timeout=_ANSWERS_S).raise_for_status()


def clear_faults(control: str) -> None:
    """Let every stand-in behave."""
    httpx.delete(f"{control}/faults", trust_env=False, timeout=_ANSWERS_S).raise_for_status()


@dataclass(frozen=True, kw_only=True)
class Sums:
    """One message, or several whose addresses don't overlap, seen from both sides."""

    ledger: Mapping[str, DeliveryStatus]
    """Status by address."""
    rows: int
    """Deliveries; more than `ledger` has entries only where a target has two rows."""
    taken: Mapping[str, int]
    """How often a provider took something for an address of the ledger or of the audience."""
    audience: frozenset[str]

    @property
    def lost(self) -> frozenset[str]:
        """Accepted in the ledger, never seen by the provider."""
        return self._with(_S.ACCEPTED) - self.taken.keys()

    @property
    def doubled(self) -> int:
        """What providers took beyond the first, over all addresses."""
        return sum(count - 1 for count in self.taken.values())

    @property
    def unsettled(self) -> frozenset[str]:
        """Rows that have not ended."""
        return frozenset(address for address, status in self.ledger.items() if not status.is_settled)

    @property
    def unrecorded(self) -> frozenset[str]:
        """Seen by a provider, though the ledger says that it certainly wasn't sent."""
        return frozenset(self.taken) - self._with(_S.ACCEPTED, _S.DELIVERED, _S.UNKNOWN)

    @property
    def statuses(self) -> Mapping[DeliveryStatus, int]:
        """How many addresses ended how."""
        return Counter(self.ledger.values())

    def _with(self, *statuses: DeliveryStatus) -> frozenset[str]:
        return frozenset(address for address, status in self.ledger.items() if status in statuses)

    def assert_exact(self) -> None:
        """Everybody of the audience has one row, it is settled, and neither side knows more than the other."""
        assert frozenset(self.ledger) == self.audience
        assert self.rows == len(self.ledger)
        assert not self.unsettled
        assert not self.lost
        assert not self.unrecorded


def sums(client: Messaging, control: str, message_ids: Sequence[str], audience: Iterable[str], *protocols: str) -> Sums:
    """The sums of messages to `audience`, whose addresses no other message used."""
    everybody = frozenset(audience)
    rows: list[DeliveryView] = [row for message_id in message_ids for row in client.all_deliveries(message_id)]
    return Sums(
        ledger={str(row.identifier): row.status for row in rows},
        rows=len(rows),
        taken=Counter(line["recipient"] for line in recorded(control, *protocols) if line["recipient"] in everybody),
        audience=everybody,
    )
