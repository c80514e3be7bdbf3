"""The fault table in small: what `make chaos` does with 100,000 recipients, with a few thousand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.field import Field, field_of

pytestmark = pytest.mark.timeout(900)

RECIPIENTS = 1_500
QUICK = ("F1c", "F1h", "F3", "F6", "F9", "F10", "F15", "F16b", "F18a")
"""One of each kind; what the acceptance tests hurt as well, and what takes a minute, is left to `make chaos`."""

_LEASE_S = 8
"""Some faults must double nothing, which a machine that stands still for longer than a lease does by itself."""


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """The stack that all of them hurt, one after the other."""
    with field_of(RECIPIENTS, seed=1, env={"MESSAGING_LEASE_S": str(_LEASE_S)}) as made:
        yield made


@pytest.mark.parametrize("number", QUICK)
def test_every_promise_is_kept(field: Field, number: str) -> None:
    """Everybody has one row and one end, nothing called accepted was never sent, and what came twice is admitted."""
    (fault,) = (each for each in FAULTS if each.number == number)
    verdict = fault.run(field)
    assert not verdict.faults, f"{fault.title}: {verdict}"
