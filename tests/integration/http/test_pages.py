"""What the API serves to browsers is held to one standard, whatever route it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from messaging.console.app import create_app
from messaging.http.cookies import cookie_name
from messaging.http.page_safety import hash_source
from messaging.ids import delivery_tag
from messaging.settings import Settings
from messaging.unsubscribe_links import PATH, token
from tests.integration.http import storage
from tests.integration.http.api import PATIENCE_S, SECRET, Api, running_api
from tests.integration.http.people import has_account, session_secret

HTML = "<!doctype html><title>x</title><script>alert(1)</script><p onclick='alert(2)'>x</p>"


def routes() -> list[str]:
    """The paths of every route."""
    app: Any = create_app(Settings.load({}, database_url="postgresql://x", broker_url="redis://x", secret_key=SECRET))
    while not isinstance(app, Starlette):
        app = app._app
    return sorted({route.path for route in app.routes if isinstance(route, Route)})


ROUTES = routes()


@pytest.fixture(scope="module")
def https(api: Api) -> Iterator[httpx.Client]:
    """A client as a proxy before the API hands it on, which ended its TLS."""
    base, headers = api.url.removesuffix("/v1"), {"x-forwarded-proto": "https"}
    with httpx.Client(base_url=base, headers=headers, timeout=PATIENCE_S) as client:
        yield client


def held_to_the_standard(answer: httpx.Response, *, over_tls: bool = False) -> None:
    """Assert what every answer must carry."""
    headers = answer.headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] in {"'none'", "'self'"}
    assert policy.get("script-src", "'none'") in {"'none'", "'self'"}
    if "sandbox" in policy:
        assert policy["sandbox"] == ""
    else:
        assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in {"no-store", "no-cache", "private, no-cache"}
    assert ("strict-transport-security" in headers) is over_tls
    for cookie in headers.get_list("set-cookie"):
        assert "; HttpOnly" in cookie
        assert ("; Secure" in cookie) is over_tls
        assert "no-store" in headers["cache-control"]
    if "html" in headers.get("content-type", "") and answer.content and "sandbox" not in policy:
        assert "html" in answer.text[:20].lower()
        nothing_inline(answer.text, policy)


class _Page(HTMLParser):
    """Collects what a page would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: list[str] = []
        self.sources: list[str] = []
        self.styles: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        address = given.get("href") or ""
        # a link somebody follows or not: nothing is loaded
        if not (tag == "a" and given.get("rel") == "noreferrer" and address.startswith("https://")):
            self.sources += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        if tag == "script":
            assert given.get("src"), "an inline script"
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)
            self._in_style = False


def nothing_inline(html: str, policy: dict[str, str]) -> None:
    """Assert that a page has no script or handler in it, no style but what its policy names, nothing from elsewhere."""
    page = _Page()
    page.feed(html)
    assert page.handlers == []
    assert not [source for source in page.sources if re.match(r"(?i)(https?:)?//|javascript:|data:", source)]
    assert [style for style in page.styles if hash_source(style) not in policy["style-src"]] == []


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_answers_by_the_standard(api: Api, https: httpx.Client, path: str) -> None:
    """With whatever it answers to somebody unknown: over plain HTTP and over TLS, right and wrong methods."""
    path = re.sub(r"{\w+}", "nothing", path)
    for method in ("GET", "POST"):
        held_to_the_standard(api.client.request(method, api.url.removesuffix("/v1") + path))
        held_to_the_standard(https.request(method, path), over_tls=True)


def test_what_is_no_route_answers_by_the_standard(api: Api) -> None:
    """And so does an answer that has not changed."""
    held_to_the_standard(api.client.get(f"{api.url}/nothing/<script>"))
    first = api.client.get(f"{api.url}/docs")
    held_to_the_standard(first)
    unchanged = api.client.get(f"{api.url}/docs", headers={"if-none-match": first.headers["etag"]})
    assert unchanged.status_code == 304
    held_to_the_standard(unchanged)


def test_the_page_of_an_unsubscribe_link_has_no_script_and_its_style_is_known_by_hash(api: Api) -> None:
    """Before the click and after it."""
    tag = delivery_tag(date(2026, 11, 1), 1, 1)
    for method in ("GET", "POST"):
        answer = api.client.request(method, f"{api.url.removesuffix('/v1')}{PATH}/{token(api.vault, tag)}")
        assert answer.headers["content-type"].startswith("text/html")
        held_to_the_standard(answer)


