"""The steps of a check follow from the message, its delivery and what the provider told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from messaging.channel import Channel, Lane, OnUnknown, Role
from messaging.receipt import Event
from messaging.status import DeliveryStatus, MessageState
from messaging.store.check_steps import (
    RECEIPT_S,
    CheckOutcome,
    Seen,
    Step,
    StepName,
    StepState,
    followed,
    outcome_of,
    why,
)
from messaging.store.delivery_events import EventView
from messaging.store.delivery_views import DeliveryView
from messaging.store.messages import MessageView

BEGAN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEPT = [
    Step(StepName.CREDENTIALS, StepState.PASSED, "Good.", BEGAN, 120),
    Step(StepName.ACCEPTED, StepState.PASSED, "It is message m.", BEGAN, 4),
]
P, F, W, K = StepState.PASSED, StepState.FAILED, StepState.WAITING, StepState.SKIPPED
S = DeliveryStatus


def at(seconds: float) -> datetime:
    """So long after the message was accepted."""
    return BEGAN + timedelta(seconds=seconds)


MESSAGE = MessageView(
    id="m",
    channel=Channel.SMS,
    lane=Lane.HIGH,
    state=MessageState.PROCESSING,
    content={},
    audience={},
    on_unknown=OnUnknown.HOLD,
    scheduled_at=None,
    expires_at=at(600),
    created_at=BEGAN,
    updated_at=at(0.01),
    started_at=at(0.01),
    finished_at=None,
    expanded=True,
    estimate=None,
    total=1,
    month=date(2026, 11, 1),
)
DELIVERY = DeliveryView(
    id="d52-1-1",
    target_id="t",
    identifier="+4930901820",
    provider_id="p",
    status=S.ACCEPTED,
    role=Role.TO,
    attempts=1,
    doubts=0,
    provider_message_id="SM1",
    error_code=None,
    error=None,
    accepted_at=at(0.5),
    due_at=None,
    created_at=at(0.01),
    updated_at=at(0.5),
    cursor=1,
)


def event(what: Event, seconds: float = 2, **fields: str) -> EventView:
    """The provider told so."""
    return EventView(event=what, at=at(seconds), code=fields.get("code"), reason=fields.get("reason"))


def settled(status: DeliveryStatus, **fields: object) -> DeliveryView:
    """The delivery, not accepted."""
    return replace(DELIVERY, status=status, accepted_at=None, provider_message_id=None, **fields)  # type: ignore[arg-type]


def steps(seen: Seen, *, kept: Sequence[Step] = KEPT, now: datetime | None = None) -> list[Step]:
    """All of them, a few seconds after it was sent."""
    found = followed(kept, seen, now=now or at(3))
    assert [step.name for step in found] == list(StepName), "all of them, in order"
    return found


def states(found: Sequence[Step]) -> list[StepState]:
    """Of the steps that follow from the message."""
    return [step.state for step in found[2:]]


def test_a_delivered_message_has_passed_every_step() -> None:
    """With how long each took."""
    found = steps(
        Seen(message=MESSAGE, delivery=replace(DELIVERY, status=S.DELIVERED), events=[event(Event.DELIVERED)])
    )
    assert states(found) == [P, P, P]
    assert outcome_of(found) is CheckOutcome.PASSED
    assert [step.took_ms for step in found] == [120, 4, 10, 500, 1500]
    assert found[3].detail == "The provider took it as SM1."
    assert found[4].detail == "The provider says: delivered."


@pytest.mark.parametrize(
    ("status", "state", "says"),
    [
        (S.QUEUED, W, "waits for a worker"),
        (S.SENDING, W, "under way"),
        (S.RETRYING, W, "Attempt 1 failed, another follows: 500: it fell over."),
        (S.ACCEPTED, P, "took it"),
        (S.DELIVERED, P, "took it"),
        (S.FAILED, F, "500: it fell over."),
        (S.UNKNOWN, F, "may have been sent"),
        (S.EXPIRED, F, "it fell over"),
        (S.CANCELLED, F, "it fell over"),
        (S.SUPPRESSED, F, "it fell over"),
    ],
)
def test_every_status_is_a_state_of_the_handing_over(status: DeliveryStatus, state: StepState, says: str) -> None:
    """And what has not begun is waited for only where it can still begin."""
    delivery = settled(status, error_code="500", error="it fell over")
    found = steps(Seen(message=MESSAGE, delivery=delivery))
    assert found[3].state is state
    assert says in found[3].detail
    assert found[4].state is (K if state is F else W)


def test_what_a_delivery_waits_for_is_said() -> None:
    """In the words of whoever put it aside."""
    message = replace(MESSAGE, waiting_for="provider 'p' (disabled)")
    found = steps(Seen(message=message, delivery=settled(S.QUEUED)))
    assert found[3].detail == "It waits for provider 'p' (disabled)."
    assert outcome_of(found) is None


@pytest.mark.parametrize(("status", "state"), [(S.QUEUED, F), (S.RETRYING, F), (S.SENDING, W), (S.ACCEPTED, P)])
def test_what_waits_for_an_account_that_stopped_has_failed(status: DeliveryStatus, state: StepState) -> None:
    """Until somebody starts it; what is under way or was taken has its own end."""
    delivery = DELIVERY if status is S.ACCEPTED else settled(status)
    found = steps(Seen(message=MESSAGE, delivery=delivery, stopped="21608: a trial account"))
    assert found[3].state is state
    assert ("21608: a trial account." in found[3].detail) is (state is F)


@pytest.mark.parametrize(
    ("message", "state", "says"),
    [
        (replace(MESSAGE, expanded=False, started_at=None), W, "looks its recipient up"),
        (replace(MESSAGE, state=MessageState.FAILED, failure="No valid recipients found."), F, "No valid recipients"),
        (replace(MESSAGE, state=MessageState.CANCELLED, expanded=False), F, "cancelled"),
        (MESSAGE, F, "called dead"),
        (None, F, "deleted"),
    ],
)
def test_without_a_delivery_the_message_says_why(message: MessageView | None, state: StepState, says: str) -> None:
    """And nothing after that is waited for in vain."""
    found = steps(Seen(message=message))
    assert found[2].state is state
    assert says in found[2].detail
    assert states(found)[1:] == [W, W] if state is W else [K, K]


class TestReceipts:
    """The last step."""

    @pytest.mark.parametrize("bad", [Event.BOUNCED_HARD, Event.BOUNCED_SOFT, Event.REJECTED])
    @pytest.mark.parametrize("accepted_at", [at(0.5), None])
    def test_a_bounce_fails_it_and_not_the_handing_over(self, bad: Event, accepted_at: datetime | None) -> None:
        """Also where it came before our own record of the sending."""
        delivery = replace(DELIVERY, status=S.FAILED, accepted_at=accepted_at, error_code="30005", error="unknown")
        told = [event(Event.ACCEPTED, 1), event(bad, code="30005", reason="unknown destination")]
        found = steps(Seen(message=MESSAGE, delivery=delivery, events=told))
        assert states(found) == [P, P, F]
        assert found[4].detail == f"The provider says: {bad}. 30005: unknown destination."

    def test_what_follows_an_arrival_is_mentioned_and_changes_nothing(self) -> None:
        told = [event(Event.DELIVERED, 2), event(Event.OPENED, 3), event(Event.COMPLAINED, 4)]
        found = steps(Seen(message=MESSAGE, delivery=DELIVERY, events=told))
        assert found[4].state is P
        assert found[4].detail == "The provider says: delivered, then complained."

    def test_one_that_never_comes_is_no_failure(self) -> None:
        """After a while."""
        seen = Seen(message=MESSAGE, delivery=DELIVERY, events=[event(Event.DEFERRED)])
        just_before = steps(seen, now=at(0.5 + RECEIPT_S - 0.001))
        assert (states(just_before), outcome_of(just_before)) == ([P, P, W], None)
        after = steps(seen, now=at(0.5 + RECEIPT_S))
        assert (states(after), outcome_of(after)) == ([P, P, K], CheckOutcome.PASSED)
        assert "no failure" in after[4].detail
        assert "deferred" in after[4].detail

    def test_where_none_can_come_nobody_waits(self) -> None:
        """And the reason is that of whoever knew it."""
        none = Step(StepName.RECEIPT, K, "Providers of this kind tell nothing later.", BEGAN)
        found = steps(Seen(message=MESSAGE, delivery=DELIVERY), kept=[*KEPT, none])
        assert (found[4].state, found[4].detail) == (K, none.detail)
        assert outcome_of(found) is CheckOutcome.PASSED
        came = steps(Seen(message=MESSAGE, delivery=DELIVERY, events=[event(Event.DELIVERED)]), kept=[*KEPT, none])
        assert came[4].state is P

    def test_receipts_that_nobody_can_verify_fail_it_at_once(self) -> None:
        """Those that are refused only when ours has not come: others may use the same account."""
        held = steps(Seen(message=MESSAGE, delivery=DELIVERY, held="set webhookKey"))
        assert held[4].state is F
        assert "set webhookKey" in held[4].detail
        seen = Seen(message=MESSAGE, delivery=DELIVERY, refused="the signature is wrong")
        assert steps(seen)[4].state is W
        assert steps(seen, now=at(100))[4].state is F
        assert steps(replace(seen, events=[event(Event.DELIVERED)]), now=at(100))[4].state is P

    def test_a_provider_whose_clock_is_behind_takes_no_negative_time(self) -> None:
        told = [event(Event.DELIVERED, -30)]
        assert steps(Seen(message=MESSAGE, delivery=DELIVERY, events=told))[4].took_ms == 0


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ([], None),
        ([P], CheckOutcome.PASSED),
        ([P, K], CheckOutcome.PASSED),
        ([P, W], None),
        ([P, F, K], CheckOutcome.FAILED),
        ([P, F, W], CheckOutcome.FAILED),
    ],
)
def test_one_failure_fails_a_check(given: Sequence[StepState], outcome: CheckOutcome | None) -> None:
    """And it goes on while a step waits."""
    assert outcome_of([Step(StepName.CREDENTIALS, state, "") for state in given]) is outcome


def test_a_step_comes_back_as_it_was_kept() -> None:
    """Through JSON."""
    for step in (*KEPT, Step(StepName.RECEIPT, W, "Not begun.")):
        assert Step.of(json.loads(json.dumps(step.as_json()))) == step


def test_a_reason_is_a_sentence() -> None:
    """Whatever of it there is."""
    assert why("401", "refused") == "401: refused."
    assert why(None, "Refused.") == "Refused."
    assert why("", "") == "no reason was given."
