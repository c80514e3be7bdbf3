"""Hostile input: every answer is an answer, none is a failure of the server, and nothing grows without bounds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from messaging.http.body import LARGEST_JSON_BYTES
from messaging.http.operations import Operation
from messaging.http.surface import OPERATIONS
from tests.integration.http import hostile
from tests.integration.http.api import PATIENCE_S, Api, running_api
from tests.integration.http.hostile import SQL, TEXTS, checked, head_of, raw, refused

TOPICS = "/messaging/topics"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def api(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The running API; calls are not counted, so that each is answered for what it says."""
    with running_api(postgres_url, valkey_url, http_rate_limits=False) as running:
        yield running


@pytest.fixture(autouse=True)
def _answers_afterwards(api: Api) -> Iterator[None]:
    """After all of it, a normal call is answered."""
    yield
    made = api.ok("POST", TOPICS, {"topicId": "unique()", "name": "Normal"})
    assert api.ok("GET", f"{TOPICS}/{made['$id']}")["name"] == "Normal"
    api.ok("DELETE", f"{TOPICS}/{made['$id']}")


def post(api: Api, content: bytes, *, path: str = TOPICS, **headers: str) -> httpx.Response:
    """The answer to a POST of these bytes."""
    sent = {"x-appwrite-project": api.project, "x-appwrite-key": api.key} | JSON
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return checked(api.client.post(api.url + path, content=content, headers=sent))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_hostile_texts_in_every_parameter_are_data(api: Api, operation: Operation) -> None:
    """SQL, NUL, half a surrogate pair, line ends, ten kilobytes: taken as text or refused."""
    for value in TEXTS.values():
        for _, path, query, body in hostile.requests_with(operation, value):
            hostile.send(api, operation, path, query, body)
    with api.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM topics")).scalar() is not None


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_values_of_other_types_are_refused_or_taken(api: Api, operation: Operation) -> None:
    """Never more than that."""
    values: tuple[Any, ...] = (True, 10**400, 1.5, [[None]], {"a": {}}, "", -(2**31) - 1)
    for value in values:
        for _, path, query, body in hostile.requests_with(operation, value):
            hostile.send(api, operation, path, query, body)


def test_sql_is_kept_to_the_letter(api: Api) -> None:
    """And found again by it."""
    said = f"once {SQL}"
    made = api.ok("POST", TOPICS, {"topicId": "unique()", "name": said})
    assert made["name"] == said
    by_name = json.dumps({"method": "equal", "attribute": "name", "values": [said]})
    assert [one["$id"] for one in api.ok("GET", TOPICS, queries=(by_name,))["topics"]] == [made["$id"]]
    assert [one["$id"] for one in api.ok("GET", TOPICS, search=said)["topics"]] == [made["$id"]]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"text"',
        b"1",
        b"null",
        b"true",
        b"{",
        b'{"topicId": "a", "name": "b",}',
        b"{'topicId': 'a'}",
        b'{"topicId": "a", "name": "\xff\xfe"}',
        b'{"topicId": "a", "name": "\xed\xa0\x80"}',
        b'{"topicId": "a", "name": NaN}',
        b'{"topicId": "a", "name": "b", "more": Infinity}',
        b'{"topicId": "a", "name": "b", "more": 1e400}',
        b'{"topicId": "a", "name": "b", "more": -1e999999999}',
        b'{"topicId": "a", "name": "b", "qos": 1' + b"0" * 400 + b"}",
        b'{"topicId": "a", "name": "b", "qos": 1' + b"0" * 10_000 + b"}",
        b'{"topicId": "a", "name": "b", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b'{"topicId": "a", "name": {"a": {"b": []}}}',
        b'{"topicId": "a", "name": "b", "description": "\\u0000"}',
        b'{"topicId": "a", "name": "b", "description": "\\udfff\\ud800"}',
    ],
)
def test_bodies_that_make_no_sense_are_refused(api: Api, body: bytes) -> None:
    """With a 400, and nothing is made of them."""
    assert post(api, body).status_code == 400
    assert post(api, body, idempotency_key="hostile").status_code == 400
    assert api.refused("GET", f"{TOPICS}/a") == (404, "topic_not_found")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
        "/",
    ],
)
def test_a_body_of_another_content_type_is_refused(api: Api, kind: str) -> None:
    """Even if it would be JSON."""
    assert post(api, b'{"topicId": "a", "name": "b"}', content_type=kind).status_code == 400


def test_of_a_key_given_twice_the_last_counts(api: Api) -> None:
    """Everywhere alike, so nobody is told one thing and given another."""
    answer = post(api, b'{"topicId": "unique()", "name": "first", "name": "last"}')
    assert answer.json()["name"] == "last"


