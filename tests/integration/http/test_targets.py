"""A user's targets over HTTP: one address, one target; a device's token moves, a person's address does not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.http.api import Api, query


@pytest.fixture(scope="module", autouse=True)
def people(api: Api) -> None:
    """Two users and a provider for each channel."""
    for user in ("ada", "bob"):
        api.ok("POST", "/users", {"userId": user, "email": f"{user}@example.org", "name": user.title()})
    for kind, provider, more in (("apns", "ios", {}), ("fcm", "android", {}), ("smtp", "mail", {"host": "mx.test"})):
        api.ok("POST", f"/messaging/providers/{kind}", {"providerId": provider, "name": provider, **more})


def push(api: Api, user: str, token: str, target_id: str = "unique()", **more: Any) -> Any:
    """A push target of a user."""
    body = {"targetId": target_id, "providerType": "push", "identifier": token, **more}
    return api.ok("POST", f"/users/{user}/targets", body)


def tokens(api: Api, user: str) -> list[str]:
    """Identifiers of a user's push targets."""
    found = api.ok("GET", f"/users/{user}/targets", queries=(query("equal", "providerType", "push"),))
    return [target["identifier"] for target in found["targets"]]


def test_a_target_is_made_changed_and_deleted(api: Api) -> None:
    """Each answer has every field the SDKs require."""
    made = push(api, "ada", "token-1", "phone", providerId="android", name="Ada's phone")
    assert {name: made[name] for name in made if name not in {"$createdAt", "$updatedAt"}} == {
        "$id": "phone",
        "name": "Ada's phone",
        "userId": "ada",
        "providerId": "android",
        "providerType": "push",
        "identifier": "token-1",
        "expired": False,
    }
    changed = api.ok("PATCH", "/users/ada/targets/phone", {"identifier": "token-2", "name": ""})
    assert (changed["identifier"], changed["name"], changed["providerId"]) == ("token-2", "", "android")
    assert api.ok("GET", "/users/ada/targets/phone") == changed
    assert api.call("DELETE", "/users/ada/targets/phone").status_code == 204
    assert api.refused("GET", "/users/ada/targets/phone") == (404, "user_target_not_found")


def test_an_id_is_taken_once(api: Api) -> None:
    """By whatever address."""
    push(api, "ada", "token-id", "taken")
    for identifier in ("token-id", "token-other"):
        body = {"targetId": "taken", "providerType": "push", "identifier": identifier}
        assert api.refused("POST", "/users/bob/targets", body) == (409, "user_target_already_exists")
    assert "token-id" in tokens(api, "ada")


class TestDevices:
    """One token, one account."""

    def test_a_token_moves_to_who_registers_it_last(self, api: Api) -> None:
        """And leaves the topics of the account it was with."""
        first = push(api, "ada", "shared-token")
        api.ok("POST", "/messaging/topics", {"topicId": "adas", "name": "Ada's"})
        body = {"subscriberId": "s", "targetId": first["$id"]}
        api.ok("POST", "/messaging/topics/adas/subscribers", body)
        moved = push(api, "bob", "shared-token", "bobs-phone")
        assert (moved["$id"], moved["userId"]) == ("bobs-phone", "bob")
        assert "shared-token" not in tokens(api, "ada")
        assert api.ok("GET", "/messaging/topics/adas")["pushTotal"] == 0

    @pytest.mark.parametrize(("before", "after"), [({}, {"providerId": "android"}), ({"providerId": "android"}, {})])
    def test_whichever_provider_it_was_registered_with(self, api: Api, before: Any, after: Any) -> None:
        """Else the account left behind would go on writing to the device."""
        token = f"token-{len(before)}"
        push(api, "ada", token, **before)
        push(api, "bob", token, **after)
        assert token not in tokens(api, "ada")
        assert tokens(api, "bob").count(token) == 1

    def test_a_new_token_brings_a_dead_target_back(self, api: Api) -> None:
        push(api, "ada", "dead-token", "dead")
        with api.engine.begin() as connection:
            connection.execute(text("UPDATE targets SET dead_at = now(), expired_at = now() WHERE public_id = 'dead'"))
        assert api.ok("GET", "/users/ada/targets/dead")["expired"] is True
        assert api.ok("PATCH", "/users/ada/targets/dead", {"identifier": "live-token"})["expired"] is False

    def test_a_token_changed_to_anothers_takes_it_over(self, api: Api) -> None:
        push(api, "ada", "wanted-token")
        push(api, "bob", "own-token", "bobs")
        assert api.ok("PATCH", "/users/bob/targets/bobs", {"identifier": "wanted-token"})["userId"] == "bob"
        assert "wanted-token" not in tokens(api, "ada")

    def test_a_token_is_what_its_provider_takes(self, api: Api) -> None:
        made = push(api, "ada", "AB" * 32, providerId="ios")
        assert made["identifier"] == "ab" * 32
        body = {"targetId": "unique()", "providerType": "push", "identifier": "no hex", "providerId": "ios"}
        assert api.refused("POST", "/users/ada/targets", body) == (400, "general_argument_invalid")


