"""Users over HTTP: their addresses are targets, and follow."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import event, text

from messaging.http.render_user import rendered_users
from tests.integration.http.api import Api, query


def create(api: Api, user_id: str = "unique()", **fields: Any) -> Any:
    """A new user."""
    return api.ok("POST", "/users", {"userId": user_id, **fields})


def addresses(user: Any) -> list[tuple[str, str]]:
    """Channel and address of a user's targets."""
    return [(target["providerType"], target["identifier"]) for target in user["targets"]]


def test_a_user_is_made_read_and_deleted(api: Api) -> None:
    """Each answer has every field the SDKs require, and nothing of the password."""
    made = create(api, "ada", email="ada@example.org", phone="+4930901820", password="correct horse", name="Ada")
    assert (made["$id"], made["name"], made["email"], made["phone"]) == (
        "ada",
        "Ada",
        "ada@example.org",
        "+4930901820",
    )
    assert (made["status"], made["labels"], made["prefs"], made["mfa"]) == (True, [], {}, False)
    assert made["registration"] == made["$createdAt"]
    assert made["passwordUpdate"]
    assert addresses(made) == [("email", "ada@example.org"), ("sms", "+4930901820")]
    assert "argon2" not in str(made)
    assert "correct horse" not in str(made)
    assert api.ok("GET", "/users/ada") == made
    assert api.call("DELETE", "/users/ada").status_code == 204
    assert api.refused("GET", "/users/ada") == (404, "user_not_found")
    assert create(api, email="ada@example.org")["email"] == "ada@example.org"


def test_a_user_needs_nothing_but_an_id(api: Api) -> None:
    """Texts the SDKs require are empty then, not null."""
    made = create(api, email=None, phone=None, password="")
    assert (made["name"], made["email"], made["phone"], made["passwordUpdate"]) == ("", "", "", "")
    assert made["targets"] == []


def test_a_password_is_kept_as_its_hash(api: Api) -> None:
    """And an empty one takes it away."""
    create(api, "secretive", password="correct horse")

    def kept() -> str | None:
        with api.engine.connect() as connection:
            found: str | None = connection.execute(
                text("SELECT password_hash FROM users WHERE public_id = 'secretive'")
            ).scalar_one()
            return found

    first = kept()
    assert first is not None
    assert first.startswith("$argon2id$")
    api.ok("PATCH", "/users/secretive/password", {"password": "another horse"})
    assert kept() not in {first, None}
    assert api.ok("PATCH", "/users/secretive/password", {"password": ""})["passwordUpdate"] == ""
    assert kept() is None


