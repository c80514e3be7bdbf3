"""The steps of a check: what each is called, and how those of its message follow from the ledger.

A worker writes the steps up to the sending; the rest is worked out whenever somebody looks, from the message, its
delivery and what the provider told. Nobody has to keep them up to date, and a crash can't leave them behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from messaging.receipt import Event
from messaging.status import DeliveryStatus, MessageState
from messaging.store.delivery_events import EventView
from messaging.store.delivery_views import DeliveryView
from messaging.store.messages import MessageView

RECEIPT_S = 60.0
"""A receipt is waited for this long."""

_S = DeliveryStatus


class StepName(StrEnum):
    """The steps, in order."""

    CREDENTIALS = "credentials"
    """The provider takes the account."""
    ACCEPTED = "accepted"
    """We have the message."""
    EXPANDED = "expanded"
    """Its recipient was found."""
    HANDED_OVER = "handed_over"
    """The provider has it."""
    RECEIPT = "receipt"
    """The provider told what became of it."""


class StepState(StrEnum):
    """How a step went."""

    PASSED = "passed"
    FAILED = "failed"
    WAITING = "waiting"
    SKIPPED = "skipped"
    """It can't be told, or there is nothing to do; no failure."""


class CheckOutcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    name: StepName
    state: StepState
    detail: str
    """In words."""
    at: datetime | None = None
    """When it ended; None while it waits."""
    took_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self) | {"at": None if self.at is None else self.at.isoformat()}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Step:
        """The step kept as that."""
        return cls(
            name=StepName(kept["name"]),
            state=StepState(kept["state"]),
            detail=kept["detail"],
            at=None if kept["at"] is None else datetime.fromisoformat(kept["at"]),
            took_ms=kept["took_ms"],
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a check's message."""

    message: MessageView | None
    """None once it has been deleted."""
    delivery: DeliveryView | None = None
    events: Sequence[EventView] = ()
    stopped: str | None = None
    """Why the account carries nothing before the message expires, if so."""
    held: str | None = None
    """Why the last receipt of the account since then can't be verified yet."""
    refused: str | None = None
    """Why the last receipt of the account since then was refused."""


def outcome_of(steps: Sequence[Step]) -> CheckOutcome | None:
    """Failed where a step did; None while one waits, or nothing has been done."""
    states = {step.state for step in steps}
    if StepState.FAILED in states:
        return CheckOutcome.FAILED
    return None if not states or StepState.WAITING in states else CheckOutcome.PASSED


def why(code: str | None, reason: str | None) -> str:
    """A provider's code and reason as a sentence."""
    said = ": ".join(part for part in (code, reason) if part) or "no reason was given"
    return said if said.endswith((".", "!", "?")) else f"{said}."


def followed(kept: Sequence[Step], seen: Seen, *, now: datetime) -> list[Step]:
    """All steps of a check whose message was accepted.

    A step `RECEIPT` among the `kept` ones says why none will come.
    """
    own = [step for step in kept if step.name is not StepName.RECEIPT]
    if seen.message is None:
        gone = "The message was deleted before anybody saw how it ended."
        return [
            *own,
            Step(StepName.EXPANDED, StepState.FAILED, gone),
            *_skipped(StepName.HANDED_OVER, StepName.RECEIPT),
        ]
    expanded = _expanded(seen.message, seen.delivery)
    if expanded.state is not StepState.PASSED or seen.delivery is None:
        return [*own, expanded, *_after(expanded, StepName.HANDED_OVER, StepName.RECEIPT)]
    handed_over = _handed_over(seen, seen.message, seen.delivery)
    if handed_over.state is not StepState.PASSED:
        return [*own, expanded, handed_over, *_after(handed_over, StepName.RECEIPT)]
    none_comes = next((step.detail for step in kept if step.name is StepName.RECEIPT), None)
    return [*own, expanded, handed_over, _receipt(seen, handed_over, none_comes, now)]


def _expanded(message: MessageView, delivery: DeliveryView | None) -> Step:
    if delivery is not None:
        at = message.started_at or delivery.created_at
        return Step(StepName.EXPANDED, StepState.PASSED, "Its recipient was found.", at, _ms(message.created_at, at))
    if message.state is MessageState.FAILED:
        return Step(StepName.EXPANDED, StepState.FAILED, message.failure or "It failed.", message.finished_at)
    if message.state is MessageState.CANCELLED:
        return Step(StepName.EXPANDED, StepState.FAILED, "The message was cancelled.", message.updated_at)
    if message.expanded:
        gone = "Nobody is left to send it to: the address was called dead a moment ago."
        return Step(StepName.EXPANDED, StepState.FAILED, gone, message.updated_at)
    waits = "It waits for a worker that looks its recipient up."
    return Step(StepName.EXPANDED, StepState.WAITING, message.waiting_for or waits)


def _handed_over(seen: Seen, message: MessageView, delivery: DeliveryView) -> Step:
    told = _worst(seen.events)
    status = delivery.status
    if status in {_S.ACCEPTED, _S.DELIVERED} or (status is _S.FAILED and (delivery.accepted_at or told)):
        at = delivery.accepted_at or delivery.updated_at
        as_ = "" if delivery.provider_message_id is None else f" as {delivery.provider_message_id}"
        tried = "" if delivery.attempts <= 1 else f" at attempt {delivery.attempts}"
        took_ms = _ms(message.created_at, at)
        return Step(StepName.HANDED_OVER, StepState.PASSED, f"The provider took it{as_}{tried}.", at, took_ms)
    why_not = why(delivery.error_code, delivery.error)
    if status in {_S.QUEUED, _S.RETRYING} and seen.stopped is not None:
        detail = f"The account is out of use: {why(None, seen.stopped)}"
        return Step(StepName.HANDED_OVER, StepState.FAILED, detail, delivery.updated_at)
    if status in {_S.QUEUED, _S.SENDING}:
        waits = "Its request is under way." if status is _S.SENDING else "It waits for a worker."
        waits = f"It waits for {message.waiting_for}." if message.waiting_for else waits
        return Step(StepName.HANDED_OVER, StepState.WAITING, waits)
    if status is _S.RETRYING:
        waits = f"Attempt {delivery.attempts} failed, another follows: {why_not}"
        return Step(StepName.HANDED_OVER, StepState.WAITING, waits)
    detail = f"It may have been sent, nobody knows: {why_not}" if status is _S.UNKNOWN else why_not
    at, took_ms = delivery.updated_at, _ms(message.created_at, delivery.updated_at)
    return Step(StepName.HANDED_OVER, StepState.FAILED, detail, at, took_ms)


def _receipt(seen: Seen, handed_over: Step, none_comes: str | None, now: datetime) -> Step:
    since = handed_over.at or now
    told = _told(seen.events, since)
    if told is not None:
        return told
    if seen.held is not None:
        return Step(StepName.RECEIPT, StepState.FAILED, f"Receipts come and can't be verified: {seen.held}", since)
    last = f" It last said: {seen.events[-1].event}." if seen.events else ""
    if none_comes is not None:
        return Step(StepName.RECEIPT, StepState.SKIPPED, none_comes + last, since)
    ended = since + timedelta(seconds=RECEIPT_S)
    if now < ended:
        return Step(StepName.RECEIPT, StepState.WAITING, f"The provider has not told yet what became of it.{last}")
    if seen.refused is not None:
        return Step(StepName.RECEIPT, StepState.FAILED, f"Receipts come and are refused: {seen.refused}", ended)
    detail = f"None has come within {RECEIPT_S:g} s, which is no failure: it may come later.{last}"
    return Step(StepName.RECEIPT, StepState.SKIPPED, detail, ended)


def _told(events: Sequence[EventView], since: datetime) -> Step | None:
    """What the provider says became of it, if it says so already."""
    bad, good = _worst(events), _arrived(events)
    if good is not None:
        after = [str(event.event) for event in events if event.at > good.at and event.event not in _GOOD]
        detail = f"The provider says: {good.event}" + (f", then {', '.join(after)}." if after else ".")
        return Step(StepName.RECEIPT, StepState.PASSED, detail, good.at, _ms(since, good.at))
    if bad is not None:
        detail = f"The provider says: {bad.event}. {why(bad.code, bad.reason)}"
        return Step(StepName.RECEIPT, StepState.FAILED, detail, bad.at, _ms(since, bad.at))
    return None


_GOOD = frozenset({Event.DELIVERED, Event.OPENED, Event.CLICKED})
_BAD = frozenset({Event.BOUNCED_HARD, Event.BOUNCED_SOFT, Event.REJECTED})


def _arrived(events: Sequence[EventView]) -> EventView | None:
    """The first that says it arrived."""
    return next((event for event in events if event.event in _GOOD), None)


def _worst(events: Sequence[EventView]) -> EventView | None:
    """The last that says it did not."""
    return next((event for event in reversed(events) if event.event in _BAD), None)


def _after(step: Step, *names: StepName) -> list[Step]:
    """The steps that can't begin before `step` has passed."""
    if step.state is not StepState.WAITING:
        return _skipped(*names)
    return [Step(name, StepState.WAITING, "Not begun.") for name in names]


def _skipped(*names: StepName) -> list[Step]:
    return [Step(name, StepState.SKIPPED, "Not begun.") for name in names]


def _ms(since: datetime, until: datetime) -> int:
    """Milliseconds; clocks of several machines may disagree, so never less than none."""
    return max(0, round((until - since).total_seconds() * 1000))
