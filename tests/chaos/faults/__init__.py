"""The fault table: one module a family, one `Fault` an entry, in the order of its numbers."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.faults import (
    broker,
    control,
    database,
    limits,
    neighbours,
    partition,
    poison,
    providers,
    receipts,
    repeated,
    schedulers,
    workers,
)

FAULTS: tuple[Fault, ...] = (
    *workers.FAULTS,
    *broker.FAULTS,
    *database.FAULTS,
    *repeated.FAULTS,
    *poison.FAULTS,
    *providers.FAULTS,
    *schedulers.FAULTS,
    *control.FAULTS,
    *neighbours.FAULTS,
    *receipts.FAULTS,
    *limits.FAULTS,
    *partition.FAULTS,
)
