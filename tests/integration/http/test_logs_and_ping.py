"""What SDKs ask beside the subjects: a ping, and the logs that older ones still list."""

from __future__ import annotations

import pytest

from tests.integration.http.api import Api, query

LOGS = ("messages", "providers", "topics", "subscribers")


def test_a_ping_is_answered_in_plain_text(api: Api) -> None:
    """Without a key; the project must exist, since its id is what is tried out."""
    answer = api.call("GET", "/ping", key=False)
    assert (answer.status_code, answer.text) == (200, "Pong!")
    assert answer.headers["content-type"].lower() == "text/plain; charset=utf-8"


def test_a_ping_of_no_or_another_project_is_refused(api: Api) -> None:
    """With what to put right."""
    assert api.refused("GET", "/ping", headers={"x-appwrite-project": ""}) == (401, "general_access_forbidden")
    assert api.refused("GET", "/ping", headers={"x-appwrite-project": "other"}) == (404, "project_not_found")


@pytest.mark.parametrize("subject", LOGS)
def test_logs_are_an_empty_list(api: Api, subject: str) -> None:
    """With or without the queries of their SDKs."""
    empty = {"total": 0, "logs": []}
    assert api.ok("GET", f"/messaging/{subject}/some/logs") == empty
    assert api.ok("GET", f"/messaging/{subject}/some/logs", queries=(query("limit", None, 5),)) == empty
    assert api.ok("GET", f"/messaging/{subject}/some/logs", total="false") == empty


@pytest.mark.parametrize("subject", LOGS)
def test_logs_need_the_scope_of_their_subject(api: Api, subject: str) -> None:
    """A key for something else is told which."""
    key = {"x-appwrite-key": api.new_key("users.read")}
    assert api.refused("GET", f"/messaging/{subject}/some/logs", headers=key) == (401, "general_unauthorized_scope")
    key = {"x-appwrite-key": api.new_key(f"{subject}.read")}
    assert api.ok("GET", f"/messaging/{subject}/some/logs", headers=key)["total"] == 0
    assert api.refused("GET", f"/messaging/{subject}/some/logs", key=False) == (401, "general_unauthorized_scope")


@pytest.mark.parametrize("hostile", ["_x", "a%00b", "x' OR 1=1", "%F0%9F%98%80", "a" * 37])
def test_what_is_no_id_is_refused(api: Api, hostile: str) -> None:
    """By name."""
    assert api.refused("GET", f"/messaging/topics/{hostile}/logs") == (400, "general_argument_invalid")
