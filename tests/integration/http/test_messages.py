"""Messages over HTTP: sent, scheduled, drafted, changed, deleted, with the real road behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.store import projects, users
from tests.integration.http.api import Api, query, running_api
from tests.integration.road import Road

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


EMAIL = {"subject": "x", "content": "x", "users": ["ada"]}


@pytest.fixture(scope="module")
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Providers, 24 push targets in a topic, one email and one SMS target."""
    made = Road(postgres_url, valkey_url)
    made.add_provider("apns", "apns")
    made.add_provider("grid", "sendgrid")
    made.add_provider("sms", "twilio")
    made.add_topic("news", made.add_push_targets(24))
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(road: Road, postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The API on that project, with a user who has an email address and a phone number."""
    assert road.project_id
    with running_api(postgres_url, valkey_url, small_audience=10) as running:
        with running.engine.begin() as connection:
            number = projects.find(connection, running.project)
            addresses = {"email": "ada@example.com", "phone": "+14155550100"}
            users.create(connection, running.vault, number, user_id="ada", name="Ada", **addresses)
        yield running


@pytest.fixture(autouse=True)
def clean(road: Road) -> Iterator[None]:
    """The provider accepts, and nothing is left open."""
    road.provider.answer = lambda _: ACCEPTED
    yield
    road.execute("UPDATE batches SET state = 2")
    road.execute("UPDATE messages SET state = 6, finished_at = now() WHERE finished_at IS NULL")


def created(api: Api, channel: str, **body: Any) -> dict[str, Any]:
    """A new message of ours to Ada, or to whom `body` says."""
    content: dict[str, Any] = {
        "push": {"title": "Hi", "body": "there"},
        "email": {"subject": "Hi", "content": "there"},
        "sms": {"content": "Hi"},
    }[channel]
    audience = (
        {} if {"topics", "users", "targets", "emails", "draft", "addresses"} & body.keys() else {"users": ["ada"]}
    )
    made: dict[str, Any] = api.ok(
        "POST", f"/messaging/messages/{channel}", {"messageId": "unique()"} | content | audience | body
    )
    return made


def go(road: Road, api: Api, message: dict[str, Any]) -> dict[str, Any]:
    """The message after the whole road."""
    road.expand(road.view(message["$id"]).number)
    road.deliver()
    road.sweep()
    after: dict[str, Any] = api.ok("GET", f"/messaging/messages/{message['$id']}")
    return after


def test_a_push_to_a_topic_reaches_everyone_and_the_ledger_says_so(road: Road, api: Api) -> None:
    """The answer comes before anything is sent; the totals afterwards are true."""
    made = created(api, "push", topics=["news"], data={"order": "7"})
    assert (made["status"], made["state"], made["deliveredTotal"]) == ("processing", "processing", 0)
    assert made["data"] == {"title": "Hi", "body": "there", "data": {"order": "7"}, "priority": "high"}
    after = go(road, api, made)
    assert (after["status"], after["state"], after["deliveredTotal"]) == ("sent", "sent", 24)
    assert after["totals"] == {"accepted": 24}
    assert after["deliveredAt"] is not None
    assert after["deliveryErrors"] == []
    ledger = api.ok("GET", f"/messaging/messages/{made['$id']}/deliveries", queries=(query("limit", None, 5),))
    assert ledger["total"] == 24
    assert len(ledger["deliveries"]) == 5
    first = ledger["deliveries"][0]
    assert (first["status"], first["attempts"], first["providerId"]) == ("accepted", 1, "apns")
    assert all(first[name] for name in ("acceptedAt", "providerMessageId", "identifier"))


def test_the_ledger_is_paged_and_filtered_without_a_gap(road: Road, api: Api) -> None:
    """Page after page by cursor: every target once."""
    road.provider.answer = lambda r: Outcome(Action.REJECT_MESSAGE, "Bad") if r.target_id % 3 == 0 else ACCEPTED
    made = created(api, "push", topics=["news"])
    after = go(road, api, made)
    assert (after["status"], after["state"]) == ("sent", "partially_sent")
    seen: list[str] = []
    cursor: tuple[str, ...] = ()
    while True:
        queries = (query("limit", None, 7), *cursor)
        page = api.ok("GET", f"/messaging/messages/{made['$id']}/deliveries", queries=queries)["deliveries"]
        seen += [each["targetId"] for each in page]
        if len(page) < 7:
            break
        cursor = (query("cursorAfter", None, page[-1]["$id"]),)
    assert len(seen) == len(set(seen)) == 24
    failed = api.ok(
        "GET",
        f"/messaging/messages/{made['$id']}/deliveries",
        queries=(query("equal", "status", "failed"), query("equal", "errorCode", "Bad")),
    )
    assert failed["total"] == len(failed["deliveries"]) == 8
    assert len(after["deliveryErrors"]) == 8
    assert all(error.startswith("Failed sending to target ") for error in after["deliveryErrors"])


def test_failed_deliveries_are_sent_again_and_nothing_else(road: Road, api: Api) -> None:
    """By reason, where one is named; the sums stay exact."""
    road.provider.answer = lambda r: Outcome(Action.REJECT_MESSAGE, f"Code{r.target_id % 2}")
    made = created(api, "push", topics=["news"])
    assert go(road, api, made)["state"] == "failed"
    road.provider.received.clear()
    road.provider.answer = lambda _: ACCEPTED
    retried = api.ok("POST", f"/messaging/messages/{made['$id']}/retry-failed", {"errorCodes": ["Code1"]})
    assert (retried["retried"], retried["state"]) == (12, "processing")
    after = go(road, api, made)
    assert after["totals"] == {"accepted": 12, "failed": 12}
    assert len(road.provider.received) == 12
    assert all(r.target_id % 2 == 1 for r in road.provider.received)
    assert api.ok("POST", f"/messaging/messages/{made['$id']}/retry-failed", {})["retried"] == 12
    assert go(road, api, made)["totals"] == {"accepted": 24}
    assert api.ok("POST", f"/messaging/messages/{made['$id']}/retry-failed")["retried"] == 0


def test_a_message_without_a_provider_begins_when_there_is_one(road: Road, api: Api) -> None:
    """It failed as a whole; retrying it is all it takes."""
    road.execute("UPDATE providers SET enabled = false WHERE channel = 'sms'")
    made = created(api, "sms")
    road.execute("UPDATE providers SET enabled = true WHERE channel = 'sms'")
    assert (made["status"], made["deliveredAt"]) == ("failed", None)
    assert "No enabled sms provider found" in made["deliveryErrors"][0]
    assert api.ok("POST", f"/messaging/messages/{made['$id']}/retry-failed", {})["state"] == "processing"
    after = go(road, api, made)
    assert (after["status"], after["deliveredTotal"], after["deliveryErrors"]) == ("sent", 1, [])


def test_a_message_is_paused_resumed_and_cancelled(road: Road, api: Api) -> None:
    """Each state shows as one of Appwrite's five, and exactly in `state`; nothing is sent of what was cancelled."""
    road.provider.received.clear()
    made = created(api, "push", topics=["news"])
    path = f"/messaging/messages/{made['$id']}"
    paused = api.ok("POST", f"{path}/pause")
    assert (paused["status"], paused["state"]) == ("processing", "paused")
    assert api.ok("POST", f"{path}/resume")["state"] == "processing"
    cancelled = api.ok("POST", f"{path}/cancel", {})
    assert (cancelled["status"], cancelled["state"]) == ("failed", "cancelled")
    assert cancelled["deliveryErrors"] == ["Cancelled."]
    assert api.refused("POST", f"{path}/resume") == (400, "message_already_failed")
    assert go(road, api, made)["state"] == "cancelled"
    assert road.provider.received == []


def test_markup_makes_an_email_html_unless_the_caller_says_no(api: Api) -> None:
    """An explicit false is obeyed."""
    assert created(api, "email", content="<p>Hi</p>")["data"]["html"] is True
    assert created(api, "email", content="<p>Hi</p>", html=False)["data"]["html"] is False
    assert created(api, "email", content="1 < 2 and 3 > 2")["data"]["html"] is False
    assert created(api, "email", content="plain", html=True)["data"]["html"] is True


def test_raw_addresses_receive_too(road: Road, api: Api) -> None:
    """`emails` need no user and no target; the same person is written to once."""
    made = created(api, "email", emails=["ada@Example.COM", "bob@example.com"], users=["ada"])
    assert go(road, api, made)["deliveredTotal"] == 2


class TestDraftsAndSchedules:
    """The lifecycle: draft, scheduled, processing."""

    def test_a_draft_is_changed_and_sent(self, road: Road, api: Api) -> None:
        draft = created(api, "push", draft=True)
        assert (draft["status"], draft["users"]) == ("draft", [])
        path = f"/messaging/messages/push/{draft['$id']}"
        assert api.refused("PATCH", path, {"draft": False}) == (400, "message_missing_target")
        changed = api.ok("PATCH", path, {"title": "New", "topics": ["news"], "badge": 3, "body": None})
        assert (changed["status"], changed["data"]["title"], changed["data"]["body"]) == ("draft", "New", "there")
        assert api.ok("PATCH", path, {"draft": False})["status"] == "processing"
        after = go(road, api, draft)
        assert (after["status"], after["deliveredTotal"], after["data"]["badge"]) == ("sent", 24, 3)
        assert api.refused("PATCH", path, {"title": "Late"}) == (400, "message_already_sent")

    @pytest.mark.parametrize("channel", ["push", "email", "sms"])
    def test_every_channel_keeps_its_schedule(self, api: Api, channel: str) -> None:
        """That of an SMS too."""
        made = created(api, channel, scheduledAt=LATER)
        assert (made["status"], made["scheduledAt"][:16]) == ("scheduled", LATER[:16])
        path = f"/messaging/messages/{channel}/{made['$id']}"
        assert api.ok("PATCH", path, {"draft": True})["status"] == "draft"
        again = api.ok("PATCH", path, {"scheduledAt": LATER})
        assert (again["status"], again["scheduledAt"][:16]) == ("scheduled", LATER[:16])
        assert api.call("DELETE", f"/messaging/messages/{made['$id']}").status_code == 204
        assert api.refused("GET", f"/messaging/messages/{made['$id']}") == (404, "message_not_found")

    def test_draft_wins_over_a_schedule_and_keeps_it(self, api: Api) -> None:
        made = created(api, "sms", draft=True, scheduledAt=LATER, users=["ada"])
        assert (made["status"], made["scheduledAt"][:16]) == ("draft", LATER[:16])

    def test_draft_false_sends_now_even_what_was_scheduled(self, road: Road, api: Api) -> None:
        made = created(api, "sms", scheduledAt=LATER)
        assert api.ok("PATCH", f"/messaging/messages/sms/{made['$id']}", {"draft": False})["status"] == "processing"
        assert go(road, api, made)["deliveredTotal"] == 1

    def test_a_chosen_expiry_and_lane_stay_when_it_is_changed(self, api: Api) -> None:
        """And when it is sent; one that would pass before is refused."""
        until = (datetime.fromisoformat(LATER) - timedelta(hours=1)).isoformat()
        made = created(api, "sms", draft=True, users=["ada"], expiresAt=until, lane="bulk")
        path = f"/messaging/messages/sms/{made['$id']}"
        changed = api.ok("PATCH", path, {"content": "New"})
        assert (changed["expiresAt"][:16], changed["lane"]) == (until[:16], "bulk")
        assert api.refused("PATCH", path, {"scheduledAt": LATER}) == (400, "general_argument_invalid")
        sent = api.ok("PATCH", path, {"draft": False})
        assert (sent["expiresAt"][:16], sent["lane"]) == (until[:16], "bulk")

    def test_a_scheduled_message_goes_out_when_it_is_due(self, road: Road, api: Api) -> None:
        made = created(api, "push", topics=["news"], scheduledAt=LATER)
        road.execute("UPDATE messages SET scheduled_at = now() WHERE public_id = :id", id=made["$id"])
        path = f"/messaging/messages/push/{made['$id']}"
        assert api.refused("PATCH", path, {"title": "x"}) == (400, "message_already_scheduled")
        road.sweep()
        assert go(road, api, made)["deliveredTotal"] == 24

    @pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "yesterday", "", 5, "0001-01-01T00:00:00+14:00"])
    def test_a_time_that_is_none_or_has_passed_is_refused(self, api: Api, when: object) -> None:
        body = {"messageId": "unique()", "content": "x", "users": ["ada"], "scheduledAt": when}
        assert api.refused("POST", "/messaging/messages/sms", body) == (400, "general_argument_invalid")

    def test_a_message_is_changed_under_its_own_channel(self, api: Api) -> None:
        made = created(api, "sms", draft=True)
        assert api.refused("PATCH", f"/messaging/messages/email/{made['$id']}", {"subject": "x"})[0] == 400


