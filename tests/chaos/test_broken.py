"""The judge is not asleep: builds that are broken on purpose are found out, each by the fault that is meant to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.field import field_of

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Broken:
    """A build without one promise."""

    promise: str
    build: str
    fault: str
    """The entry of the fault table that must find it."""
    words: str
    """What the judge says then."""
    recipients: int = 600
    patience_s: float = 240.0
    """Shorter where something never ends: that is what the judge must say."""


BROKEN = (
    Broken("P1", "acks-early", "F1h", "no row", patience_s=20),
    Broken("P2", "no-sweep", "F1b", "not ended", patience_s=20),
    Broken("P3", "takes-for-sent", "F1b", "never at the provider"),
    Broken("P3", "no-doubt", "F1c", "does not call them doubtful", recipients=4000),
    Broken("P3", "no-lease", "F6", "more than once"),
    Broken("P4", "new-id-each-time", "F9", "more than one id"),
    Broken("P5", "throttling-counts", "F8a", "attempt"),
    Broken("P6", "deaf", "F13a", "left although"),
    Broken("P7", "early", "F12a", "before its time"),
    Broken("P8", "patient-with-poison", "F7", "not ended", patience_s=20),
    Broken("P9", "told-again", "F15", "delivered twice"),
)


@pytest.mark.parametrize(
    "broken",
    [pytest.param(each, marks=[] if each.build == "new-id-each-time" else [pytest.mark.slow]) for each in BROKEN],
    ids=lambda broken: f"{broken.promise}-{broken.build}",
)
def test_a_broken_build_is_found_out(broken: Broken) -> None:
    """With it the same fault ends in a finding, and in the right one."""
    (fault,) = (each for each in FAULTS if each.number == broken.fault)
    with field_of(broken.recipients, seed=1, broken=broken.build, patience_s=broken.patience_s, env=fault.env) as field:
        verdict = fault.run(field)
    assert any(broken.words in found for found in verdict.faults), verdict
