"""Pages in browsers: which may call, and with what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.api import Api, running_api
from tests.integration.http.people import PASSWORD, browser, has_account, session_secret, signs_in, speaking

PAGE = "http://localhost:5173"
FOREIGN = "https://evil.example"


@pytest.fixture(scope="module")
def open_api(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """An API that any page may call, and one host with cookies."""
    with running_api(postgres_url, valkey_url, http_origins="*, app.example.org:8443") as running:
        yield running


def test_a_preflight_is_answered_for_every_path(api: Api) -> None:
    """Also for one that does not exist, and with a slash too many."""
    asked = {
        "origin": PAGE,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type,x-appwrite-project,x-appwrite-response-format",
    }
    for path in ("/account", "/messaging/topics", "/account/targets/x/push", "/nosuch", "//account"):
        answer = api.call("OPTIONS", path, key=False, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "x-appwrite-project", "x-appwrite-jwt", "x-fallback-cookies", "x-sdk-name"} <= set(
            allowed
        )
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/messaging/topics", 200),
        ("GET", "/messaging/topics/nosuch", 404),
        ("GET", "/nosuch", 404),
        ("PUT", "/messaging/topics", 405),
        ("POST", "/messaging/topics", 400),
    ],
)
def test_every_answer_may_be_read(api: Api, method: str, path: str, status: int) -> None:
    """Errors too: else the SDK says `Invalid Origin` where something else was wrong."""
    answer = api.call(method, path, headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "X-Fallback-Cookies" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:1",
        "http://127.0.0.1:3000",
        "HTTP://LOCALHOST:80",
        "appwrite-ios://com.example",
    ],
)
def test_an_allowed_origin_is_echoed(api: Api, origin: str) -> None:
    """Exactly, on any port; browsers write origins in lower case."""
    answer = api.call("GET", "/messaging/topics", headers={"origin": origin})
    assert answer.headers.get("access-control-allow-origin") == (origin if origin.islower() else None)


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://evil.example#localhost",
        "http://127.0.0.1.nip.io",
        "http://[::1",
        "http://localhost:99999",
        "file://localhost",
        "*",
    ],
)
def test_another_origin_may_read_nothing_and_use_no_session(api: Api, origin: str) -> None:
    """However much it looks like an allowed one."""
    answer = api.call("GET", "/messaging/topics", headers={"origin": origin})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    asked = {"origin": origin, "access-control-request-method": "POST"}
    preflight = api.call("OPTIONS", "/account", key=False, headers=asked)
    assert not [name for name in preflight.headers if name.startswith("access-control-")]
    carried = {"origin": origin, "cookie": f"a_session_default={session_secret(api, account(api))}"}
    assert api.refused("GET", "/account", key=False, headers=carried) == (403, "general_unknown_origin")


def account(api: Api) -> str:
    """Somebody's id."""
    if api.call("GET", "/users/ada").status_code != 200:
        has_account(api, "ada")
    return "ada"


def test_without_an_origin_nothing_of_it_is_said(api: Api) -> None:
    """But a cache is told that it matters."""
    answer = api.call("GET", "/messaging/topics")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["vary"] == "Origin"


def test_the_apis_own_pages_may_call(api: Api) -> None:
    """A page served by the same host and port sends its origin with everything but GET."""
    own = api.url.removesuffix("/v1").replace("127.0.0.1", "api.example.org")
    said = {"origin": own, "host": own.removeprefix("http://")}
    assert api.call("GET", "/messaging/topics", headers=said).headers["access-control-allow-origin"] == own
    other = said | {"origin": own.replace("http:", "https:")}
    assert "access-control-allow-origin" not in api.call("GET", "/messaging/topics", headers=other).headers


def test_a_foreign_page_signs_nobody_in(api: Api) -> None:
    """A form needs no preflight: the answer to it sets no cookie."""
    with browser(api, origin=FOREIGN) as page:
        answer = page.call("POST", "/account/sessions/anonymous", key=False)
        assert answer.status_code == 201
        assert "set-cookie" not in answer.headers
        assert "access-control-expose-headers" not in answer.headers


def test_a_page_signs_in_with_its_cookie(api: Api) -> None:
    """Which another page can not use."""
    account(api)
    with browser(api, origin=PAGE) as page:
        signs_in(page, "ada")
        assert page.ok("GET", "/account", key=False)["$id"] == "ada"
        assert page.refused("GET", "/account", key=False, headers={"origin": FOREIGN}) == (
            403,
            "general_unknown_origin",
        )


class TestAnyPage:
    """`*` in MESSAGING_HTTP_ORIGINS."""

    def test_it_may_call_but_cookies_do_not_count(self, open_api: Api) -> None:
        user = account(open_api)
        cookie = {"origin": FOREIGN, "cookie": f"a_session_default={session_secret(open_api, user)}"}
        answer = open_api.call("GET", "/account", key=False, headers=cookie)
        assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")
        assert answer.headers["access-control-allow-origin"] == FOREIGN

    def test_it_signs_in_with_the_fallback(self, open_api: Api) -> None:
        account(open_api)
        with browser(open_api, origin=FOREIGN) as page:
            body = {"email": "ada@example.com", "password": PASSWORD}
            answer = page.call("POST", "/account/sessions/email", body, key=False)
            assert answer.status_code == 201
            assert "set-cookie" not in answer.headers
            said = {"x-fallback-cookies": answer.headers["x-fallback-cookies"]}
            assert page.ok("GET", "/account", key=False, headers=said)["$id"] == "ada"

    def test_a_named_page_still_has_cookies(self, open_api: Api) -> None:
        cookie = {"cookie": f"a_session_default={session_secret(open_api, account(open_api))}"}
        named = cookie | {"origin": "https://app.example.org:8443"}
        assert open_api.ok("GET", "/account", key=False, headers=named)["$id"] == "ada"
        other_port = cookie | {"origin": "https://app.example.org"}
        assert open_api.refused("GET", "/account", key=False, headers=other_port)[0] == 401

    def test_a_header_that_a_page_sets_itself_counts(self, open_api: Api) -> None:
        said = speaking(session_secret(open_api, account(open_api))) | {"origin": FOREIGN}
        assert open_api.ok("GET", "/account", key=False, headers=said)["$id"] == "ada"
