"""The processes of a worker count together, whoever of them dies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_SCRIPT = """
import os, signal, sys
from pathlib import Path
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from workers.metrics_files import places

places.use(Path(sys.argv[1]))
REGISTRY = CollectorRegistry()


def child(number, count, killed=False):
    pid = os.fork()
    if not pid:
        places.take(number)
        Counter("sent", "x", ["kind"], registry=REGISTRY).labels("apns").inc(count)
        Gauge("in_hand", "x", registry=REGISTRY, multiprocess_mode="livesum").inc(count)
        Histogram("took_seconds", "x", registry=REGISTRY, buckets=(1, 10)).observe(count)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def told(children):
    registry = places.registry(children)
    return [
        registry.get_sample_value("sent_total", {"kind": "apns"}),
        registry.get_sample_value("in_hand"),
        registry.get_sample_value("took_seconds_count"),
        registry.get_sample_value("took_seconds_bucket", {"le": "10.0"}),
    ]


child(0, 5)
child(1, 20)
print(told([0, 1]))
child(0, 7)  # takes the place of the first, which had 5 in hand when it died
print(told([0, 1]))
print(told([1]))
print(len(list(Path(sys.argv[1]).glob("*/counter_*"))))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sequence[str]]:
    """The folder in which a worker kept its metrics, and what it said."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "heliograph-metrics-2147483646-left").mkdir()
    (folder / f"heliograph-metrics-{os.getpid()}-alive").mkdir()
    (folder / "somebody-elses").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)], capture_output=True, text=True, timeout=60, check=True
    )
    return folder, done.stdout.splitlines()


def test_counters_and_histograms_are_those_of_all_processes(told: tuple[Path, Sequence[str]]) -> None:
    """Though each of them was killed."""
    assert told[1][0] == "[25.0, 25.0, 2.0, 1.0]"


def test_who_takes_a_dead_ones_place_counts_on(told: tuple[Path, Sequence[str]]) -> None:
    """Nothing counted is forgotten, and no file is added; what the dead one had in hand, nobody has."""
    assert told[1][1] == "[32.0, 27.0, 3.0, 2.0]"
    assert told[1][3] == "2"


def test_what_only_the_dead_had_in_hand_is_gone(told: tuple[Path, Sequence[str]]) -> None:
    """Where nobody took the place."""
    assert told[1][2] == "[32.0, 20.0, 3.0, 2.0]"


def test_files_are_removed_at_the_end_and_those_of_the_killed_at_the_next_beginning(
    told: tuple[Path, Sequence[str]],
) -> None:
    """Those of a living worker, and what is not ours, stay."""
    assert {path.name for path in told[0].iterdir()} == {
        f"heliograph-metrics-{os.getpid()}-alive",
        "somebody-elses",
    }