class TestTaken:
    """An id is one user's, and an address too."""

    def test_an_id(self, api: Api) -> None:
        create(api, "twice")
        assert api.refused("POST", "/users", {"userId": "twice"}) == (409, "user_already_exists")

    @pytest.mark.parametrize(("field", "address"), [("email", "one@example.org"), ("phone", "+4930901821")])
    def test_an_address(self, api: Api, field: str, address: str) -> None:
        create(api, **{field: address})
        body = {"userId": f"late-{field}", field: address}
        assert api.refused("POST", "/users", body) == (409, "user_already_exists")
        assert api.refused("GET", f"/users/late-{field}") == (404, "user_not_found")

    def test_an_address_changed_to_anothers(self, api: Api) -> None:
        create(api, "first", email="first@example.org")
        create(api, "second", email="second@example.org")
        patch = ("PATCH", "/users/second/email", {"email": "first@example.org"})
        assert api.refused(*patch) == (409, "user_target_already_exists")
        assert api.ok("GET", "/users/second")["email"] == "second@example.org"

    def test_an_address_wanted_by_many_at_once_is_ones(self, api: Api) -> None:
        statuses: list[int] = []

        def ask(number: int) -> None:
            body = {"userId": f"racer{number}", "email": "race@example.org"}
            statuses.append(api.call("POST", "/users", body).status_code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [201] + [409] * 7
        (winner,) = api.ok("GET", "/users", queries=(query("equal", "email", "race@example.org"),))["users"]
        assert addresses(winner) == [("email", "race@example.org")]


class TestChanges:
    """One operation for each thing a server changes."""

    def test_an_email_address_takes_its_target_along(self, api: Api) -> None:
        made = create(api, "mover", email="old@example.org")
        api.ok("PATCH", "/users/mover/verification", {"emailVerification": True})
        moved = api.ok("PATCH", "/users/mover/email", {"email": "new@example.org"})
        assert (moved["email"], moved["emailVerification"]) == ("new@example.org", False)
        assert addresses(moved) == [("email", "new@example.org")]
        assert moved["targets"][0]["$id"] == made["targets"][0]["$id"]
        assert addresses(api.ok("PATCH", "/users/mover/email", {"email": ""})) == []

    def test_the_same_address_stays_verified(self, api: Api) -> None:
        create(api, "steady", phone="+4930901822")
        api.ok("PATCH", "/users/steady/verification/phone", {"phoneVerification": True})
        assert api.ok("PATCH", "/users/steady/phone", {"number": "+4930901822"})["phoneVerification"] is True

    def test_a_phone_number_takes_its_target_along(self, api: Api) -> None:
        create(api, "caller", phone="+4930901823")
        moved = api.ok("PATCH", "/users/caller/phone", {"number": "+4930901824"})
        assert (moved["phone"], addresses(moved)) == ("+4930901824", [("sms", "+4930901824")])
        assert api.ok("PATCH", "/users/caller/phone", {"number": ""})["phone"] == ""

    def test_name_status_labels_and_preferences(self, api: Api) -> None:
        create(api, "plain")
        assert api.ok("PATCH", "/users/plain/name", {"name": "Plain"})["name"] == "Plain"
        assert api.ok("PATCH", "/users/plain/status", {"status": False})["status"] is False
        assert api.ok("PUT", "/users/plain/labels", {"labels": ["vip", "vip", "beta"]})["labels"] == ["vip", "beta"]
        assert api.ok("PATCH", "/users/plain/prefs", {"prefs": {"language": "de"}}) == {"language": "de"}
        assert api.ok("GET", "/users/plain/prefs") == {"language": "de"}
        user = api.ok("GET", "/users/plain")
        assert (user["name"], user["status"], user["labels"], user["prefs"]) == (
            "Plain",
            False,
            ["vip", "beta"],
            {"language": "de"},
        )

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PATCH", "name", {"name": "x"}),
            ("PATCH", "email", {"email": "x@example.org"}),
            ("PATCH", "phone", {"number": "+4930901829"}),
            ("PATCH", "password", {"password": "long enough"}),
            ("PATCH", "status", {"status": True}),
            ("PATCH", "prefs", {"prefs": {}}),
            ("PUT", "labels", {"labels": []}),
            ("GET", "prefs", None),
        ],
    )
    def test_of_nobody_are_refused(self, api: Api, method: str, path: str, body: Any) -> None:
        assert api.refused(method, f"/users/nobody/{path}", body) == (404, "user_not_found")