class TestDeleting:
    """A deleted message is gone for its reader, and nothing more of it is sent."""

    def test_what_is_going_out_stops(self, road: Road, api: Api) -> None:
        made = created(api, "push", topics=["news"])
        road.expand(road.view(made["$id"]).number)
        road.provider.received.clear()
        assert api.call("DELETE", f"/messaging/messages/{made['$id']}").status_code == 204
        road.deliver()
        assert road.provider.received == []

    def test_its_id_is_free_again(self, api: Api) -> None:
        for _ in range(2):
            created(api, "sms", messageId="again", draft=True)
            assert api.call("DELETE", "/messaging/messages/again").status_code == 204
        assert api.refused("DELETE", "/messaging/messages/again") == (404, "message_not_found")


class TestBadInput:
    """Each a clear 4xx, and no message."""

    @pytest.mark.parametrize(
        ("channel", "body", "expected"),
        [
            ("push", {"title": "x"}, (400, "message_missing_target")),
            ("push", {"title": "x", "targets": ["nobody"]}, (400, "message_target_not_push")),
            ("sms", {"content": "x", "targets": ["t0"]}, (400, "message_target_not_sms")),
            ("email", EMAIL | {"cc": ["t0"]}, (400, "message_target_not_email")),
            ("push", {"title": "x", "users": ["nobody"]}, (404, "user_not_found")),
            ("push", {"title": "x", "topics": ["nobody"]}, (404, "topic_not_found")),
            ("push", {"users": ["ada"]}, (400, "general_argument_invalid")),
            ("push", {"title": "x" * 257, "users": ["ada"]}, (400, "general_argument_invalid")),
            ("push", {"body": "x" * 5000, "users": ["ada"]}, (400, "message_content_invalid")),
            ("push", {"title": "x", "users": ["ada"], "image": "no-bucket"}, (400, "general_argument_invalid")),
            ("push", {"title": "x", "users": ["ada"], "priority": "urgent"}, (400, "general_argument_invalid")),
            ("push", {"title": "x", "users": ["ada"], "data": {"a": "\0"}}, (400, "general_argument_invalid")),
            ("email", EMAIL | {"subject": ""}, (400, "general_argument_invalid")),
            ("email", EMAIL | {"subject": "a\r\nBcc: x@y.z"}, (400, "general_argument_invalid")),
            ("email", EMAIL | {"attachments": ["a:b"]}, (404, "storage_bucket_not_found")),
            ("sms", {"content": "x" * 64231, "users": ["ada"]}, (400, "general_argument_invalid")),
            ("sms", {"content": "x", "users": "ada"}, (400, "general_argument_invalid")),
            ("sms", {"content": "x", "addresses": ["12"]}, (400, "general_argument_invalid")),
        ],
    )  # fmt: skip
    def test_is_refused(self, api: Api, channel: str, body: dict[str, Any], expected: tuple[int, str]) -> None:
        given = {"messageId": "refused"} | body
        assert api.refused("POST", f"/messaging/messages/{channel}", given) == expected
        assert api.refused("GET", "/messaging/messages/refused") == (404, "message_not_found")

    def test_an_id_is_taken_once(self, api: Api) -> None:
        created(api, "sms", messageId="once")
        body = {"messageId": "once", "content": "x", "users": ["ada"]}
        assert api.refused("POST", "/messaging/messages/sms", body) == (409, "message_already_exists")