def test_nesting_in_what_is_ignored_does_no_harm(api: Api) -> None:
    """Not even where the request is remembered."""
    deep = b'{"topicId": "unique()", "name": "Deep", "more": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert post(api, deep, idempotency_key="deep").status_code in {201, 400}


@pytest.mark.parametrize(
    "id_",
    [
        "%2F",
        "a%2Fb",
        "..%2F..%2Fusers",
        "%2e%2e",
        "%00",
        "a%00b",
        "%0d%0aX-Injected:%20yes",
        "%FF%FE",
        "%ED%A0%80",
        "%F0%9F%A7%A8",
        "%25%32%46",
        "a%20b",
        "_a",
        "x" * 37,
        "x" * 10_000,
        "{topicId}",
        "unique()",
        "%",
        "%zz",
        ";a=b",
        "*",
    ],
)
def test_hostile_ids_find_nothing(api: Api, id_: str) -> None:
    """In whatever way they are written."""
    for method in ("GET", "PATCH", "DELETE"):
        for path in (f"{TOPICS}/{id_}", f"/users/{id_}/targets/{id_}", f"/messaging/messages/{id_}/deliveries"):
            status, body = raw(api, head_of(api, "Content-Length: 0", method=method, path=path))
            assert status in {400, 404, 405}, f"{method} {path}: {status}"
            assert json.loads(body)["code"] == status


class TestTooMuch:
    """Sizes."""

    def test_a_body_said_to_be_too_large_is_refused_before_it_comes(self, api: Api) -> None:
        status, body = raw(api, head_of(api, "Content-Type: application/json", "Content-Length: 10000000000"))
        assert status == 413
        assert json.loads(body)["type"] == "general_body_too_large"

    def test_a_body_that_never_ends_is_refused_when_it_is_too_large(self, api: Api) -> None:
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        head = head_of(api, "Content-Type: application/json", "Transfer-Encoding: chunked")
        status, body = raw(api, head + piece * (LARGEST_JSON_BYTES // 0x10000 + 1))
        assert status == 413
        assert json.loads(body)["code"] == 413

    def test_a_body_in_pieces_and_without_a_length_is_read(self, api: Api) -> None:
        said = b'{"topicId": "unique()", "name": "In pieces"}'
        pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in said) + b"0\r\n\r\n"
        status, body = raw(api, head_of(api, "Content-Type: application/json", "Transfer-Encoding: chunked") + pieces)
        assert status == 201
        assert json.loads(body)["name"] == "In pieces"

    def test_a_million_values_are_refused_before_they_are_made(self, api: Api) -> None:
        body = b'{"topicId": "a", "name": "b", "subscribe": [' + b"1," * 1_000_000 + b"1]}"
        assert post(api, body).status_code == 413

    def test_a_hundred_thousand_ids_are_an_audience(self, api: Api) -> None:
        ids = [f"u{number}" for number in range(100_001)]
        most = {"messageId": "unique()", "content": "x", "users": ids[:-1]}
        assert refused(post(api, json.dumps(most).encode(), path="/messaging/messages/sms")) == "user_not_found"
        more = most | {"users": ids}
        answer = post(api, json.dumps(more).encode(), path="/messaging/messages/sms")
        assert refused(answer) == "general_argument_invalid"

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
    def test_memory_stays_bounded(self, api: Api) -> None:
        """Forty of the worst bodies at the same time, and a hundred megabytes that nobody reads."""
        worst = b'{"topicId": "a", "more": [' + b"[]," * 130_000 + b"[]]}"
        spaces = b" " * (LARGEST_JSON_BYTES - 10)
        before = hostile.forget_peak()
        with ThreadPoolExecutor(20) as pool:
            sent = [pool.submit(post, api, body) for body in (worst, spaces) * 20]
            assert {each.result().status_code for each in sent} == {400}
        head = head_of(api, "Content-Type: application/json", "Content-Length: 100000000")
        assert raw(api, head + b" " * 1_000_000)[0] == 413
        grown = hostile.peak_bytes() - before
        assert grown < 300 * 2**20, f"{grown / 2**20:.0f} MiB"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: -1",),
        ("Content-Length: 1_0",),
        ("Content-Length: \xb2",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked, chunked",),
    ],
)
def test_requests_with_two_readings_are_not_read(api: Api, lines: tuple[str, ...]) -> None:
    """One of them could be smuggled past whoever stands before us."""
    status, _ = raw(api, head_of(api, "Content-Type: application/json", *lines) + b"5\r\n{}   \r\n0\r\n\r\n")
    assert status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"x-appwrite-project": "d\xe9faut"},
        {"x-appwrite-project": "x" * 10_000},
        {"x-appwrite-project": "default' OR '1'='1"},
        {"x-appwrite-key": "\xff" * 100},
        {"x-appwrite-key": "standard_" + "0" * 10_000},
        {"x-appwrite-jwt": "a.b.c"},
        {"x-appwrite-jwt": "." * 10_000},
        {"x-appwrite-session": "x" * 10_000},
        {"x-appwrite-session": "eyJpZCI6MX0="},
        {"x-fallback-cookies": "{"},
        {"x-fallback-cookies": "[" * 10_000},
        {"x-fallback-cookies": '{"a_session_default": {"a": 1}}'},
        {"x-fallback-cookies": '{"a_session_default": "\\ud800\\u0000"}'},
        {"cookie": "a_session_default=\xff; =; ;;;" + "a" * 5000},
        {"origin": "https://a.example/\xff"},
        {"origin": "null"},
        {"x-forwarded-for": "999.999.999.999, ::ffff:z"},
        {"user-agent": "\xff" * 5000},
        {"idempotency-key": "x" * 10_000},
        {"idempotency-key": "\xad"},
        {"content-type": "application/json; charset=" + "x" * 5000},
        {"accept": "application/x-nothing"},
        {"range": "bytes=99999999999999999999999-1,2-,-"},
        {"x-appwrite-response-format": "-1.NaN"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_hostile_headers_are_answered(api: Api, headers: dict[str, str]) -> None:
    """As what they are: no project, no key, nobody."""
    sent = {"x-appwrite-project": api.project} | headers
    encoded = {name.encode(): value.encode("latin-1") for name, value in sent.items()}
    for method, path, body in (
        ("GET", TOPICS, b""),
        ("GET", "/account", b""),
        ("GET", "/storage/buckets/a/files/b/view", b""),
        ("POST", TOPICS, b'{"topicId": "unique()", "name": "x"}'),
        ("POST", "/account/sessions/anonymous", b"{}"),
    ):
        content_type = {} if b"content-type" in encoded else {b"content-type": b"application/json"}
        checked(api.client.request(method, api.url + path, content=body, headers=encoded | content_type))
    api.client.cookies.clear()


def test_names_of_files_inject_no_header(api: Api) -> None:
    """A name comes back in a header: quoted, or not at all."""
    api.ok("POST", "/storage/buckets", {"bucketId": "hostile", "name": "Hostile"})
    key = {"x-appwrite-project": api.project, "x-appwrite-key": api.key}
    names = ['a"; filename="b.txt', "a\r\nX-Injected: yes.txt", "\u202etxt.exe", "\U0001f9e8" * 60, "../../etc/passwd"]
    for number, name in enumerate(names):
        path = f"/storage/buckets/hostile/files/f{number}"
        checked(
            api.client.post(
                f"{api.url}/storage/buckets/hostile/files",
                data={"fileId": f"f{number}"},
                files={"file": ("plain.txt", b"hello", "text/plain")},
                headers=key,
            )
        )
        if checked(api.call("PUT", path, {"name": name})).is_success:
            for kind in ("view", "download"):
                answer = checked(api.client.get(f"{api.url}{path}/{kind}", headers=key))
                assert answer.content == b"hello"
                assert "\n" not in answer.headers.get("content-disposition", "")


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.method == "GET"], ids=lambda one: one.name)
def test_head_is_get_without_a_body(api: Api, operation: Operation) -> None:
    """With the same status."""
    path, query, _ = hostile.request_with(operation, None, None)
    headers = {"x-appwrite-project": api.project, "x-appwrite-key": api.key}
    get, head = (
        checked(api.client.request(method, api.url + path, params=query, headers=headers)) for method in ("GET", "HEAD")
    )
    assert (head.status_code, head.content) == (get.status_code, b"")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "CONNECT", "BREW"])
