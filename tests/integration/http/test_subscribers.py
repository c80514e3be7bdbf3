"""Subscribers over HTTP: servers subscribe anybody, people themselves where the topic lets them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.http.api import Api, query
from tests.integration.http.people import session_secret, speaking


@pytest.fixture(scope="module", autouse=True)
def people(api: Api) -> None:
    """Two users with a target each, and a topic for everybody who is signed in."""
    for user in ("ada", "bob"):
        api.ok("POST", "/users", {"userId": user, "name": user.title()})
        body = {"targetId": f"{user}-phone", "providerType": "push", "identifier": f"{user}-token"}
        api.ok("POST", f"/users/{user}/targets", body)
    api.ok("POST", "/messaging/topics", {"topicId": "news", "name": "News"})


def subscribe(api: Api, topic: str, target: str, subscriber: str = "unique()", **more: Any) -> Any:
    """A new subscription."""
    body = {"subscriberId": subscriber, "targetId": target}
    return api.ok("POST", f"/messaging/topics/{topic}/subscribers", body, **more)


def topic(api: Api, *roles: str) -> str:
    """The id of a new topic that is open to `roles`."""
    made = api.ok("POST", "/messaging/topics", {"topicId": "unique()", "name": "T", "subscribe": list(roles)})
    return str(made["$id"])


def as_user(api: Api, user: str) -> dict[str, Any]:
    """How a request of that user is sent: with a session, and no API key."""
    return {"headers": speaking(session_secret(api, user)), "key": False}


def test_a_subscription_is_made_read_and_ended(api: Api) -> None:
    """Its target is always there."""
    made = subscribe(api, "news", "ada-phone", "ada-news")
    assert {name: made[name] for name in made if name not in {"$createdAt", "$updatedAt"}} == {
        "$id": "ada-news",
        "targetId": "ada-phone",
        "target": api.ok("GET", "/users/ada/targets/ada-phone"),
        "userId": "ada",
        "userName": "Ada",
        "topicId": "news",
        "providerType": "push",
    }
    assert api.ok("GET", "/messaging/topics/news/subscribers/ada-news") == made
    assert api.ok("GET", "/messaging/topics/news")["pushTotal"] == 1
    assert api.call("DELETE", "/messaging/topics/news/subscribers/ada-news").status_code == 204
    assert api.refused("GET", "/messaging/topics/news/subscribers/ada-news") == (404, "subscriber_not_found")
    assert api.ok("GET", "/messaging/topics/news")["pushTotal"] == 0


def test_a_target_without_a_user_has_an_empty_one(api: Api) -> None:
    """Null would break the SDKs' models."""
    somewhere = topic(api)
    body = {"addresses": ["nobody@example.org"], "channel": "email"}
    api.ok("POST", f"/messaging/topics/{somewhere}/subscribers/bulk", body)
    (found,) = api.ok("GET", f"/messaging/topics/{somewhere}/subscribers")["subscribers"]
    assert (found["userId"], found["userName"], found["target"]["userId"]) == ("", "", "")


def test_a_target_is_subscribed_once(api: Api) -> None:
    """And an id is taken once in a topic."""
    somewhere = topic(api)
    path = f"/messaging/topics/{somewhere}/subscribers"
    subscribe(api, somewhere, "ada-phone", "once")
    taken = (409, "subscriber_already_exists")
    assert api.refused("POST", path, {"subscriberId": "again", "targetId": "ada-phone"}) == taken
    assert api.refused("POST", path, {"subscriberId": "once", "targetId": "bob-phone"}) == taken
    assert subscribe(api, topic(api), "ada-phone", "once")["$id"] == "once"


@pytest.mark.parametrize(
    ("path", "body", "type_"),
    [
        ("nothing", {"subscriberId": "unique()", "targetId": "ada-phone"}, "topic_not_found"),
        ("news", {"subscriberId": "unique()", "targetId": "nothing"}, "user_target_not_found"),
    ],
)
def test_what_is_missing_is_named(api: Api, path: str, body: dict[str, str], type_: str) -> None:
    """The topic, or the target."""
    assert api.refused("POST", f"/messaging/topics/{path}/subscribers", body) == (404, type_)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_missing_topic_is_named(api: Api, method: str) -> None:
    """Rather than the subscriber."""
    assert api.refused(method, "/messaging/topics/nothing/subscribers/x") == (404, "topic_not_found")
    assert api.refused("GET", "/messaging/topics/nothing/subscribers") == (404, "topic_not_found")


@pytest.mark.parametrize(
    "fields",
    [
        {"subscriberId": "-x"},
        {"subscriberId": None},
        {"targetId": "a b"},
        {"targetId": "\ud800"},
        {"targetId": "a\0"},
        {"targetId": ["ada-phone"]},
        {"targetId": "' OR 1=1 --"},
    ],
)
def test_bad_values_are_refused_by_name(api: Api, fields: dict[str, Any]) -> None:
    """Nothing is made."""
    body = {"subscriberId": "refused", "targetId": "bob-phone", **fields}
    refused = api.refused("POST", "/messaging/topics/news/subscribers", body)
    assert refused == (400, "general_argument_invalid")
    assert api.refused("GET", "/messaging/topics/news/subscribers/refused") == (404, "subscriber_not_found")


