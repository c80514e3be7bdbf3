"""What the benchmarks of the push road make of what they saw."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import campaigns, end_to_end, ledger, scaling
from benchmarks.campaigns import Expansion, Memory, Size
from benchmarks.end_to_end import Run
from benchmarks.figures import Figure
from benchmarks.http2_client import Result
from benchmarks.ledger import Cost, Statement, Swollen
from benchmarks.processes import cpu_s
from benchmarks.push_road import Campaign, in_words, middle_cpu_us, steady_per_s

CAMPAIGN = Campaign(
    targets=100_000,
    wall_s=8.0,
    first_s=0.2,
    expanded_s=1.0,
    steady_per_s=13_000.0,
    cpu_us={"push": 48.0, "postgres": 16.0, "fanout": 3.0, "server": 6.0},
)
COST = Cost(
    fanout_us=4.0, deliver_us=10.0, wal_bytes=450.0, table_bytes=210.0, index_bytes=50.0, hot=0.95, commit_us=280.0
)


def _missed(figures: list[Figure]) -> list[str]:
    return [figure.what for figure in figures if figure.met is False]


def test_the_provider_is_not_among_our_processes() -> None:
    """Its processor time is shown and not added."""
    assert CAMPAIGN.ours_us == pytest.approx(67.0)
    assert CAMPAIGN.per_s == pytest.approx(12_500.0)
    assert in_words(CAMPAIGN.cpu_us) == "push 48, postgres 16, server 6.0, fanout 3.0"


def test_each_process_has_its_own_median() -> None:
    """The middle run of one need not be that of another."""
    others = [replace(CAMPAIGN, cpu_us={"push": push, "postgres": 50.0 - push}) for push in (10.0, 20.0, 40.0)]
    assert middle_cpu_us(others) == {"push": 20.0, "postgres": 30.0}


def test_the_steady_rate_leaves_out_the_beginning_and_the_end() -> None:
    """A second until the first row, then 1,000 a second, then the last one late."""
    seen = [(0.0, 0), (1.0, 0), (2.0, 1_000), (5.0, 4_000), (10.0, 9_000), (30.0, 10_000)]
    assert steady_per_s(seen, 10_000) == pytest.approx(1_000.0)


def test_a_campaign_between_two_looks_has_a_rate_all_the_same() -> None:
    """A reduced run is over before one looks."""
    assert steady_per_s([(0.0, 0), (0.5, 200)], 200) == pytest.approx(400.0)


def test_time_of_a_process_that_has_ended_stays_with_its_parent() -> None:
    """A server's short-lived processes are not lost: vacuum, a backend that has gone."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    run = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]])"
    waits = f"{run}\nprint('done', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", waits, burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "done\n"
        assert cpu_s(parent.pid) >= 0.25
        parent.communicate("\n")


def test_the_bare_client_is_taken_off_run_by_run() -> None:
    """45 us beyond it are allowed, not more."""
    assert _missed(end_to_end.figures(end_to_end.WAYS["apns"], [Run(CAMPAIGN, 30_000.0, 28.0)])) == []
    dear = end_to_end.figures(end_to_end.WAYS["fcm"], [Run(CAMPAIGN, 60_000.0, 15.0)])
    assert _missed(dear) == ["push over FCM, quota raised, end to end, CPU beyond the bare client"]
    assert dear[2].value == pytest.approx(52.0)


def test_a_campaign_that_is_too_slow_or_grows_dearer_is_said() -> None:
    """Each goal by itself."""
    small = Size(10_000, [CAMPAIGN], [Result(30_000.0, 28.0)])
    large = Size(1_000_000, [replace(CAMPAIGN, targets=1_000_000, wall_s=80.0)], small.bare)
    memory = Memory(fanout_small=110.0, fanout_large=112.0, push=[128.0, 129.0])
    expansions = [Expansion(150_000.0, 600_000.0)]
    assert _missed(campaigns.figures([small, large], expansions, memory)) == []
    slow = replace(CAMPAIGN, wall_s=121.0, first_s=0.4, expanded_s=13.0, cpu_us={"push": 90.0})
    middle = Size(100_000, [CAMPAIGN], small.bare)
    late = Size(1_000_000, [slow], small.bare)
    fat = Memory(fanout_small=110.0, fanout_large=131.0, push=[128.0, 151.0])
    assert len(_missed(campaigns.figures([small, middle, late], [Expansion(99_000.0, 600_000.0)], fat))) == 8


def test_the_ledger_is_judged_by_time_disk_and_growth() -> None:
    """Sizes per delivery, indexes apart."""
    statements = [Statement("claim", 400, 0.1, 9.0, 95.0), Statement("record", 400, 0.1, 3.0, 120.0)]
    found = ledger.of_kind("apns", [COST], statements)
    assert _missed(found) == []
    assert found[1].value == pytest.approx(12.2)
    assert len(_missed(ledger.of_kind("fcm", [replace(COST, fanout_us=6.0, index_bytes=150.0)], statements))) == 3
    sound, swollen = Swollen(100_000, 270.0, 0.09), Swollen(500_000, 300.0, 0.2)
    assert _missed(ledger.of_growth([sound, sound, replace(sound, deliveries=500_000)])) == []
    assert len(_missed(ledger.of_growth([sound, sound, swollen]))) == 2


def test_more_workers_may_cost_a_tenth_more() -> None:
    """The push workers together, and all processes."""
    dearer = replace(CAMPAIGN, cpu_us={**CAMPAIGN.cpu_us, "push": 52.0})
    much = replace(CAMPAIGN, cpu_us={**CAMPAIGN.cpu_us, "push": 60.0})
    assert _missed(scaling.figures({1: [CAMPAIGN], 4: [dearer]}, 28.0, 30_000.0)) == []
    assert len(_missed(scaling.figures({1: [CAMPAIGN], 4: [much]}, 28.0, 30_000.0))) == 2
