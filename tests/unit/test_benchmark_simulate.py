"""From the cost of a delivery to what a day needs: arithmetic that can be checked, and a day that can be repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import simulate, simulated_day
from benchmarks.costs import MEASURED, Costs, measured
from benchmarks.simulate import Demand, plan, table
from benchmarks.simulated_day import HOURS, Shape, percentile
from messaging.channel import Channel

COSTS = Costs(
    worker_us=dict.fromkeys(Channel, 100.0),
    fanout_us=10.0,
    postgres_us=20.0,
    ledger_bytes=350.0,
    wal_bytes=500.0,
)
PUSHES = Demand(per_day=86_400_000, peak=10, push=1.0, email=0.0, sms=0.0, fcm=1.0, codes=0.0)
SHAPE = Shape(
    campaign_deliveries=1_000_000,
    campaigns=20,
    codes=100_000,
    bulk_per_s=10_000,
    quota_per_s=1_000_000,
    code_processes=1,
    code_us=2_000,
)


def test_a_plan_is_the_cost_times_the_peak() -> None:
    """1,000 a second on the mean, 10,000 at the peak: one core's work at 100 us each, and room beside it."""
    made = plan(PUSHES, COSTS)
    assert made.bulk_workers[Channel.PUSH] == 2
    assert made.postgres_cores == pytest.approx(10_000 * 20e-6 / simulate.SERVERS_BUSY)
    assert made.ledger_gb_per_day == pytest.approx(30.24)
    assert made.wal_mb_per_s == pytest.approx(5.0)
    assert made.fcm_quotas == pytest.approx(1.0)


def test_every_part_has_at_least_one_process() -> None:
    """Ten deliveries a day need somebody too."""
    made = plan(Demand(per_day=10), COSTS)
    assert set(made.bulk_workers.values()) == {1}
    assert made.code_workers == made.intake_workers == made.fanout_workers == made.apns_connections == 1


def test_messages_to_one_target_cost_more_than_those_of_a_campaign() -> None:
    """They pay for a task each."""
    few, many = (plan(replace(PUSHES, codes=share), COSTS) for share in (0.0, 0.5))
    assert many.postgres_cores > few.postgres_cores
    assert many.broker_tasks_per_s > 100 * few.broker_tasks_per_s


def test_the_table_has_a_column_for_each_number_of_deliveries() -> None:
    """As wide in every row."""
    demands = [replace(PUSHES, per_day=size) for size in (1_000_000, 1_000_000_000)]
    lines = table([(demand, plan(demand, COSTS)) for demand in demands]).splitlines()
    assert lines[0] == "| deliveries a day | 1,000,000 | 1,000,000,000 |"
    assert {line.count("|") for line in lines} == {4}


def test_costs_are_those_of_the_last_run(tmp_path: Path) -> None:
    """Processes of a kind are added up; what was not measured keeps its default."""
    series = {"cpu_us_by_process": {"push0": 30.0, "push1": 31.0, "postgres": 14.0}}
    (tmp_path / "end_to_end.json").write_text(json.dumps({"series": series}))
    one = [{"what": "in a burst, push-high", "value": 2_000.0}, {"what": "in a burst, intake", "value": 900.0}]
    (tmp_path / "single.json").write_text(json.dumps({"figures": one}))
    (tmp_path / "ledger.json").write_text(
        json.dumps({"figures": [{"what": "ledger, as over FCM, disk a delivery", "value": 310.0}]})
    )
    found = measured(tmp_path)
    assert found.ledger_bytes == 310.0
    assert (found.single_worker_us, found.single_intake_us) == (2_000.0, 900.0)
    assert found.worker_us[Channel.PUSH] == 61.0
    assert found.postgres_us == 14.0
    assert found.fanout_us == MEASURED.fanout_us
    assert measured(tmp_path / "nowhere") == MEASURED


def test_a_day_is_the_same_for_the_same_seed() -> None:
    """And another for another."""
    assert simulated_day.simulate(SHAPE, seed=3) == simulated_day.simulate(SHAPE, seed=3)
    assert simulated_day.simulate(SHAPE, seed=3) != simulated_day.simulate(SHAPE, seed=4)


def test_every_delivery_leaves_and_none_sooner_than_the_pool_can() -> None:
    """A campaign takes at least its size over the pool's rate; together they are all that was asked for."""
    found = simulated_day.simulate(SHAPE, seed=1)
    assert len(found.campaigns) == SHAPE.campaigns
    assert sum(campaign.size for campaign in found.campaigns) == pytest.approx(1_000_000, abs=20)
    assert all(campaign.took_s >= int(campaign.size / SHAPE.bulk_per_s) for campaign in found.campaigns)


def test_a_quota_below_the_pool_is_what_limits() -> None:
    """Campaigns take as long as the quota makes them."""
    wide, narrow = (simulated_day.simulate(replace(SHAPE, quota_per_s=quota), seed=1) for quota in (1e6, 500.0))
    assert wide.quota_seconds == 0
    assert narrow.quota_seconds > 1000
    assert max(c.took_s for c in narrow.campaigns) > 5 * max(c.took_s for c in wide.campaigns)


def test_a_quota_that_codes_alone_fill_is_refused() -> None:
    """It would never end."""
    with pytest.raises(ValueError, match="nothing is left for campaigns"):
        simulated_day.simulate(replace(SHAPE, quota_per_s=1.0), seed=1)


def test_codes_wait_longer_the_busier_their_lane_is() -> None:
    """A lane that is almost full has a long tail; one that is idle has the time of the work alone."""
    idle, full = (simulated_day.simulate(replace(SHAPE, codes=codes), seed=1) for codes in (10_000, 20_000_000))
    assert idle.code_p50_ms == pytest.approx(2.0)
    assert full.code_p99_ms > 5 * idle.code_p99_ms
    assert full.busiest_code_process > 0.5


def test_the_hours_of_a_day_add_up_to_it() -> None:
    """Their mean is one."""
    assert len(HOURS) == 24
    assert sum(HOURS) / 24 == pytest.approx(1.0, abs=0.001)


def test_a_percentile_is_a_value_that_was_there() -> None:
    """The nearest rank."""
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.99) == 4.0
    assert percentile([], 0.5) == 0.0


def test_campaigns_under_way_share_the_pool_evenly() -> None:
    """Two of the same size end together, and a small one beside them does not wait for them."""
    sent = [(0.0, 100_000), (0.0, 100_000), (2.0, 1_000)]
    (one, other, small), limited = simulated_day._bulk(replace(SHAPE, codes=0), sent)
    assert one.last_s == other.last_s == pytest.approx(20, abs=1)
    assert small.took_s <= 1
    assert limited == 0
