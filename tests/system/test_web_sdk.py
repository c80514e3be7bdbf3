"""`appwrite` for the web, as published, in a real browser, from pages on other origins than the API's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.http.api import Api, running_api
from tests.sdk.node import JsError
from tests.system.web_page import Page, open_page

pytestmark = pytest.mark.timeout(600)

PASSWORD = "correct horse"
SAME_SITE = "127.0.0.1"
"""The API's own host: another origin by its port, the same site for cookies."""
OTHER_SITE = "localhost"
"""Another site on plain HTTP: no cookie of ours is kept there."""
FOREIGN = "evil.example"
"""An origin nobody has allowed."""


@pytest.fixture(scope="module")
def api(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The API, with a user and a topic that users may subscribe to."""
    with running_api(postgres_url, valkey_url) as running:
        person = {"userId": "ada", "email": "ada@shop.example", "password": PASSWORD, "name": "Ada"}
        running.ok("POST", "/users", person)
        running.ok("POST", "/messaging/topics", {"topicId": "news", "name": "News", "subscribe": ["users"]})
        yield running


@contextmanager
def opened(api: Api, home: Path, host: str) -> Iterator[Page]:
    """A page on that host in a new browser."""
    with open_page(api.url, api.project, home, host=host) as page:
        assert page.run("return location.hostname;") == host
        yield page


def sign_in(page: Page) -> None:
    """Ada signs in."""
    session = page.run(
        "return await account.createEmailPasswordSession({ email: 'ada@shop.example', password });", password=PASSWORD
    )
    assert (session["userId"], session["secret"]) == ("ada", "")


@pytest.mark.parametrize("host", [SAME_SITE, OTHER_SITE])
def test_a_page_signs_in_keeps_its_target_and_subscribes(api: Api, tmp_path: Path, host: str) -> None:
    """The tutorial, with every method that a browser asks leave for; a visitor who comes back is still signed in."""
    with opened(api, tmp_path, host) as page:
        sign_in(page)
        page.reload()
        assert page.run("return (await account.get()).$id;") == "ada"
        made = page.run("return await account.createPushTarget({ targetId: 'page', identifier: 'token-1' });")
        assert (made["userId"], made["providerType"]) == ("ada", "push")
        assert made["name"].startswith("Chrome")
        moved = page.run("return await account.updatePushTarget('page', 'token-2');")
        assert moved["identifier"] == "token-2"
        subscriber = page.run("""
            return await messaging.createSubscriber({ topicId: 'news', subscriberId: ID.unique(), targetId: 'page' });
        """)
        assert subscriber["target"]["identifier"] == "token-2"
        assert api.ok("GET", "/messaging/topics/news")["pushTotal"] == 1
        left = page.run(
            "return await messaging.deleteSubscriber({ topicId: 'news', subscriberId });",
            subscriberId=subscriber["$id"],
        )
        gone = page.run("return await account.deletePushTarget({ targetId: 'page' });")
        assert left == gone == {"message": ""}
        assert page.run("return await account.deleteSession({ sessionId: 'current' });") == {"message": ""}
        with pytest.raises(JsError) as refused:
            page.run("await account.get();")
        assert (refused.value.code, refused.value.type) == (401, "general_unauthorized_scope")


def test_a_session_lives_in_a_cookie_that_scripts_cannot_read(api: Api, tmp_path: Path) -> None:
    """On the API's own site the cookie alone is enough."""
    with opened(api, tmp_path, SAME_SITE) as page:
        sign_in(page)
        page.run("localStorage.clear();")
        page.reload()
        assert page.run("return (await account.get()).$id;") == "ada"
        assert page.run("return document.cookie;") == ""


def test_a_session_falls_back_to_the_page_s_own_storage(api: Api, tmp_path: Path) -> None:
    """On another site, over plain HTTP, browsers keep no cookie of ours; the SDK keeps the fallback."""
    with opened(api, tmp_path, OTHER_SITE) as page:
        sign_in(page)
        kept = page.run("return JSON.parse(localStorage.getItem('cookieFallback'));")
        assert list(kept) == [f"a_session_{api.project}"]
        assert page.run("return (await account.get()).$id;") == "ada"
        page.run("localStorage.clear();")
        with pytest.raises(JsError) as refused:
            page.run("await account.get();")
        assert refused.value.code == 401


def test_a_token_speaks_for_the_user_elsewhere(api: Api, tmp_path: Path) -> None:
    """Made by a page, used without its session; beside a session's cookie it is refused."""
    with opened(api, tmp_path, SAME_SITE) as page:
        sign_in(page)
        token = page.run("return (await account.createJWT()).jwt;")
        me = "client.setJWT(token); return (await account.get()).$id;"
        with pytest.raises(JsError) as refused:
            page.run(me, token=token)
        assert (refused.value.code, refused.value.type) == (403, "user_jwt_and_cookie_set")
    with opened(api, tmp_path / "other", OTHER_SITE) as page:
        assert page.run(me, token=token) == "ada"
        with pytest.raises(JsError) as refused:
            page.run("client.setJWT(token + 'x'); await account.get();", token=token)
        assert (refused.value.code, refused.value.type) == (401, "user_jwt_invalid")


def test_a_visitor_may_be_nobody(api: Api, tmp_path: Path) -> None:
    """An anonymous session has a user of its own, with a target of its own."""
    with opened(api, tmp_path, SAME_SITE) as page:
        session = page.run("return await account.createAnonymousSession();")
        target = page.run("return await account.createPushTarget(ID.unique(), 'token-nobody');")
        assert target["userId"] == session["userId"]
        assert api.ok("GET", f"/users/{session['userId']}")["email"] == ""
        with pytest.raises(JsError) as refused:
            page.run("await account.createAnonymousSession();")
        assert (refused.value.code, refused.value.type) == (401, "user_session_already_exists")


def test_refusals_reach_the_page(api: Api, tmp_path: Path) -> None:
    """An error without leave to read it would be an opaque failure."""
    with opened(api, tmp_path, OTHER_SITE) as page:
        with pytest.raises(JsError) as refused:
            page.run("await account.createEmailPasswordSession('ada@shop.example', 'wrong one');")
        assert (refused.value.name, refused.value.type) == ("AppwriteException", "user_invalid_credentials")
        with pytest.raises(JsError) as refused:
            page.run("await messaging.createSubscriber('news', 's', 't');")
        assert (refused.value.code, refused.value.type) == (401, "general_unauthorized_scope")
        assert page.run("return await client.ping();") == {"message": "Pong!"}


def test_a_page_nobody_has_allowed_reads_nothing(api: Api, tmp_path: Path) -> None:
    """The browser keeps the answer from it; once its host is in the settings it signs in as any other."""
    with opened(api, tmp_path, FOREIGN) as page, pytest.raises(JsError) as refused:
        page.run("await account.createEmailPasswordSession('ada@shop.example', password);", password=PASSWORD)
    assert refused.value.name == "TypeError"  # fetch's "Failed to fetch"


def test_a_page_that_the_settings_name_signs_in(postgres_url: str, valkey_url: str, tmp_path: Path) -> None:
    """By host name, on any port."""
    with (
        running_api(postgres_url, valkey_url, http_origins=(FOREIGN,)) as api,
        opened(api, tmp_path, FOREIGN) as page,
    ):
        session = page.run("return await account.createAnonymousSession();")
        assert page.run("return (await account.get()).$id;") == session["userId"]
