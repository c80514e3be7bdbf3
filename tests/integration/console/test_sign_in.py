"""Signing in to the console, staying in, and out again."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text

from messaging.store import operators
from tests.integration.console.browser import PASSWORD, Browser, in_words, signed_in, token_of
from tests.integration.http.api import Api

ADDRESS = "Ada@example.com"


@pytest.fixture(scope="module", autouse=True)
def ada(api: Api) -> None:
    """An operator."""
    with api.engine.begin() as connection:
        operators.create(connection, email=ADDRESS, password=PASSWORD, role="admin")


@pytest.fixture
def stranger(api: Api) -> Iterator[httpx.Client]:
    """A browser in which nobody is signed in; what others tried before is forgotten."""
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM rate_limits"))
    with httpx.Client(base_url=api.url.removesuffix("/v1"), timeout=120) as client:
        yield client


def sign_in(client: httpx.Client, email: str = ADDRESS, password: str = PASSWORD, **fields: str) -> httpx.Response:
    """The answer to the form, filled in."""
    form = client.get("/console/sign-in", params={"next": fields.pop("next", "")})
    sent = {"csrf": token_of(form.text), "email": email, "password": password}
    found = form.text.split('name="next" value="')[1].split('"')[0]
    return client.post("/console/sign-in", data=sent | {"next": found} | fields)


def audited(api: Api, action: str) -> int:
    """How often the audit log has that."""
    with api.engine.begin() as connection:
        counted = text("SELECT count(*) FROM audit_log WHERE action = :action")
        return int(connection.execute(counted, {"action": action}).scalar_one())


def test_an_operator_signs_in_by_address_in_any_case_and_comes_to_the_page_asked_for(
    api: Api, stranger: httpx.Client
) -> None:
    """The cookie is out of a script's reach; the audit log has it."""
    asked = stranger.get("/console/audit?before=7")
    assert asked.headers["location"] == "/console/sign-in?next=%2Fconsole%2Faudit%3Fbefore%3D7"
    before = audited(api, "operator.sign_in")
    answer = sign_in(stranger, ADDRESS.upper(), next="/console/audit?before=7")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/audit?before=7")
    assert all("HttpOnly" in cookie for cookie in answer.headers.get_list("set-cookie"))
    assert stranger.get("/console/audit?before=7").status_code == 200
    assert audited(api, "operator.sign_in") == before + 1


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/console//evil.example", "/console\\x"]
)
def test_the_sign_in_leads_to_no_other_site(stranger: httpx.Client, elsewhere: str) -> None:
    """Whatever the link said."""
    assert sign_in(stranger, next=elsewhere).headers["location"] == "/console"
    assert sign_in(stranger, next="").headers["location"] == "/console"


def test_a_form_made_by_somebody_else_signs_nobody_in(stranger: httpx.Client) -> None:
    """The token of another browser's form does not count, nor does none."""
    said = {"email": ADDRESS, "password": PASSWORD}
    assert stranger.post("/console/sign-in", data=said).status_code == 403
    other = httpx.get(stranger.base_url.join("/console/sign-in"), timeout=120)
    stranger.get("/console/sign-in")
    answer = stranger.post("/console/sign-in", data=said | {"csrf": token_of(other.text)})
    assert answer.status_code == 403
    assert "too old" in in_words(answer.text)


@pytest.mark.parametrize(("email", "password"), [(ADDRESS, "wrong"), ("nobody@example.com", PASSWORD), ("", "")])
def test_who_is_not_known_is_told_no_more_than_that(stranger: httpx.Client, email: str, password: str) -> None:
    """A wrong password and an unknown address read the same."""
    answer = sign_in(stranger, email, password)
    assert answer.status_code == 401
    assert "Address and password don't match." in answer.text.replace("&#39;", "'")


def test_guesses_are_slowed_down(stranger: httpx.Client) -> None:
    """After ten wrong ones in five minutes, the right password does not count either."""
    form = token_of(stranger.get("/console/sign-in").text)
    said = {"csrf": form, "email": "guessed@example.com", "password": "wrong"}
    answers = [stranger.post("/console/sign-in", data=said) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert "Try again in" in in_words(answers[-1].text)
    assert sign_in(stranger).status_code == 429  # from that network


@pytest.fixture
def again(api: Api) -> Iterator[Browser]:
    """Somebody else who has just signed in."""
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM rate_limits"))
        connection.execute(text("DELETE FROM operators WHERE email = 'again@example.com'"))
    browser = signed_in(api, "admin", "again@example.com")
    yield browser
    browser.client.close()


@pytest.mark.parametrize("change", ["expires_at = now()", "seen_at = now() - interval '3 hours'"])
def test_a_session_ends_by_itself(api: Api, again: Browser, change: str) -> None:
    """After its time, or when nobody uses it."""
    assert again.get("/audit").status_code == 200
    with api.engine.begin() as connection:
        connection.execute(text(f"UPDATE operator_sessions SET {change}"))
    assert again.get("/audit").headers["location"].startswith("/console/sign-in")


def test_who_signs_out_is_out(api: Api, again: Browser) -> None:
    """The cookie that somebody kept is worth nothing any more."""
    kept = dict(again.client.cookies)
    assert again.done("/sign-out") == "/sign-in"
    assert httpx.get(again.client.base_url.join("/console/audit"), cookies=kept, timeout=120).status_code == 303
    assert audited(api, "operator.sign_out") == 1


def test_a_disabled_operator_is_out_at_once(api: Api, again: Browser) -> None:
    """And can't come back."""
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE operators SET enabled = false WHERE email = 'again@example.com'"))
    assert again.get("/audit").status_code == 303
    assert sign_in(again.client, "again@example.com").status_code == 401


def test_a_new_password_signs_out_every_browser(again: Browser) -> None:
    """It takes the old one, and a new one that is long enough."""
    said = {"password": PASSWORD, "new_password": "short"}
    assert "12 to" in again.refused("/account", said)
    assert "not your password" in again.refused("/account", said | {"password": "wrong"})
    assert again.done("/account", said | {"new_password": "another password"}) == "/sign-in"
    assert again.get("/audit").status_code == 303
    assert sign_in(again.client, "again@example.com", "another password").status_code == 303


def test_a_part_of_a_page_asked_for_after_the_session_leads_the_whole_page_to_the_sign_in(api: Api) -> None:
    """The sign-in form would stand in the middle of the page."""
    answer = httpx.get(f"{api.url.removesuffix('/v1')}/console/audit", headers={"hx-request": "true"}, timeout=120)
    assert answer.headers["hx-redirect"].startswith("/console/sign-in")