class TestPeople:
    """An email address or a phone number is a person's."""

    @pytest.mark.parametrize("more", [{}, {"providerId": "mail"}])
    def test_it_is_not_taken_from_another_user(self, api: Api, more: dict[str, str]) -> None:
        body = {"targetId": "unique()", "providerType": "email", "identifier": "ada@example.org", **more}
        assert api.refused("POST", "/users/bob/targets", body) == (409, "user_target_already_exists")

    def test_a_second_one_may_be_added(self, api: Api) -> None:
        body = {"targetId": "unique()", "providerType": "sms", "identifier": "+49 30 901820"}
        made = api.ok("POST", "/users/bob/targets", body)
        assert (made["identifier"], made["providerType"]) == ("+4930901820", "sms")

    def test_it_is_not_changed_to_another_users(self, api: Api) -> None:
        body = {"targetId": "bobs-mail", "providerType": "email", "identifier": "bob2@example.org"}
        api.ok("POST", "/users/bob/targets", body)
        patch = ("PATCH", "/users/bob/targets/bobs-mail", {"identifier": "ada@example.org"})
        assert api.refused(*patch) == (409, "user_target_already_exists")

    def test_the_users_own_address_changes_with_its_target(self, api: Api) -> None:
        made = api.ok("POST", "/users", {"userId": "unique()", "email": "before@example.org"})
        target = f"/users/{made['$id']}/targets/{made['targets'][0]['$id']}"
        api.ok("PATCH", target, {"identifier": "after@example.org"})
        assert api.ok("GET", f"/users/{made['$id']}")["email"] == "after@example.org"

    @pytest.mark.parametrize(
        ("channel", "identifier", "type_"),
        [
            ("email", "nobody", "general_invalid_email"),
            ("email", "a b@example.org", "general_invalid_email"),
            ("sms", "030", "general_invalid_phone"),
            ("sms", "'; DROP TABLE targets; --", "general_invalid_phone"),
        ],
    )
    def test_a_malformed_one_is_called_so(self, api: Api, channel: str, identifier: str, type_: str) -> None:
        body = {"targetId": "unique()", "providerType": channel, "identifier": identifier}
        assert api.refused("POST", "/users/ada/targets", body) == (400, type_)
        changed = next(t for t in api.ok("GET", "/users/bob")["targets"] if t["providerType"] == channel)
        patch = ("PATCH", f"/users/bob/targets/{changed['$id']}", {"identifier": identifier})
        assert api.refused(*patch) == (400, type_)


