"""The suppression list over HTTP: one address at a time, as a list, and a whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.integration.http.api import Api, query

LIST = "/messaging/suppressions"
LOOKUP = f"{LIST}/lookup"
IMPORT = f"{LIST}/import"


@pytest.fixture(autouse=True)
def _empty(api: Api) -> Iterator[None]:
    """Each test leaves the list empty."""
    yield
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM suppressions"))


def add(api: Api, address: str, channel: str = "email", **more: Any) -> dict[str, Any]:
    """A new entry."""
    made: dict[str, Any] = api.ok("POST", LIST, {"providerType": channel, "address": address, **more})
    return made


def send_csv(api: Api, content: bytes, *, content_type: str = "text/csv", **headers: str) -> httpx.Response:
    """A CSV file as a body."""
    sent = {"x-appwrite-project": api.project, "x-appwrite-key": api.key, "content-type": content_type, **headers}
    return api.client.post(api.url + IMPORT, content=content, headers=sent)


class TestOneAddress:
    """Added, looked up, lifted."""

    def test_an_address_is_listed_and_found_by_any_spelling(self, api: Api) -> None:
        answer = api.call("POST", LIST, {"providerType": "email", "address": "Ada@EXAMPLE.org"})
        assert answer.status_code == 201
        made = answer.json()
        assert (made["providerType"], made["scope"], made["reason"]) == ("email", "everything", "by hand")
        assert made["$id"].startswith("e-")
        assert api.ok("GET", LOOKUP, providerType="email", address="ada@example.org") == made
        number = add(api, "+49 30 123456", "sms", scope="bulk", reason="asked by letter")
        assert (number["scope"], number["reason"]) == ("bulk", "asked by letter")
        assert api.ok("GET", LOOKUP, providerType="sms", address="+4930123456") == number
        assert "ada" not in str(api.ok("GET", LIST)).lower()

    def test_the_wider_scope_stays(self, api: Api) -> None:
        first = add(api, "a@example.org", scope="bulk", reason="unsubscribed")
        wider = add(api, "a@example.org", reason="complained")
        assert (wider["$id"], wider["scope"], wider["reason"]) == (first["$id"], "everything", "complained")
        assert add(api, "a@example.org", scope="bulk", reason="unsubscribed") == wider

    def test_an_address_that_is_not_on_the_list_is_not_found(self, api: Api) -> None:
        """And its channel is part of what is asked."""
        add(api, "a@example.org", "push")
        for channel, address in (("email", "a@example.org"), ("push", "b@example.org")):
            answer = api.call("GET", LOOKUP, providerType=channel, address=address)
            assert (answer.status_code, answer.json()["type"]) == (404, "suppression_not_found")
            assert address not in answer.json()["message"]

    def test_an_entry_is_lifted_once_by_its_id(self, api: Api) -> None:
        made = add(api, "a@example.org")
        assert api.call("DELETE", f"{LIST}/{made['$id']}").status_code == 204
        gone = api.refused("GET", LOOKUP, providerType="email", address="a@example.org")
        assert gone == (404, "suppression_not_found")
        for id_ in (made["$id"], "s" + made["$id"][1:], "lookup", "nothing"):
            assert api.refused("DELETE", f"{LIST}/{id_}") == (404, "suppression_not_found")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"address": "a@example.org"},
            {"providerType": "email"},
            {"providerType": "email", "address": ""},
            {"providerType": "email", "address": "nobody"},
            {"providerType": "sms", "address": "030"},
            {"providerType": "push", "address": "a b"},
            {"providerType": "pigeon", "address": "a"},
            {"providerType": "push", "address": "a", "scope": "some"},
            {"providerType": "push", "address": "a", "reason": "x" * 201},
            {"providerType": "push", "address": "x" * 5000},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, api: Api, body: dict[str, Any]) -> None:
        assert api.refused("POST", LIST, body) == (400, "general_argument_invalid")
        assert api.ok("GET", LIST)["total"] == 0

    def test_a_suppressed_address_is_left_out(self, api: Api) -> None:
        """And written to again once it is lifted."""
        api.ok("POST", "/users", {"userId": "ada", "email": "ada@suppressed.example"})
        made = add(api, "ada@suppressed.example")

        def left_out() -> int:
            found = api.ok("POST", "/messaging/messages/resolve", {"users": ["ada"], "providerType": "email"})
            return int(found["channels"][0]["suppressed"])

        assert left_out() == 1
        api.ok("DELETE", f"{LIST}/{made['$id']}")
        assert left_out() == 0


class TestList:
    """`queries[]` and cursors."""

    def test_entries_are_filtered(self, api: Api) -> None:
        bounced = add(api, "a@example.org", reason="bounced_hard")
        left = add(api, "b@example.org", scope="bulk", reason="unsubscribed link")
        stopped = add(api, "+4930123456", "sms", reason="unsubscribed STOP")

        def found(*queries: str) -> list[str]:
            page = api.ok("GET", LIST, queries=queries)
            assert page["total"] == len(page["suppressions"])
            return [each["$id"] for each in page["suppressions"]]

        assert found() == [bounced["$id"], left["$id"], stopped["$id"]]
        assert found(query("orderDesc")) == [stopped["$id"], left["$id"], bounced["$id"]]
        assert found(query("equal", "channel", "sms")) == found(query("equal", "providerType", "sms")) == found()[2:]
        assert found(query("equal", "scope", "bulk")) == [left["$id"]]
        assert found(query("equal", "reason", "bounced_hard")) == [bounced["$id"]]
        assert found(query("startsWith", "reason", "unsubscribed")) == [left["$id"], stopped["$id"]]
        assert found(query("equal", "$id", left["$id"])) == [left["$id"]]
        assert found(query("greaterThan", "$createdAt", "2126-01-01")) == []
        assert len(found(query("lessThan", "$createdAt", "2126-01-01"))) == 3

    def test_pages_follow_each_other(self, api: Api) -> None:
        """Also through entries of one moment, as an import makes them."""
        rows = [{"address": f"p{number}@example.org", "providerType": "email"} for number in range(25)]
        assert api.ok("POST", IMPORT, {"rows": rows})["added"] == 25
        add(api, "last@example.org")
        everything = [each["$id"] for each in api.ok("GET", LIST, queries=(query("limit", None, 100),))["suppressions"]]
        assert len(set(everything)) == 26
        for direction in ("orderAsc", "orderDesc"):
            seen: list[str] = []
            queries: tuple[str, ...] = (query(direction, "$createdAt"), query("limit", None, 10))
            while page := api.ok("GET", LIST, queries=queries)["suppressions"]:
                seen += [each["$id"] for each in page]
                queries = (*queries[:2], query("cursorAfter", None, seen[-1]))
            assert seen == (everything if direction == "orderAsc" else everything[::-1])
        before = api.ok("GET", LIST, queries=(query("limit", None, 5), query("cursorBefore", None, everything[20])))
        assert [each["$id"] for each in before["suppressions"]] == everything[15:20]
        assert api.ok("GET", LIST, total="false")["total"] == 0

    @pytest.mark.parametrize(
        ("said", "type_"),
        [
            (query("equal", "address", "a@example.org"), "general_query_invalid"),
            (query("cursorAfter", None, "nothing"), "general_cursor_not_found"),
            (query("cursorAfter", None, "e-" + "0" * 32), "general_cursor_not_found"),
        ],
    )
    def test_what_cannot_be_asked_is_refused(self, api: Api, said: str, type_: str) -> None:
        assert api.refused("GET", LIST, queries=(said,)) == (400, type_)


class TestImport:
    """JSON and CSV."""

    def test_rows_of_every_channel_go_together(self, api: Api) -> None:
        add(api, "wider@example.org", scope="bulk")
        rows = [
            {"address": "a@example.org", "providerType": "email", "scope": "bulk", "reason": "unsubscribed"},
            {"address": "+4930123456", "providerType": "sms"},
            {"address": "token", "providerType": "push", "scope": None, "reason": ""},
            {"address": "wider@example.org", "providerType": "email"},
            {"address": "A@EXAMPLE.org", "providerType": "email", "scope": "bulk"},
        ]
        done = api.ok("POST", IMPORT, {"rows": rows})
        assert done == {"rows": 5, "added": 3, "raised": 1, "already": 1, "invalid": [], "invalidTotal": 0}
        assert api.ok("POST", IMPORT, {"rows": rows})["already"] == 5
        found = api.ok("GET", LOOKUP, providerType="email", address="a@example.org")
        assert (found["scope"], found["reason"]) == ("bulk", "unsubscribed")
        found = api.ok("GET", LOOKUP, providerType="push", address="token")
        assert (found["scope"], found["reason"]) == ("everything", "imported")

    def test_what_cannot_be_used_is_told_with_its_place_and_stops_nothing(self, api: Api) -> None:
        rows = [
            {"address": "a@example.org", "providerType": "email"},
            {},
            {"address": 5, "providerType": "email"},
            {"address": "b@example.org"},
            {"address": "b@example.org", "providerType": ["email"]},
            {"address": "b@example.org", "providerType": "email", "scope": "some"},
            {"address": "b@example.org", "providerType": "email", "reason": "\ud800"},
            {"address": "a\0b", "providerType": "push"},
        ]
        done = api.ok("POST", IMPORT, {"rows": rows})
        assert (done["rows"], done["added"], done["invalidTotal"]) == (8, 1, 7)
        assert [each["line"] for each in done["invalid"]] == [2, 3, 4, 5, 6, 7, 8]
        assert all(each["reason"] for each in done["invalid"])
        many = api.ok("POST", IMPORT, {"rows": [{"address": "x", "providerType": "sms"}] * 101})
        assert (len(many["invalid"]), many["invalidTotal"]) == (100, 101)

    @pytest.mark.parametrize("body", [{"rows": "x"}, {"rows": [5]}, {"rows": ["a@example.org"]}, {"rows": {}}])
    def test_another_shape_is_refused_by_name(self, api: Api, body: dict[str, Any]) -> None:
        assert api.refused("POST", IMPORT, body) == (400, "general_argument_invalid")

    def test_nothing_is_nothing(self, api: Api) -> None:
        assert api.ok("POST", IMPORT, {})["rows"] == 0

    def test_a_file_is_read_line_by_line(self, api: Api) -> None:
        lines = (
            "\ufeffaddress,providerType,scope,reason",
            'csv@example.org,email,bulk,"left, at last"',
            "nobody,email,,",
        )
        content = "".join(f"{line}\r\n" for line in (*lines, "", "+4930123456,sms,,"))
        answer = send_csv(api, content.encode(), content_type="Text/CSV; charset=utf-8")
        assert answer.status_code == 200
        done = answer.json()
        assert (done["rows"], done["added"], [each["line"] for each in done["invalid"]]) == (3, 2, [3])
        found = api.ok("GET", LOOKUP, providerType="email", address="csv@example.org")
        assert (found["scope"], found["reason"]) == ("bulk", "left, at last")

    def test_a_long_one_goes_by_way_of_the_disk(self, api: Api) -> None:
        """60,000 lines, which are more than is kept in memory."""
        content = "email\n" + "".join(f"somebody-{number:06d}@example.org\n" for number in range(60_000))
        assert len(content) > 1024 * 1024
        assert send_csv(api, content.encode()).json()["added"] == 60_000
        assert send_csv(api, content.encode()).json()["already"] == 60_000

    @pytest.mark.parametrize("content", [b"", b"colour\nred\n", b"address\na@example.org\n", b"\xff\xfe\n"])
    def test_a_file_that_is_something_else_is_refused(self, api: Api, content: bytes) -> None:
        answer = send_csv(api, content)
        assert answer.status_code == 400
        assert answer.json()["type"] in {"general_argument_invalid", "general_bad_request"}

    def test_a_file_that_breaks_off_in_its_encoding_imports_nobody(self, api: Api) -> None:
        """All of a request, or none: also what stood before."""
        content = b"token\n" + b"".join(b"half-%06d\n" % number for number in range(25_000)) + b"\xff\n"
        answer = send_csv(api, content)
        assert (answer.status_code, answer.json()["type"]) == (400, "general_bad_request")
        assert "UTF-8" in answer.json()["message"]
        assert api.ok("GET", LIST)["total"] == 0

    def test_the_same_file_under_one_key_is_answered_again(self, api: Api) -> None:
        key = {"idempotency-key": "suppressed"}
        first, again = (send_csv(api, b"email\nkey@example.org\n", **key) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = send_csv(api, b"email\nother@example.org\n", **key)
        assert (other.status_code, other.json()["type"]) == (409, "general_idempotency_conflict")


class TestWhoMay:
    """Servers, by two scopes."""

    def test_a_key_reaches_what_its_scopes_say(self, api: Api) -> None:
        made = add(api, "a@example.org")
        body = {"providerType": "email", "address": "b@example.org"}
        calls: list[tuple[str, str, Any, dict[str, Any], str]] = [
            ("GET", LIST, None, {}, "suppressions.read"),
            ("GET", LOOKUP, None, {"providerType": "email", "address": "a@example.org"}, "suppressions.read"),
            ("POST", LIST, body, {}, "suppressions.write"),
            ("POST", IMPORT, {}, {}, "suppressions.write"),
            ("DELETE", f"{LIST}/{made['$id']}", None, {}, "suppressions.write"),
        ]
        keys = {scope: api.new_key(scope) for scope in ("suppressions.read", "suppressions.write")}
        for method, path, said, params, scope in calls:
            for held, secret in keys.items():
                answer = api.call(method, path, said, headers={"x-appwrite-key": secret}, **params)
                assert answer.status_code == 401 if held != scope else answer.is_success, (method, path, held)

    def test_people_may_not(self, api: Api) -> None:
        assert api.refused("GET", LIST, key=False) == (401, "general_unauthorized_scope")
        assert send_csv(api, b"\xff", **{"x-appwrite-key": "standard_x"}).status_code == 401