class TestPeople:
    """Signed-in users, without an API key."""

    @pytest.mark.parametrize("role", ["any", "users", "user:ada", "label:vip"])
    def test_they_subscribe_their_own_target_where_a_role_lets_them(self, api: Api, role: str) -> None:
        api.ok("PUT", "/users/ada/labels", {"labels": ["vip"]})
        made = subscribe(api, topic(api, role), "ada-phone", **as_user(api, "ada"))
        assert made["userId"] == "ada"

    @pytest.mark.parametrize("roles", [(), ("guests",), ("user:ada",), ("label:vip", "team:staff")])
    def test_they_are_refused_where_none_does(self, api: Api, roles: tuple[str, ...]) -> None:
        """Whoever's the target is, and with nothing said about it."""
        somewhere = topic(api, *roles)
        for target in ("bob-phone", "ada-phone", "nothing"):
            body = {"subscriberId": "unique()", "targetId": target}
            refused = api.refused("POST", f"/messaging/topics/{somewhere}/subscribers", body, **as_user(api, "bob"))
            assert refused == (401, "user_unauthorized")
        assert api.ok("GET", f"/messaging/topics/{somewhere}")["pushTotal"] == 0

    def test_they_cannot_subscribe_anothers_target(self, api: Api) -> None:
        """It looks as if it did not exist."""
        somewhere = topic(api, "users")
        for target in ("ada-phone", "nothing"):
            body = {"subscriberId": "unique()", "targetId": target}
            refused = api.refused("POST", f"/messaging/topics/{somewhere}/subscribers", body, **as_user(api, "bob"))
            assert refused == (404, "user_target_not_found")

    def test_they_end_their_own_subscription_only(self, api: Api) -> None:
        somewhere = topic(api, "users")
        subscribe(api, somewhere, "ada-phone", "adas")
        path = f"/messaging/topics/{somewhere}/subscribers/adas"
        assert api.refused("DELETE", path, **as_user(api, "bob")) == (404, "subscriber_not_found")
        assert api.call("DELETE", path, **as_user(api, "ada")).status_code == 204

    def test_they_see_nobodys_subscriptions(self, api: Api) -> None:
        for path in ("", "/ada-news"):
            refused = api.refused("GET", f"/messaging/topics/news/subscribers{path}", **as_user(api, "ada"))
            assert refused == (401, "general_unauthorized_scope")

    def test_a_guest_may_not_even_where_any_may(self, api: Api) -> None:
        body = {"subscriberId": "unique()", "targetId": "ada-phone"}
        path = f"/messaging/topics/{topic(api, 'any', 'guests')}/subscribers"
        assert api.refused("POST", path, body, key=False) == (401, "general_unauthorized_scope")


def test_a_key_is_bound_by_its_scope_and_by_no_role(api: Api) -> None:
    """A topic open to nobody takes a server's subscribers."""
    somewhere = topic(api)
    writer = {"x-appwrite-key": api.new_key("subscribers.write")}
    subscribe(api, somewhere, "ada-phone", "by-key", headers=writer)
    path = f"/messaging/topics/{somewhere}/subscribers"
    assert api.refused("GET", path, headers=writer) == (401, "general_unauthorized_scope")
    assert api.call("DELETE", f"{path}/by-key", headers=writer).status_code == 204


def test_a_key_without_the_scope_is_bound_by_roles_of_its_session(api: Api) -> None:
    """A key for something else lends a user nothing."""
    headers = {"x-appwrite-key": api.new_key("topics.read"), **speaking(session_secret(api, "bob"))}
    body = {"subscriberId": "unique()", "targetId": "ada-phone"}
    refused = api.refused("POST", "/messaging/topics/news/subscribers", body, headers=headers)
    assert refused == (404, "user_target_not_found")


def test_subscribers_are_listed_by_what_they_are(api: Api) -> None:
    """Those of one topic, with the attributes of the contract."""
    somewhere = topic(api)
    for user in ("ada", "bob"):
        subscribe(api, somewhere, f"{user}-phone", f"{user}-s")
    body = {"addresses": ["listed@example.org"], "channel": "email"}
    api.ok("POST", f"/messaging/topics/{somewhere}/subscribers/bulk", body)

    def targets(*queries: str, **params: str) -> list[str]:
        found = api.ok("GET", f"/messaging/topics/{somewhere}/subscribers", queries=queries, **params)
        return [each["target"]["identifier"] for each in found["subscribers"]]

    assert targets() == ["ada-token", "bob-token", "listed@example.org"]
    assert targets(query("equal", "providerType", "email")) == ["listed@example.org"]
    assert targets(query("equal", "userId", "bob")) == ["bob-token"]
    assert targets(query("equal", "targetId", "ada-phone")) == ["ada-token"]
    assert targets(query("equal", "topicId", "news")) == []
    assert targets(query("isNull", "userId")) == ["listed@example.org"]
    assert targets(query("cursorAfter", None, "ada-s"), query("limit", None, 1)) == ["bob-token"]
    assert targets(search="LISTED@") == ["listed@example.org"]
    counted = api.ok("GET", f"/messaging/topics/{somewhere}/subscribers", queries=(query("limit", None, 1),))
    assert counted["total"] == 3
    path = f"/messaging/topics/{somewhere}/subscribers"
    assert api.refused("GET", path, queries=(query("cursorAfter", None, "nothing"),)) == (
        400,
        "general_cursor_not_found",
    )
