"""`python -m tests.chaos`: the fault table on this machine, one line a fault; fails unless every promise was kept."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import pytest

from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS
from tests.chaos.field import Field, field_of
from tests.chaos.oracle import Verdict
from tests.chaos.skipped import SKIPPED

HEADER = (
    f"{'':5} {'':42} {'recipients':>10} {'lost':>5} {'doubled':>8} {'most':>5}"
    f" {'doubts':>7} {'recovery':>9} {'took':>7}  sums"
)


def line(fault: Fault, verdict: Verdict) -> str:
    """One line of the table."""
    recovery = "" if verdict.recovery_s is None else f"{verdict.recovery_s:.1f} s"
    return (
        f"{fault.number:5} {fault.title[:42]:42} {verdict.recipients:>10,} {verdict.lost:>5} {verdict.doubled:>8}"
        f" {verdict.most:>5} {verdict.admitted:>7} {recovery:>9} {verdict.took_s:>5.0f} s "
        f" {'exact' if verdict.exact else 'WRONG'}" + (f"  {verdict.note}" if verdict.note else "")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the table; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="numbers, as F1a,F4: these and what begins with them")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further fault after so long")
    options = parser.parse_args(arguments)
    wanted = tuple(filter(None, options.only.split(",")))
    chosen = [fault for fault in FAULTS if not wanted or fault.number.startswith(wanted)]
    print(f"seed {options.seed}, {options.recipients:,} recipients over push, email and SMS")
    print(HEADER, flush=True)
    started, broken, left = time.monotonic(), 0, list(chosen)
    with _Fields(options.recipients, options.seed) as fields:
        for fault in chosen:
            if time.monotonic() - started > options.minutes * 60:
                break
            left.remove(fault)
            try:
                verdict = fields.run(fault)
            except pytest.fail.Exception as error:
                print(f"{fault.number:5} {fault.title[:42]:42}  BROKEN: {error}", flush=True)
                broken += 1
                continue
            print(line(fault, verdict), flush=True)
            for wrong in verdict.faults:
                print(f"      BROKEN: {wrong}", flush=True)
            broken += not verdict.kept
    for number, reason in SKIPPED.items():
        if not wanted:
            print(f"{number:5} not run: {reason}")
    for fault in left:
        print(f"{fault.number:5} not run: the time was up")
    print(
        f"{len(chosen) - len(left) - broken} of {len(chosen)} kept every promise, in {time.monotonic() - started:.0f} s"
    )
    return 1 if broken or left else 0


class _Fields:
    """The stack that faults share; one with settings of its own gets a stack of its own."""

    def __init__(self, recipients: int, seed: int) -> None:
        self._recipients = recipients
        self._seed = seed
        self._open = ExitStack()
        self._common: Field | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, fault: Fault) -> Verdict:
        """The verdict; a fault that does not even come about leaves its stack to nobody."""
        if fault.env:
            with field_of(self._recipients, seed=self._seed, env=fault.env) as own:
                return fault.run(own)
        if self._common is None:
            self._common = self._open.enter_context(field_of(self._recipients, seed=self._seed))
        try:
            return fault.run(self._common)
        except pytest.fail.Exception:
            self._common = None
            self._open.close()
            raise


if __name__ == "__main__":
    sys.exit(main())
