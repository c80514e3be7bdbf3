"""`make bench`: every benchmark, one after the other, in one run on one machine."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "benchmarks.http2_client",
    "benchmarks.end_to_end",
    "benchmarks.providers",
    "benchmarks.receipts",
    "benchmarks.bulk_subscribe",
    "benchmarks.http_create",
)

for name in BENCHMARKS:
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, "-m", name], check=True)
