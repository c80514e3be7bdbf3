"""Subscribing thousands with one request: JSON or a CSV file, what can't be used with its reason."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.http.api import PATIENCE_S, Api


@pytest.fixture
def topic(api: Api) -> str:
    """The id of a new topic."""
    return str(api.ok("POST", "/messaging/topics", {"topicId": "unique()", "name": "T"})["$id"])


def path(topic: str) -> str:
    """Where it is done."""
    return f"/messaging/topics/{topic}/subscribers/bulk"


def totals(api: Api, topic: str) -> tuple[int, int, int]:
    """(email, SMS, push) subscribers of a topic."""
    found = api.ok("GET", f"/messaging/topics/{topic}")
    return found["emailTotal"], found["smsTotal"], found["pushTotal"]


def send_csv(api: Api, topic: str, content: bytes, *, content_type: str = "text/csv", **headers: str) -> httpx.Response:
    """A CSV file as a body."""
    sent = {"x-appwrite-project": api.project, "x-appwrite-key": api.key, "content-type": content_type, **headers}
    return api.client.post(api.url + path(topic), content=content, headers=sent)


class TestJson:
    """Targets and addresses in a body."""

    def test_thousands_are_one_request(self, api: Api, topic: str) -> None:
        """And the same again finds them there."""
        body = {"addresses": [f"p{number}@bulk.example" for number in range(5000)], "channel": "email"}
        done = api.ok("POST", path(topic), body)
        assert done == {"created": 5000, "existing": 0, "rejected": [], "rejectedTotal": 0}
        assert api.ok("POST", path(topic), body)["existing"] == 5000
        assert totals(api, topic) == (5000, 0, 0)

    def test_targets_and_addresses_of_every_channel_go_together(self, api: Api, topic: str) -> None:
        api.ok("POST", "/users", {"userId": "named", "email": "named@bulk.example"})
        target = api.ok("GET", "/users/named")["targets"][0]["$id"]
        body = {
            "targets": [target],
            "addresses": [
                {"email": "mail@bulk.example"},
                {"phone": "+49 30 901820", "userId": "new-user", "name": "New"},
                {"token": "bulk-token", "userId": "new-user"},
            ],
        }
        assert api.ok("POST", path(topic), body)["created"] == 4
        assert totals(api, topic) == (2, 1, 1)
        made = api.ok("GET", "/users/new-user")
        assert (made["name"], made["phone"]) == ("New", "+4930901820")
        assert [each["identifier"] for each in made["targets"]] == ["+4930901820", "bulk-token"]

    def test_what_cannot_be_used_is_told_with_its_place_and_stops_nothing(self, api: Api, topic: str) -> None:
        api.ok("POST", "/users", {"userId": "owner", "email": "owner@bulk.example"})
        body = {
            "targets": ["missing", "no id!"],
            "addresses": [
                {"email": "good@bulk.example"},
                {"email": "nobody"},
                {"email": "owner@bulk.example", "userId": "thief"},
                {"phone": "030"},
                {"email": "a@bulk.example", "phone": "+4930901820"},
                {},
                "text@bulk.example",
                {"email": 5},
                {"email": "a\0b@bulk.example"},
                {"email": "\ud800@bulk.example"},
                {"token": "t", "providerId": "\ud800"},
                {"token": "t", "providerId": "missing"},
                {"email": "b@bulk.example", "userId": "../x"},
                {"email": "c@bulk.example", "name": "x" * 129},
                {"token": "a b"},
            ],
        }
        done = api.ok("POST", path(topic), body)
        assert (done["created"], done["existing"], done["rejectedTotal"]) == (1, 0, 16)
        places = [(each["list"], each["line"]) for each in done["rejected"]]
        assert places == [("targets", 1), ("targets", 2), *(("addresses", line) for line in range(2, 16))]
        assert all(each["reason"] for each in done["rejected"])
        assert "belongs to another user" in done["rejected"][3]["reason"]
        assert totals(api, topic) == (1, 0, 0)

    def test_one_channel_may_be_asked_for(self, api: Api, topic: str) -> None:
        body = {"addresses": ["+4930901826", {"phone": "+4930901827"}, {"email": "x@bulk.example"}], "channel": "sms"}
        done = api.ok("POST", path(topic), body)
        assert (done["created"], [each["line"] for each in done["rejected"]]) == (2, [3])

    def test_nothing_is_nothing(self, api: Api, topic: str) -> None:
        empty = {"created": 0, "existing": 0, "rejected": [], "rejectedTotal": 0}
        assert api.ok("POST", path(topic), {}) == empty
        assert api.ok("POST", path(topic), {"targets": None, "addresses": []}) == empty

    @pytest.mark.parametrize(
        "body",
        [
            {"targets": "x"},
            {"targets": [5]},
            {"addresses": {"email": "a@bulk.example"}},
            {"addresses": [5]},
            {"addresses": [None]},
            {"channel": "pigeon"},
            {"targets": ["x"] * 100_001},
        ],
    )
    def test_another_shape_is_refused_by_name(self, api: Api, topic: str, body: dict[str, Any]) -> None:
        assert api.refused("POST", path(topic), body) == (400, "general_argument_invalid")


class TestCsv:
    """A file as the body, as `messaging topic subscribe --csv` takes it."""

    def test_a_file_is_read_line_by_line(self, api: Api, topic: str) -> None:
        """With a byte order mark, quotes and lines that can't be used."""
        lines = (
            "\ufeffemail,user_id,name",
            'csv1@bulk.example,csv-user,"Doe, Jane"',
            "nobody,,",
            "",
            "csv2@bulk.example,,",
        )
        content = "".join(f"{line}\r\n" for line in lines)
        done = send_csv(api, topic, content.encode(), content_type="Text/CSV; charset=utf-8")
        assert done.status_code == 200
        assert (done.json()["created"], done.json()["rejectedTotal"]) == (2, 1)
        (refused,) = done.json()["rejected"]
        assert (refused["list"], refused["line"]) == ("csv", 3)
        assert api.ok("GET", "/users/csv-user")["name"] == "Doe, Jane"

    def test_a_long_one_goes_by_way_of_the_disk(self, api: Api, topic: str) -> None:
        """60,000 lines, which are more than is kept in memory."""
        content = "token\n" + "".join(f"long-token-of-a-device-{number:08d}\n" for number in range(60_000))
        assert len(content) > 1024 * 1024
        assert send_csv(api, topic, content.encode()).json()["created"] == 60_000
        assert totals(api, topic) == (0, 0, 60_000)

    @pytest.mark.parametrize("content", [b"", b"colour\nred\n", b"email,token\na,b\n", b"email,email\n", b"\xff\xfe\n"])
    def test_a_file_that_is_something_else_is_refused(self, api: Api, topic: str, content: bytes) -> None:
        answer = send_csv(api, topic, content)
        assert answer.status_code == 400
        assert answer.json()["type"] in {"general_argument_invalid", "general_bad_request"}

    def test_a_file_that_breaks_off_in_its_encoding_subscribes_nobody(self, api: Api, topic: str) -> None:
        """All of a request, or none: also what stood before."""
        content = b"token\n" + b"".join(b"half-%06d\n" % number for number in range(25_000)) + b"\xff\n"
        answer = send_csv(api, topic, content)
        assert (answer.status_code, answer.json()["type"]) == (400, "general_bad_request")
        assert "UTF-8" in answer.json()["message"]
        assert totals(api, topic) == (0, 0, 0)

    def test_hostile_lines_are_rejected_one_by_one(self, api: Api, topic: str) -> None:
        lines = ["token,user_id", "a\0b,", "ok-token,'; DROP TABLE users; --", '"unfinished', ",", "x" * 5000 + ","]
        done = send_csv(api, topic, "\n".join(lines).encode())
        assert done.status_code == 200
        assert done.json()["created"] == 0
        assert done.json()["rejectedTotal"] >= 3
        assert totals(api, topic) == (0, 0, 0)

    def test_one_that_is_too_long_is_refused_unread(self, api: Api, topic: str) -> None:
        """By what it says of itself, before the first byte."""
        where = urlsplit(api.url)
        asking = HTTPConnection(str(where.hostname), where.port, timeout=PATIENCE_S)
        asking.putrequest("POST", where.path + path(topic))
        sent = {"x-appwrite-project": api.project, "x-appwrite-key": api.key, "content-type": "text/csv"}
        for name, value in {**sent, "content-length": str(64 * 1024 * 1024 + 1)}.items():
            asking.putheader(name, value)
        asking.endheaders()
        answer = asking.getresponse()
        assert (answer.status, json.loads(answer.read())["type"]) == (413, "general_body_too_large")
        asking.close()

    def test_who_may_not_is_told_before_it_is_read(self, api: Api, topic: str) -> None:
        for secret in ("standard_x", api.new_key("subscribers.read")):
            answer = send_csv(api, topic, b"\xff", **{"x-appwrite-key": secret})
            assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")

    def test_the_same_file_under_one_key_is_answered_again_and_another_refused(self, api: Api, topic: str) -> None:
        key = {"idempotency-key": f"csv-{topic}"}
        first = send_csv(api, topic, b"email\nkey1@bulk.example\n", **key)
        again = send_csv(api, topic, b"email\nkey1@bulk.example\n", **key)
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = send_csv(api, topic, b"email\nkey2@bulk.example\n", **key)
        assert (other.status_code, other.json()["type"]) == (409, "general_idempotency_conflict")

    def test_another_operation_takes_no_file(self, api: Api, topic: str) -> None:
        sent = {"x-appwrite-project": api.project, "x-appwrite-key": api.key, "content-type": "text/csv"}
        answer = api.client.post(f"{api.url}/messaging/topics/{topic}/subscribers", content=b"a", headers=sent)
        assert (answer.status_code, answer.json()["type"]) == (400, "general_bad_request")


def test_a_missing_topic_is_named(api: Api) -> None:
    """In either form."""
    assert api.refused("POST", path("nothing"), {"targets": []}) == (404, "topic_not_found")
    answer = send_csv(api, "nothing", b"email\na@bulk.example\n")
    assert (answer.status_code, answer.json()["type"]) == (404, "topic_not_found")


def test_people_may_not(api: Api, topic: str) -> None:
    """It is for servers."""
    assert api.refused("POST", path(topic), {"targets": []}, key=False) == (401, "general_unauthorized_scope")
