"""`make bench`: every benchmark, one after the other, in one run on one machine, then the report.

    python -m benchmarks [NAME ...]

A benchmark that fails is named at the end and the others run all the same; what it measured last time stays in the
report, with that day's date.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "peers",
    "end_to_end",
    "campaigns",
    "ledger",
    "scaling",
    "latency",
    "single",
    "providers",
    "http_create",
    "receipts",
    "bulk_subscribe",
)
_MORE = {"campaigns": ("--largest",)}
"""Further arguments."""


def main(names: list[str]) -> int:
    """The number of benchmarks that failed."""
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"benchmarks: no such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(BENCHMARKS)}.")
    failed = []
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *_MORE.get(name, ())], check=False).returncode:
            failed.append(name)
    print("== report", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.report"], check=True)
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}. Their figures in the report are older.", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
