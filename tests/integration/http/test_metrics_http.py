"""`GET /metrics` of the API: who may read it, and that it says how things stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
import redis
from sqlalchemy import text

from messaging.http import metrics as http_metrics
from messaging.publish import Publisher
from messaging.store import standing
from messaging.store.batches import Hint
from messaging.wire import Queue, TaskName
from tests.integration.http.api import PATIENCE_S, Api, running_api

TOKEN = "a-token-for-tests"


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read a moment ago is read again, however long that takes."""
    monkeypatch.setattr(http_metrics, "FRESH_S", 0.0)
    monkeypatch.setattr(standing, "_PATIENCE_MS", round(PATIENCE_S * 1000))


@pytest.fixture(scope="module")
def guarded(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """An API with a token."""
    with running_api(postgres_url, valkey_url, metrics_token=TOKEN) as running:
        yield running


def read(api: Api, **headers: str) -> httpx.Response:
    """Ask for them."""
    return httpx.get(api.url.removesuffix("/v1") + "/metrics", headers=headers, trust_env=False, timeout=PATIENCE_S)


def value(api: Api, name: str, **labels: str) -> float | None:
    """One sample; None where there is none."""
    said = ",".join(f'{label}="{each}"' for label, each in sorted(labels.items()))
    wanted = f"heliograph_{name}{{{said}}}" if said else f"heliograph_{name}"
    for line in read(api).raise_for_status().text.splitlines():
        found = re.fullmatch(r"(\w+(?:\{[^}]*\})?) (\S+)", line)
        if found and _sorted(found[1]) == wanted:
            return float(found[2])
    return None


def _sorted(sample: str) -> str:
    name, _, labels = sample.rstrip("}").partition("{")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}" if labels else name


def test_this_machine_may_read_without_a_token(api: Api) -> None:
    """In the text format of Prometheus."""
    answer = read(api)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE heliograph_due_deliveries gauge" in answer.text


def test_who_comes_through_a_proxy_may_not(api: Api) -> None:
    """Its address would be the proxy's, or one that anybody may claim."""
    for headers in ({"x-forwarded-for": "127.0.0.1"}, {"via": "1.1 proxy"}, {"x-forwarded-proto": "https"}):
        answer = read(api, **headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "general_access_forbidden")


def test_with_a_token_only_who_bears_it_may(guarded: Api) -> None:
    """This machine included; an API key of a project is none."""
    assert read(guarded).status_code == 401
    assert read(guarded).headers["www-authenticate"] == "Bearer"
    assert read(guarded, authorization=f"Bearer {guarded.key}").status_code == 401
    assert read(guarded, authorization=f"Bearer {TOKEN}", via="1.1 proxy").status_code == 200


def test_requests_are_counted_by_operation_and_class_of_status(api: Api) -> None:
    """With how long they took."""
    before = [value(api, "http_requests_total", operation="messagingGetMessage", status=s) or 0 for s in ("4xx", "2xx")]
    for _ in range(3):
        assert api.call("GET", "/messaging/messages/nothing").status_code == 404
    after = [value(api, "http_requests_total", operation="messagingGetMessage", status=s) or 0 for s in ("4xx", "2xx")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 0]
    assert (value(api, "http_request_seconds_count", operation="messagingGetMessage") or 0) >= 3


