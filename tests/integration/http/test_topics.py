"""Topics over HTTP, and what every operation shares: keys, errors, lists, repeated requests."""

from __future__ import annotations

import pytest

from tests.integration.http.api import Api, query


@pytest.fixture(scope="module")
def three(api: Api) -> list[str]:
    """Three topics, in order of creation."""
    for number, name in enumerate(("Pears", "Apples", "Figs")):
        api.ok("POST", "/messaging/topics", {"topicId": f"fruit{number}", "name": name, "description": "fruit"})
    return ["fruit0", "fruit1", "fruit2"]


def ids(api: Api, *queries: str, **params: str) -> list[str]:
    """Ids of the topics found."""
    fruit = query("equal", "description", "fruit")
    return [topic["$id"] for topic in api.ok("GET", "/messaging/topics", queries=(fruit, *queries), **params)["topics"]]


def test_a_topic_is_made_changed_and_deleted(api: Api) -> None:
    """Each answer has every field the SDKs require, and what was not given stays."""
    made = api.ok("POST", "/messaging/topics", {"topicId": "news", "name": "News"})
    assert made["subscribe"] == ["users"]
    assert (made["emailTotal"], made["smsTotal"], made["pushTotal"]) == (0, 0, 0)
    changed = api.ok("PATCH", "/messaging/topics/news", {"subscribe": ["any", "label:vip"], "qos": None})
    assert (changed["name"], changed["subscribe"]) == ("News", ["any", "label:vip"])
    answer = api.call("DELETE", "/messaging/topics/news")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert api.refused("GET", "/messaging/topics/news") == (404, "topic_not_found")


def test_unique_asks_for_an_id_of_ours(api: Api) -> None:
    """`unique()` is no id."""
    made = api.ok("POST", "/messaging/topics", {"topicId": "unique()", "name": "Any"})
    assert len(made["$id"]) == 20


def test_an_id_is_taken_once(api: Api) -> None:
    """The second is told so, with the type of its kind."""
    api.ok("POST", "/messaging/topics", {"topicId": "twice", "name": "A"})
    assert api.refused("POST", "/messaging/topics", {"topicId": "twice", "name": "B"}) == (409, "topic_already_exists")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "No id"},
        {"topicId": "ok"},
        {"topicId": "_bad", "name": "x"},
        {"topicId": "ok", "name": ""},
        {"topicId": "ok", "name": "x" * 129},
        {"topicId": "ok", "name": 5},
        {"topicId": "ok", "name": "a\0b"},
        {"topicId": "ok", "name": "\ud800"},
        {"topicId": "ok", "name": "x", "subscribe": ["*"]},
        {"topicId": "ok", "name": "x", "subscribe": ["any"] * 101},
        {"topicId": "ok", "name": "x", "qos": 2},
        {"topicId": "ok", "name": "x", "expiry": True},
    ],
)
def test_bad_values_are_refused_by_name(api: Api, body: dict[str, object]) -> None:
    """Nothing is made."""
    assert api.refused("POST", "/messaging/topics", body) == (400, "general_argument_invalid")
    assert api.refused("GET", "/messaging/topics/ok") == (404, "topic_not_found")


def test_lists_are_filtered_ordered_and_paged(three: list[str], api: Api) -> None:
    """By the methods of the SDKs' `Query`."""
    assert ids(api) == three
    assert ids(api, query("equal", "name", "Figs", "Pears")) == ["fruit0", "fruit2"]
    assert ids(api, query("orderAsc", "name")) == ["fruit1", "fruit2", "fruit0"]
    assert ids(api, query("limit", None, 2), query("offset", None, 1)) == three[1:]
    assert ids(api, query("cursorAfter", None, "fruit0")) == three[1:]
    assert ids(api, query("cursorBefore", None, "fruit2"), query("limit", None, 1)) == ["fruit1"]
    assert ids(api, query("orderDesc", "name"), query("cursorAfter", None, "fruit0")) == ["fruit2", "fruit1"]
    assert ids(api, query("notStartsWith", "name", "P")) == three[1:]
    either = query("or", None, query("equal", "name", "Figs"), query("endsWith", "name", "ples"))
    assert ids(api, either) == three[1:]
    assert ids(api, search="APPLE") == ["fruit1"]


