"""Whether and when to try again: pure, so that a table can test it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from messaging.channel import OnUnknown
from messaging.outcome import Action, Outcome
from messaging.status import DeliveryStatus
from messaging.store.ledger import Claimed, Verdict

_S = DeliveryStatus

_THROTTLED_S = 60.0
"""Pause of a throttled account whose provider names no delay."""
_THROTTLED_STEPS = 4
"""A throttled recipient waits as if it had failed so many times more: attempts that would lengthen it don't count."""
_STOPPED_S = 30.0
"""What a stopped account refused waits at least; it is not hinted until the account works again."""
_RECONNECT_S = 0.2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart."""

    max_attempts: int
    backoff_min_s: float
    backoff_max_s: float
    on_unknown: OnUnknown


def backoff_s(attempt: int, policy: RetryPolicy, uniform: Callable[[float, float], float]) -> float:
    """Exponential with full jitter: between the minimum and min * 2^(attempt-1), capped."""
    ceiling = min(policy.backoff_max_s, policy.backoff_min_s * 2.0 ** min(attempt, 30))
    return uniform(min(policy.backoff_min_s, ceiling), ceiling)


def decide(  # noqa: C901, PLR0911, PLR0912  one branch per kind of answer reads as the table it is
    delivery: Claimed, outcome: Outcome, policy: RetryPolicy, uniform: Callable[[float, float], float]
) -> Verdict:
    """What becomes of `delivery` after `outcome`."""
    if outcome.action is Action.ACCEPTED:  # nearly all of them
        return Verdict(delivery.target_id, _S.ACCEPTED, provider_message_id=outcome.provider_message_id)
    code, reason = outcome.code or None, outcome.reason or None

    def end(status: DeliveryStatus, *, doubt: int = 0) -> Verdict:
        return Verdict(
            delivery.target_id,
            status,
            doubt=doubt,
            error_code=code,
            error=reason,
            provider_message_id=outcome.provider_message_id,
        )

    def again(wait_s: float, *, refund: int = 0, doubt: int = 0) -> Verdict:
        return Verdict(delivery.target_id, _S.RETRYING, wait_s, refund, doubt, code, reason)

    match outcome.action:
        case Action.REJECT_MESSAGE | Action.DISABLE_TARGET:
            return end(_S.FAILED)
        case Action.SUPPRESS_TARGET:
            return end(_S.SUPPRESSED)
        case Action.RETRY_AFTER:
            return again(outcome.retry_after_s or _THROTTLED_S, refund=1)
        case Action.STOP_PROVIDER if outcome.one_route:
            if delivery.attempt >= policy.max_attempts:
                return end(_S.UNKNOWN if delivery.doubts else _S.FAILED)
            return again(backoff_s(delivery.attempt, policy, uniform))
        case Action.STOP_PROVIDER | Action.QUOTA | Action.REFRESH_AUTH_RETRY:
            return again(_STOPPED_S, refund=1)
        case Action.RECONNECT_RETRY:
            return again(_RECONNECT_S + uniform(0.0, policy.backoff_min_s), refund=1)
        case Action.AMBIGUOUS_RETRY:
            if policy.on_unknown is OnUnknown.HOLD or delivery.attempt >= policy.max_attempts:
                return end(_S.UNKNOWN, doubt=1)
            return again(backoff_s(delivery.attempt, policy, uniform), doubt=1)
        case Action.RETRY if outcome.throttled:
            pause_s = backoff_s(delivery.attempt + _THROTTLED_STEPS, policy, uniform)
            return again(max(outcome.retry_after_s or 0.0, pause_s), refund=1)
        case _:
            if delivery.attempt >= policy.max_attempts:
                # an earlier attempt may have arrived: then we do not know, and say so
                return end(_S.UNKNOWN if delivery.doubts else _S.FAILED)
            return again(max(outcome.retry_after_s or 0.0, backoff_s(delivery.attempt, policy, uniform)))