def test_other_methods_are_refused(api: Api, method: str) -> None:
    """By name, and with what there is instead."""
    for path in (TOPICS, "/users", "/nothing"):
        answer = httpx.request(method, api.url + path, headers={"x-appwrite-project": api.project}, timeout=PATIENCE_S)
        assert answer.status_code in ({200, 204, 404, 405} if method == "OPTIONS" else {400, 404, 405})
        if answer.status_code == 405:
            assert "GET" in answer.headers["allow"]


def test_a_client_that_goes_away_in_the_middle_harms_nobody(api: Api) -> None:
    """Fifty of them."""
    head = head_of(api, "Content-Type: application/json", "Content-Length: 1000")
    for number in range(50):
        hostile.go_away(api, head[: len(head) * number // 50] if number % 2 else head + b'{"topicId": ')


def test_errors_quote_little(api: Api) -> None:
    """A message names the thing and does not hand a caller's megabyte back."""
    body: dict[str, Any] = {"topicId": "x" * 100_000, "name": "y" * 100_000}
    assert len(post(api, json.dumps(body).encode()).content) < 2000
    query = json.dumps({"method": "equal", "attribute": "z" * 3000, "values": ["v"]})
    answer = api.call("GET", TOPICS, queries=(query,))
    assert refused(answer) == "general_query_invalid"
    assert len(answer.content) < 2000