class TestProviders:
    """A target may name one of its own channel."""

    def test_one_of_another_channel_is_refused(self, api: Api) -> None:
        body = {"targetId": "unique()", "providerType": "push", "identifier": "t", "providerId": "mail"}
        assert api.refused("POST", "/users/ada/targets", body) == (400, "provider_incorrect_type")
        push(api, "ada", "provider-token", "wired")
        patch = ("PATCH", "/users/ada/targets/wired", {"providerId": "mail"})
        assert api.refused(*patch) == (400, "provider_incorrect_type")

    def test_an_unknown_one_is_none_at_first_and_not_found_later(self, api: Api) -> None:
        """As Appwrite has it."""
        assert push(api, "ada", "loose-token", "loose", providerId="nobody")["providerId"] is None
        patch = ("PATCH", "/users/ada/targets/loose", {"providerId": "nobody"})
        assert api.refused(*patch) == (404, "provider_not_found")
        assert api.ok("PATCH", "/users/ada/targets/loose", {"providerId": "android"})["providerId"] == "android"


@pytest.mark.parametrize(
    "fields",
    [
        {"targetId": "_x"},
        {"providerType": "pigeon"},
        {"providerType": ["push"]},
        {"identifier": ""},
        {"identifier": "x" * 4097},
        {"identifier": "a b"},
        {"identifier": "a\0b"},
        {"identifier": "\ud800"},
        {"identifier": None},
        {"providerId": "../x"},
        {"name": "x" * 129},
    ],
)
def test_bad_values_are_refused_by_name(api: Api, fields: dict[str, Any]) -> None:
    """Nothing is made."""
    body = {"targetId": "refused", "providerType": "push", "identifier": "fine", **fields}
    assert api.refused("POST", "/users/ada/targets", body) == (400, "general_argument_invalid")
    assert api.refused("GET", "/users/ada/targets/refused") == (404, "user_target_not_found")


def test_a_target_is_found_with_its_own_user_only(api: Api) -> None:
    """Another user's is not found, and a missing user is said to be missing."""
    push(api, "ada", "private-token", "private")
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert api.refused(method, "/users/bob/targets/private", body) == (404, "user_target_not_found")
        assert api.refused(method, "/users/nobody/targets/private", body) == (404, "user_not_found")
    body = {"targetId": "unique()", "providerType": "push", "identifier": "t"}
    assert api.refused("POST", "/users/nobody/targets", body) == (404, "user_not_found")
    assert api.refused("GET", "/users/nobody/targets") == (404, "user_not_found")


def test_targets_are_listed_by_what_they_are(api: Api) -> None:
    """Those of one user, with the attributes of the contract."""
    api.ok("POST", "/users", {"userId": "cy", "email": "cy@example.org", "phone": "+4930901829"})
    push(api, "cy", "cy-token", "cy-push", providerId="android")

    def channels(*queries: str) -> list[str]:
        found = api.ok("GET", "/users/cy/targets", queries=queries)
        return [target["providerType"] for target in found["targets"]]

    assert channels() == ["email", "sms", "push"]
    assert channels(query("equal", "providerId", "android")) == ["push"]
    assert channels(query("equal", "identifier", "cy@example.org")) == ["email"]
    assert channels(query("orderDesc", "providerType")) == ["sms", "push", "email"]
    assert channels(query("cursorBefore", None, "cy-push")) == ["email", "sms"]
    assert channels(query("cursorAfter", None, "cy-push")) == []
    assert api.ok("GET", "/users/cy/targets", queries=(query("limit", None, 1),))["total"] == 3
    refused = api.refused("GET", "/users/cy/targets", queries=(query("equal", "addressHash", "x"),))
    assert refused == (400, "general_query_invalid")


@pytest.mark.parametrize("scope", ["users", "targets"])
def test_either_scope_will_do(api: Api, scope: str) -> None:
    """Appwrite's source has one and its specification the other."""
    reader = {"x-appwrite-key": api.new_key(f"{scope}.read")}
    assert api.call("GET", "/users/ada/targets", headers=reader).status_code == 200
    body = {"targetId": "unique()", "providerType": "push", "identifier": f"token-{scope}"}
    denied = api.refused("POST", "/users/ada/targets", body, headers=reader)
    assert denied == (401, "general_unauthorized_scope")
    writer = {"x-appwrite-key": api.new_key(f"{scope}.write")}
    assert api.call("POST", "/users/ada/targets", body, headers=writer).status_code == 201