@pytest.mark.parametrize(
    "fields",
    [
        {"userId": "-x"},
        {"email": "nobody"},
        {"email": ["a@example.org"]},
        {"email": "a\0@example.org"},
        {"phone": "030"},
        {"phone": ""},
        {"phone": 4930901820},
        {"password": "short"},
        {"password": "x" * 257},
        {"password": "\ud800" * 8},
        {"name": "x" * 129},
        {"name": "a\0b"},
        {"name": "\udfff"},
    ],
)
def test_bad_values_are_refused_by_name(api: Api, fields: dict[str, Any]) -> None:
    """Nobody is made."""
    assert api.refused("POST", "/users", {"userId": "refused", **fields}) == (400, "general_argument_invalid")
    assert api.refused("GET", "/users/refused") == (404, "user_not_found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "labels", {"labels": ["two words"]}),
        ("PUT", "labels", {"labels": ["x" * 37]}),
        ("PUT", "labels", {"labels": ["é"]}),
        ("PUT", "labels", {"labels": ["x"] * 1001}),
        ("PUT", "labels", {}),
        ("PATCH", "prefs", {"prefs": []}),
        ("PATCH", "prefs", {"prefs": {"a": "\0"}}),
        ("PATCH", "prefs", {"prefs": {"\ud800": 1}}),
        ("PATCH", "prefs", {"prefs": {"a": "x" * 65_536}}),
        ("PATCH", "status", {"status": "false"}),
        ("PATCH", "email", {}),
        ("PATCH", "phone", {"number": "+1"}),
    ],
)
def test_bad_changes_are_refused_by_name(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    """Nothing is changed."""
    before = create(api)
    refused = api.refused(method, f"/users/{before['$id']}/{path}", body)
    assert refused == (400, "general_argument_invalid")
    assert api.ok("GET", f"/users/{before['$id']}") == before


def test_sql_in_a_text_is_text(api: Api) -> None:
    """In a value as in a search."""
    name = "Robert'); DROP TABLE users; --%_"
    made = create(api, name=name)
    assert made["name"] == name
    assert [user["$id"] for user in api.ok("GET", "/users", search=name)["users"]] == [made["$id"]]


def test_users_are_listed_by_what_they_are(api: Api) -> None:
    """With the attributes of the contract."""
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM users"))
    create(api, "u1", name="Ada", email="ada@list.example")
    create(api, "u2", name="Bob", phone="+4930901825")
    create(api, "u3", name="Cy")
    api.ok("PUT", "/users/u2/labels", {"labels": ["vip"]})
    api.ok("PATCH", "/users/u3/status", {"status": False})

    def ids(*queries: str, **params: str) -> list[str]:
        found = api.ok("GET", "/users", queries=queries, **params)
        assert found["total"] == len(found["users"])
        return [user["$id"] for user in found["users"]]

    assert ids() == ["u1", "u2", "u3"]
    assert ids(query("orderDesc", "name")) == ["u3", "u2", "u1"]
    assert ids(query("contains", "labels", "vip")) == ["u2"]
    assert ids(query("equal", "status", False)) == ["u3"]
    assert ids(query("isNull", "email")) == ["u2", "u3"]
    assert ids(query("startsWith", "email", "ada")) == ["u1"]
    assert ids(search="4930901825") == ["u2"]
    refused = api.refused("GET", "/users", queries=(query("equal", "passwordHash", "x"),))
    assert refused == (400, "general_query_invalid")


def test_a_list_asks_for_all_targets_at_once(api: Api) -> None:
    """However many users it shows."""

    def statements(limit: int) -> int:
        counted: list[str] = []
        chosen = query("limit", None, limit), query("startsWith", "$id", "many")

        def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            counted.append(statement)

        found = [user["$id"] for user in api.ok("GET", "/users", queries=chosen)["users"]]
        assert len(found) == limit
        event.listen(api.engine, "before_cursor_execute", count)
        try:
            with api.engine.connect() as connection:
                assert [len(user["targets"]) for user in rendered_users(connection, 1, found)] == [1] * limit
        finally:
            event.remove(api.engine, "before_cursor_execute", count)
        return len(counted)

    for number in range(25):
        create(api, f"many{number}", email=f"many{number}@example.org")
    assert statements(25) == statements(1)


def test_users_need_their_scopes(api: Api) -> None:
    """Reading is not writing."""
    create(api, "guarded")
    reader = {"x-appwrite-key": api.new_key("users.read")}
    assert api.call("GET", "/users/guarded", headers=reader).status_code == 200
    denied = (401, "general_unauthorized_scope")
    assert api.refused("PATCH", "/users/guarded/name", {"name": "x"}, headers=reader) == denied
    assert api.refused("DELETE", "/users/guarded", headers=reader) == denied
    assert api.refused("GET", "/users/guarded", key=False) == denied