def test_what_is_due_is_told_by_channel_and_lane_and_how_old_it_is(api: Api) -> None:
    """A batch that waits, and one whose worker was lost; what a worker has is apart."""
    with api.engine.begin() as connection:
        connection.execute(text("TRUNCATE batches, messages CASCADE"))
        connection.execute(
            text("""INSERT INTO messages (project_id, public_id, channel, lane, state, content, on_unknown, expires_at)
                    SELECT id, 'm', 'sms', 'high', 2, '{}', 'hold', now() + interval '1 day' FROM projects LIMIT 1""")
        )
        connection.execute(
            text("""INSERT INTO batches (month, id, message_id, channel, lane, state, first_target, last_target, total,
                                         accepted, due_at, lease_until)
                    SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date, b.id, m.id, 'sms', 'high', b.state,
                           1, 9, 10, b.accepted, now() - interval '100 seconds', now() + b.lease
                      FROM messages m, (VALUES (1, 0, 3, NULL::interval), (2, 1, 0, interval '-1 second'),
                                               (3, 1, 0, interval '1 hour')) AS b(id, state, accepted, lease)""")
        )
    assert value(api, "due_batches", channel="sms", lane="high") == 2
    assert value(api, "due_deliveries", channel="sms", lane="high") == 17
    assert 100 <= (value(api, "oldest_due_batch_seconds", channel="sms", lane="high") or 0) < 400
    assert value(api, "leased_batches", channel="sms", lane="high") == 1
    assert value(api, "due_batches", channel="push", lane="bulk") == 0
    assert value(api, "messages", state="processing") == 1


def test_a_message_whose_time_has_passed_is_overdue(api: Api) -> None:
    """So that somebody hears when nobody sweeps."""
    with api.engine.begin() as connection:
        connection.execute(text("TRUNCATE batches, messages CASCADE"))
        connection.execute(
            text("""INSERT INTO messages (project_id, public_id, channel, lane, state, content, on_unknown, expires_at,
                                          scheduled_at)
                    SELECT p.id, 's' || n, 'sms', 'high', 1, '{}', 'hold', now() + interval '1 day',
                           now() + n * interval '1 minute'
                      FROM (SELECT id FROM projects LIMIT 1) p, generate_series(-1, 1) n""")
        )
    assert value(api, "messages", state="scheduled") == 3
    assert value(api, "overdue_messages") == 1


def test_each_account_is_told_with_its_state(api: Api) -> None:
    """By its project, id and kind."""
    account = {"accountSid": "AC" + "0" * 32, "authToken": "nobody-may-see-this", "from": "+15005550006"}
    for name, enabled in (("works", True), ("off", False), ("broken", True), ("resting", True)):
        body = {"providerId": name, "name": name, "enabled": enabled} | account
        api.ok("POST", "/messaging/providers/twilio", body)
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE providers SET stopped_at = now() WHERE public_id IN ('broken', 'resting')"))
        connection.execute(
            text("UPDATE providers SET stopped_until = now() + interval '1 minute' WHERE public_id = 'resting'")
        )
    for name, state in (("works", "working"), ("off", "disabled"), ("broken", "stopped"), ("resting", "paused")):
        labels = {"project": api.project, "provider": name, "channel": "sms", "kind": "twilio"}
        assert value(api, "provider_state", **labels, state=state) == 1, name
    assert account["authToken"] not in read(api).text


def test_the_brokers_queues_are_told_with_their_length(api: Api, valkey_url: str) -> None:
    """Each queue of ours, the empty ones too."""
    with closing(Publisher(api.settings)) as publisher, redis.Redis.from_url(valkey_url) as broker:
        broker.delete(Queue.EMAIL)
        hint = Hint(queue=Queue.EMAIL, shadow="x", task=TaskName.DELIVER, argument="202611-1")
        assert publisher.publish([hint, hint])
        try:
            assert value(api, "queue_length", queue="messaging.email") == 2
        finally:
            broker.delete(Queue.EMAIL)
    assert value(api, "queue_length", queue="messaging.email") == 0
    assert value(api, "source_up", source="broker") == 1
    assert value(api, "source_up", source="database") == 1


def test_while_the_broker_is_away_the_rest_is_told(postgres_url: str) -> None:
    """And that it is away."""
    with running_api(postgres_url, "redis://127.0.0.1:1/0") as api:
        assert value(api, "source_up", source="broker") == 0
        assert value(api, "source_up", source="database") == 1
        assert value(api, "queue_length", queue="messaging") is None
        assert value(api, "due_batches", channel="push", lane="high") is not None