def test_a_total_is_counted_unless_it_is_not_wanted(three: list[str], api: Api) -> None:
    """The total is that of all pages."""
    only = query("equal", "$id", *three), query("limit", None, 1)
    assert api.ok("GET", "/messaging/topics", queries=only)["total"] == 3
    assert api.ok("GET", "/messaging/topics", queries=only, total="false")["total"] == 0


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        ("no json", "general_query_invalid"),
        (query("equal", "secret", "x"), "general_query_invalid"),
        (query("equal", "name", 5), "general_query_invalid"),
        (query("equal", "name"), "general_query_invalid"),
        (query("select", None, "name"), "general_query_invalid"),
        (query("limit", None, 0), "general_query_invalid"),
        (query("between", "emailTotal", 1), "general_query_invalid"),
        (query("cursorAfter", None, "nobody"), "general_cursor_not_found"),
        (query("equal", "$createdAt", "yesterday"), "general_query_invalid"),
        (query("equal", "name'; DROP TABLE topics; --", "x"), "general_query_invalid"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(api: Api, said: str, type_: str) -> None:
    """Each with a 400 of its type."""
    assert api.refused("GET", "/messaging/topics", queries=(said,)) == (400, type_)


class TestWhoMay:
    """Projects, keys and scopes."""

    def test_without_a_project_nothing_is_answered(self, api: Api) -> None:
        assert api.refused("GET", "/messaging/topics", headers={"x-appwrite-project": ""}) == (
            401,
            "general_access_forbidden",
        )

    def test_an_unknown_project_is_named_so(self, api: Api) -> None:
        assert api.refused("GET", "/messaging/topics", headers={"x-appwrite-project": "other"}) == (
            404,
            "project_not_found",
        )

    def test_an_unknown_key_is_a_guest(self, api: Api) -> None:
        assert api.refused("GET", "/messaging/topics", headers={"x-appwrite-key": "standard_x"}) == (
            401,
            "general_unauthorized_scope",
        )

    def test_a_key_reaches_what_its_scopes_say(self, api: Api) -> None:
        reader = {"x-appwrite-key": api.new_key("topics.read")}
        assert api.call("GET", "/messaging/topics", headers=reader).status_code == 200
        body = {"topicId": "unique()", "name": "x"}
        assert api.refused("POST", "/messaging/topics", body, headers=reader) == (401, "general_unauthorized_scope")


class TestRepeatedRequests:
    """`Idempotency-Key`."""

    def test_the_same_request_gets_the_same_answer_and_does_nothing(self, api: Api) -> None:
        body = {"topicId": "unique()", "name": "Once"}
        first, second = (
            api.call("POST", "/messaging/topics", body, headers={"idempotency-key": "k1"}) for _ in range(2)
        )
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert second.headers["idempotent-replayed"] == "true"

    def test_another_body_under_the_key_is_refused(self, api: Api) -> None:
        key = {"idempotency-key": "k2"}
        api.ok("POST", "/messaging/topics", {"topicId": "unique()", "name": "One"}, headers=key)
        assert api.refused("POST", "/messaging/topics", {"topicId": "unique()", "name": "Two"}, headers=key) == (
            409,
            "general_idempotency_conflict",
        )

    def test_a_refused_request_leaves_its_key_free(self, api: Api) -> None:
        key = {"idempotency-key": "k3"}
        assert api.refused("POST", "/messaging/topics", {"topicId": "unique()"}, headers=key)[0] == 400
        assert api.call("POST", "/messaging/topics", {"topicId": "unique()", "name": "x"}, headers=key).is_success
