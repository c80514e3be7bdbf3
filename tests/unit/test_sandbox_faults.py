"""Faults on demand: rates, their determinism, and what the control address refuses."""

from collections import Counter

import pytest

from messaging.local.sandbox.faults import Dice, Fault, FaultPlan, Faults, FaultsError, parse_faults

RECIPIENTS = [f"token-{number}" for number in range(4000)]


def test_a_seed_decides_alone_whatever_the_order_of_arrival() -> None:
    """Two runs with one seed treat each recipient alike, even when requests arrive in another order."""
    faults = Faults(rate_429=0.2, rate_500=0.2, seed=7)
    one, two = Dice("apns", faults), Dice("apns", faults)
    forward = {name: [one.throw(name) for _ in range(2)] for name in RECIPIENTS}
    backward = {name: [two.throw(name) for _ in range(2)] for name in reversed(RECIPIENTS)}
    assert forward == backward


def test_another_seed_decides_otherwise() -> None:
    """A different seed picks different recipients."""
    one, two = (Dice("apns", Faults(rate_429=0.5, seed=seed)) for seed in (1, 2))
    assert [one.throw(name) for name in RECIPIENTS] != [two.throw(name) for name in RECIPIENTS]


def test_rates_are_shares_of_requests() -> None:
    """Each fault meets about the share of requests it was given."""
    dice = Dice("fcm", Faults(rate_429=0.1, rate_503=0.2, never_answer_rate=0.3))
    met = Counter(dice.throw(name) for name in RECIPIENTS)
    shares = {fault: count / len(RECIPIENTS) for fault, count in met.items()}
    assert shares[Fault.THROTTLED] == pytest.approx(0.1, abs=0.03)
    assert shares[Fault.UNAVAILABLE] == pytest.approx(0.2, abs=0.03)
    assert shares[Fault.NEVER_ANSWER] == pytest.approx(0.3, abs=0.03)
    assert shares[Fault.NONE] == pytest.approx(0.4, abs=0.03)


def test_a_retry_is_decided_anew() -> None:
    """Under a rate below 1 some recipients that failed succeed when tried again."""
    dice = Dice("smtp", Faults(rate_500=0.5))
    failed = [name for name in RECIPIENTS if dice.throw(name) is Fault.INTERNAL]
    second = Counter(dice.throw(name) for name in failed)
    assert second[Fault.NONE] > 0
    assert second[Fault.INTERNAL] > 0


def test_setting_faults_again_replays_them() -> None:
    """The same faults put in force twice give the same sequence twice."""
    plan = FaultPlan()
    runs = []
    for _ in range(2):
        plan.set("twilio", Faults(rate_429=0.5, seed=3))
        runs.append([plan.dice("twilio").throw(name) for name in RECIPIENTS])
    assert runs[0] == runs[1]


def test_cleared_faults_are_gone() -> None:
    """After clearing, nobody meets a fault."""
    plan = FaultPlan()
    plan.set("apns", Faults(rate_500=1))
    plan.clear()
    assert plan.dice("apns").throw("x") is Fault.NONE


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"protocol": "fax"}, "use one of"),
        ({"protocol": "apns", "rate_418": 1}, "unknown: rate_418"),
        ({"protocol": "apns", "rate_429": 1.5}, "between 0 and 1"),
        ({"protocol": "apns", "rate_429": 0.6, "rate_500": 0.6}, "add up to 1.2"),
        ({"protocol": "apns", "rate_429": "much"}, "must be a number"),
        ({"protocol": "apns", "rate_429": True}, "must be a number"),
        ({"protocol": "apns", "goaway_after": 0}, "at least 1"),
        ({"protocol": "apns", "goaway_after": 1.5}, "whole number"),
        ({"protocol": "apns", "delay_ms": -1}, "negative"),
    ],
)
def test_nonsense_is_refused_by_name(body: dict[str, object], said: str) -> None:
    """Faults that can't be are refused with the field and what it takes."""
    with pytest.raises(FaultsError, match=said):
        parse_faults(body)


def test_every_documented_field_is_taken() -> None:
    """The fields of a control request arrive as they were sent."""
    body = {"protocol": "apns", "rate_429": 0.1, "retry_after_s": 2, "delay_ms": 5, "goaway_after": None, "seed": 9}
    assert parse_faults(body) == ("apns", Faults(rate_429=0.1, retry_after_s=2, delay_ms=5, seed=9))
