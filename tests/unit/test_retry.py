"""Whether and when to try again, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from messaging.channel import OnUnknown, Role
from messaging.outcome import Action, Outcome
from messaging.status import DeliveryStatus
from messaging.store.ledger import Claimed
from workers.retry import RetryPolicy, backoff_s, decide

S = DeliveryStatus
POLICY = RetryPolicy(max_attempts=3, backoff_min_s=1.0, backoff_max_s=60.0, on_unknown=OnUnknown.RETRY)
FIRST = Claimed(7, "address", "", 1, 0, Role.TO)


def longest(_: float, ceiling: float) -> float:
    """Jitter that always takes the whole of it."""
    return ceiling


def judge(
    action: Action,
    delivery: Claimed = FIRST,
    policy: RetryPolicy = POLICY,
    *,
    retry_after_s: float | None = None,
    throttled: bool = False,
) -> tuple[object, ...]:
    """(status, wait, refund, doubt) after an answer."""
    outcome = Outcome(action, "code", "reason", retry_after_s=retry_after_s, throttled=throttled)
    verdict = decide(delivery, outcome, policy, longest)
    return verdict.status, verdict.wait_s, verdict.refund, verdict.doubt


LAST = FIRST._replace(attempt=3)
HOLD = replace(POLICY, on_unknown=OnUnknown.HOLD)


@pytest.mark.parametrize(
    ("answer", "becomes"),
    [
        (judge(Action.ACCEPTED), (S.ACCEPTED, 0.0, 0, 0)),
        (judge(Action.REJECT_MESSAGE), (S.FAILED, 0.0, 0, 0)),
        (judge(Action.DISABLE_TARGET), (S.FAILED, 0.0, 0, 0)),
        (judge(Action.SUPPRESS_TARGET), (S.SUPPRESSED, 0.0, 0, 0)),
        (judge(Action.RETRY), (S.RETRYING, 2.0, 0, 0)),
        (judge(Action.RETRY, retry_after_s=9.0), (S.RETRYING, 9.0, 0, 0)),
        (judge(Action.RETRY, LAST), (S.FAILED, 0.0, 0, 0)),
        (judge(Action.RETRY, LAST._replace(doubts=1)), (S.UNKNOWN, 0.0, 0, 0)),
        (judge(Action.RETRY, LAST, throttled=True), (S.RETRYING, 60.0, 1, 0)),
        (judge(Action.RETRY, throttled=True, retry_after_s=99.0), (S.RETRYING, 99.0, 1, 0)),
        (judge(Action.RETRY_AFTER, LAST, retry_after_s=5.0), (S.RETRYING, 5.0, 1, 0)),
        (judge(Action.RETRY_AFTER), (S.RETRYING, 60.0, 1, 0)),
        (judge(Action.RECONNECT_RETRY, LAST), (S.RETRYING, 1.2, 1, 0)),
        (judge(Action.STOP_PROVIDER, LAST), (S.RETRYING, 30.0, 1, 0)),
        (judge(Action.QUOTA, LAST), (S.RETRYING, 30.0, 1, 0)),
        (judge(Action.AMBIGUOUS_RETRY), (S.RETRYING, 2.0, 0, 1)),
        (judge(Action.AMBIGUOUS_RETRY, LAST), (S.UNKNOWN, 0.0, 0, 1)),
        (judge(Action.AMBIGUOUS_RETRY, FIRST, HOLD), (S.UNKNOWN, 0.0, 0, 1)),
    ],
)
def test_each_kind_of_answer_has_its_own_consequence(answer: tuple[object, ...], becomes: tuple[object, ...]) -> None:
    """Not sent and try again, not sent and never, unknown: never blurred; a 429 costs no attempt."""
    assert answer == becomes


def test_every_action_is_decided() -> None:
    """No action of the vocabulary falls through to an error."""
    for action in Action:
        assert decide(FIRST, Outcome(action), POLICY, longest).target_id == FIRST.target_id


def test_waits_double_up_to_the_ceiling() -> None:
    """Exponential, capped, and at least the minimum whatever the jitter."""
    assert [backoff_s(attempt, POLICY, longest) for attempt in (1, 2, 3, 10, 1000)] == [2.0, 4.0, 8.0, 60.0, 60.0]
    assert backoff_s(5, POLICY, lambda low, _: low) == POLICY.backoff_min_s
