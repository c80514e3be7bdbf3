"""The question by which KEDA scales a pool, as the chart asks it, of a real database."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.deploy.helm import EVERYTHING, Helm
from tests.integration.road import Road


@pytest.fixture(scope="module")
def queries() -> dict[str, str]:
    """The query of each pool that is scaled."""
    pytest.importorskip("helm_python", reason="there is no build of Helm's engine for this processor")
    with Helm() as helm:
        scaled = [each for each in helm.render(EVERYTHING) if each["kind"] == "ScaledObject"]
    return {
        each["metadata"]["name"].removeprefix("demo-heliograph-"): each["spec"]["triggers"][0]["metadata"]["query"]
        for each in scaled
    }


def counted(road: Road, query: str) -> int:
    """What KEDA would be told."""
    with road.engine.begin() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_it_counts_what_is_due_or_under_way_of_its_own_channel_and_lane(road: Road, queries: dict[str, str]) -> None:
    """And nobody's else; what is done counts no more."""
    ids = road.add_push_targets(50, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    waiting = len(road.batches())
    assert waiting
    expected = dict.fromkeys(queries, 0) | {"push": waiting}
    assert {pool: counted(road, query) for pool, query in queries.items()} == expected
    road.execute("UPDATE batches SET state = 1, lease_until = now() + interval '1 minute'")
    assert counted(road, queries["push"]) == waiting
    road.execute("UPDATE batches SET state = 0, lease_until = NULL")
    road.deliver()
    assert counted(road, queries["push"]) == 0


@pytest.mark.parametrize(
    "held",
    [
        "UPDATE messages SET state = 3",
        "UPDATE providers SET enabled = false",
        "UPDATE providers SET stopped_at = now()",
        "UPDATE batches SET due_at = now() + interval '1 hour'",
    ],
    ids=["paused", "disabled", "stopped", "later"],
)
def test_what_no_replica_could_send_counts_for_nothing(road: Road, queries: dict[str, str], held: str) -> None:
    """A paused campaign of a million keeps no pod waiting."""
    road.add_topic("news", road.add_push_targets(50, provider=road.add_provider("apns", "apns")))
    road.expand(road.send(topics=["news"]).message_id)
    assert counted(road, queries["push"]) > 0
    road.execute(held)
    assert counted(road, queries["push"]) == 0


def test_it_reads_the_indexes_of_what_is_open(road: Road, queries: dict[str, str]) -> None:
    """Batches that are done, nearly all there are, are never looked at; and it stops counting at some number."""
    with road.engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(connection.execute(text(f"EXPLAIN {queries['push']}")).scalars())
    assert "Seq Scan on batches" not in plan, plan
    assert "due_at_idx" in plan or "batches_due" in plan, plan
    assert "lease_until" in plan, plan
    assert "Limit" in plan, plan