class TestLists:
    """Messages found by what they are."""

    def test_by_status_channel_and_text(self, api: Api) -> None:
        draft = created(api, "push", draft=True, title="Zebra crossing")["$id"]
        found = api.ok("GET", "/messaging/messages", queries=(query("equal", "status", "draft"),), search="zebra")
        assert [each["$id"] for each in found["messages"]] == [draft]
        assert found["total"] == 1
        none = api.ok("GET", "/messaging/messages", queries=(query("equal", "providerType", "sms"),), search="zebra")
        assert none["messages"] == []

    def test_the_targets_a_message_names(self, api: Api) -> None:
        made = created(api, "push", targets=["t3", "t4"])
        found = api.ok("GET", f"/messaging/messages/{made['$id']}/targets")
        assert [each["$id"] for each in found["targets"]] == ["t3", "t4"]
        of_topic = created(api, "push", topics=["news"])
        assert api.ok("GET", f"/messaging/messages/{of_topic['$id']}/targets") == {"total": 0, "targets": []}


def test_an_audience_is_counted_without_sending(road: Road, api: Api) -> None:
    """By channel and provider, each target once."""
    road.provider.received.clear()
    body = {"topics": ["news"], "users": ["ada"], "targets": ["t3"]}
    found = api.ok("POST", "/messaging/messages/resolve", body)
    assert found["total"] == 26
    by_channel = {each["providerType"]: each for each in found["channels"]}
    assert by_channel["push"]["providers"] == [{"providerId": "apns", "total": 24}]
    assert by_channel["email"]["providers"] == [{"providerId": "grid", "total": 1}]
    assert by_channel["sms"]["total"] == 1
    assert api.ok("POST", "/messaging/messages/resolve", body | {"providerType": "sms"})["total"] == 1
    assert api.refused("POST", "/messaging/messages/resolve", {"topics": ["nobody"]}) == (404, "topic_not_found")
    assert road.provider.received == []
