"""Whatever the console serves is held to one standard, route by route: who may see it, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text

from messaging.console.app import PAGES
from messaging.console.pages import Entry
from messaging.store.operators import OperatorRole
from tests.integration.console import samples, well_formed
from tests.integration.console.browser import Browser, in_words
from tests.integration.http.api import Api
from tests.integration.http.test_pages import held_to_the_standard
from tests.integration.road import Road

ENTRIES = [entry for pages in PAGES for entry in pages.entries]
SHOWN = [entry for entry in ENTRIES if entry.method == "GET"]
FORMS = [entry for entry in ENTRIES if entry.method == "POST"]
NO_SANDBOX = "/console/p/{project}/inbox/{mail}/frame"
"""Nothing is in the inbox where there are no stand-ins."""
_TABLES = ("messages", "audit_log", "operators", "api_keys", "providers", "topics", "users", "targets", "suppressions")


@dataclass
class House:
    """The people who may come in, and one of everything."""

    samples: dict[str, str]
    people: dict[OperatorRole, Browser]
    engine: Engine

    def state(self) -> list[object]:
        """What a refused request must leave alone."""
        with self.engine.begin() as connection:
            return [
                connection.execute(text(f"SELECT coalesce(sum(hashtext(t::text)), 0), count(*) FROM {table} t")).one()
                for table in _TABLES
            ]


@pytest.fixture(scope="module")
def house(world: Road, api: Api, admin: Browser, operator: Browser, viewer: Browser) -> House:
    """One of everything, behind the three doors."""
    found = samples.make(world, admin.operator.id)
    people = {OperatorRole.ADMIN: admin, OperatorRole.OPERATOR: operator, OperatorRole.VIEWER: viewer}
    return House(found, people, api.engine)


def named(entries: list[Entry]) -> pytest.MarkDecorator:
    """A test for each entry."""
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: f"{entry.method} {entry.path}")


@named(SHOWN)
def test_a_page_is_shown_to_those_who_may_see_it(house: House, entry: Entry) -> None:
    """And is well-formed, labelled and safe; somebody with a smaller role is told which one it takes."""
    path = samples.path_of(entry.path, house.samples)
    for role, browser in house.people.items():
        for htmx in (False, True):
            answer = browser.get(path, htmx=htmx)
            if not role.may(entry.role):
                assert answer.status_code == 403, f"{role}: {answer.status_code}"
                assert f"needs the role {entry.role}" in in_words(answer.text)
            elif entry.path == NO_SANDBOX:
                assert answer.status_code == 404
            else:
                assert answer.status_code in {200, 303}, f"{role}: {answer.status_code} {in_words(answer.text)}"
            if "html" in answer.headers.get("content-type", "") and "sandbox" not in answer.headers.get(
                "content-security-policy", ""
            ):
                assert well_formed.problems(answer.text) == []
                if "<html" in answer.text:
                    held_to_the_standard(answer)


@named([entry for entry in SHOWN if "{project}" in entry.path])
def test_nothing_of_a_project_is_shown_in_another(house: House, entry: Entry) -> None:
    """Its objects are not found there; a list is empty there; a project that is none is not found."""
    elsewhere = samples.path_of(entry.path, house.samples | {"project": samples.OTHER})
    browser = house.people[OperatorRole.ADMIN]
    answer = browser.get(elsewhere)
    is_object = any(f"{{{name}}}" in entry.path for name in house.samples.keys() - samples.NO_OBJECT)
    assert answer.status_code == (404 if is_object else 200), in_words(answer.text)
    nowhere = samples.path_of(entry.path, house.samples | {"project": "nowhere"})
    assert browser.get(nowhere).status_code == 404


@named(FORMS)
def test_a_form_without_its_token_changes_nothing(house: House, entry: Entry) -> None:
    """Nor does one with another session's token, or one that another site sent."""
    path = samples.path_of(entry.path, house.samples)
    browser, before = house.people[OperatorRole.ADMIN], house.state()
    another = house.people[OperatorRole.VIEWER].csrf
    for csrf in ("", "0" * 64, another):
        assert browser.post(path, csrf=csrf).status_code == 403
    assert browser.post(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert house.state() == before


@named([entry for entry in FORMS if entry.role is not OperatorRole.VIEWER])
def test_a_form_of_somebody_with_a_smaller_role_changes_nothing(house: House, entry: Entry) -> None:
    """Whatever it says."""
    path, before = samples.path_of(entry.path, house.samples), house.state()
    for role, browser in house.people.items():
        if not role.may(entry.role):
            assert browser.post(path, {"do": "send", "name": "x", "id": "x"}).status_code == 403
    assert house.state() == before


@named([entry for entry in FORMS if "{project}" in entry.path and entry.path.count("{") > 1])
def test_a_form_does_nothing_to_another_projects_objects(house: House, entry: Entry) -> None:
    """They are not found there."""
    path = samples.path_of(entry.path, house.samples | {"project": samples.OTHER})
    if any(f"{{{name}}}" in entry.path for name in house.samples.keys() - samples.NO_OBJECT):
        before = house.state()
        assert house.people[OperatorRole.ADMIN].post(path).status_code == 404
        assert house.state() == before


def test_nobody_sees_anything_without_signing_in(api: Api) -> None:
    """Every page leads to the sign-in, and from there to itself."""
    for entry in ENTRIES:
        answer = api.client.request(
            entry.method, api.url.removesuffix("/v1") + entry.path.replace("{", "").replace("}", "")
        )
        assert answer.status_code == 303, entry.path
        assert answer.headers["location"].startswith("/console/sign-in")