@pytest.mark.parametrize("way", ["view", "download", "preview"])
def test_what_somebody_stored_runs_nowhere(api: Api, way: str) -> None:
    """A page or a picture with a script in it is shown in a sandbox, as the type it was stored as."""
    bucket = storage.bucket(api, f"b-{way}", permissions=['read("any")'])
    for name, data in (("a.html", HTML.encode()), ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")):
        stored = storage.stored(api, bucket, "unique()", data, name=name)
        answer = api.call("GET", f"/storage/buckets/{bucket}/files/{stored['$id']}/{way}")
        held_to_the_standard(answer)
        if way != "preview":
            assert "sandbox" in answer.headers["content-security-policy"]
            assert answer.headers["content-disposition"].startswith("inline" if way == "view" else "attachment")


# -- cookies -------------------------------------------------------------------------------------------


def test_cookies_are_kept_from_scripts_and_from_plain_http(api: Api, https: httpx.Client) -> None:
    """A session over TLS is never sent without; over plain HTTP, for one's own machine, it goes to no other site."""
    has_account(api, "ada")
    body = {"email": "ada@example.com", "password": "correct horse battery"}
    headers = {"x-appwrite-project": api.project}
    answer = https.post("/v1/account/sessions/email", json=body, headers=headers)
    assert answer.status_code == 201
    assert len(answer.headers.get_list("set-cookie")) == 2
    held_to_the_standard(answer, over_tls=True)
    plain = httpx.post(f"{api.url}/account/sessions/email", json=body, headers=headers, timeout=PATIENCE_S)
    held_to_the_standard(plain)
    assert "; SameSite=Lax" in plain.headers.get_list("set-cookie")[0]


UNSAFE = [("POST", "/account/jwts"), ("POST", "/account/targets/push"), ("DELETE", "/account/sessions/none")]


@pytest.fixture(scope="module")
def person(api: Api) -> Iterator[httpx.Client]:
    """A browser with somebody's session in its cookies."""
    has_account(api, "browsing")
    cookies = {cookie_name(api.project): session_secret(api, "browsing")}
    with httpx.Client(cookies=cookies, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://localhost:3000"}, True),
        ({"x-appwrite-project": "default"}, True),
        ({"x-appwrite-project": "default", "sec-fetch-site": "cross-site"}, False),
        ({"x-appwrite-project": "default", "origin": "https://evil.example"}, False),
    ],
)
def test_a_session_in_a_cookie_changes_nothing_for_a_page_elsewhere(
    api: Api, person: httpx.Client, said: dict[str, str], counts: bool
) -> None:
    """The browser sends the cookie whoever asks: who asks, its headers must say, or one no foreign page can send."""
    project = {"project": api.project}
    for method, path in UNSAFE:
        body = {"targetId": "unique()", "identifier": "a-device"}
        answer = person.request(method, f"{api.url}{path}", params=project, json=body, headers=said)
        if counts:
            assert answer.status_code in {201, 404}, answer.text
            assert answer.json().get("type") != "general_unknown_origin"
        else:
            assert (answer.status_code, answer.json()["type"]) == (403, "general_unknown_origin")
    # reading is not changing, and no foreign page can read the answer
    assert person.get(f"{api.url}/account", params=project).status_code == 200


def test_a_link_in_mail_needs_no_session_and_heeds_none(api: Api, person: httpx.Client) -> None:
    """Its page gives no referrer, so its form says `Origin: null`: it works for who is signed in here, too."""
    answer = person.post(f"{api.url}/unsubscribe/no-link", headers={"origin": "null"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_signing_in_is_throttled(postgres_url: str, valkey_url: str) -> None:
    """Per client and address, and per address over all clients: guesses end with 429 and a time to wait."""
    with running_api(postgres_url, valkey_url) as limited:
        wrong = {"email": "guessed@example.org", "password": "not the password"}
        statuses = [
            limited.client.post(
                f"{limited.url}/account/sessions/email", json=wrong, headers={"x-appwrite-project": limited.project}
            ).status_code
            for _ in range(11)
        ]
        assert statuses == [401] * 10 + [429]
