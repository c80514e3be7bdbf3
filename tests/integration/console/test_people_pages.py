"""Users and targets in the console: found by what is known of them, with what they got, changed and erased."""

from __future__ import annotations

import pytest

from messaging.channel import Channel
from messaging.errors import NotFoundError
from messaging.message import Email
from messaging.store import audit, suppressions, targets, users
from tests.integration.console.browser import Browser
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api
from tests.integration.road import Road

USERS, TARGETS = "/p/default/users", "/p/default/targets"
SECOND_PHONE = "+493012345678"


@pytest.fixture(scope="module", autouse=True)
def _ada(world: Road, api: Api) -> None:  # noqa: ARG001  comes after the API
    world.add_provider("mail", "sendgrid")
    with world.engine.begin() as connection:
        users.create(
            connection, world.vault, world.project_id, user_id="ada", name="Ada Lovelace", email="ada@example.com"
        )
    world.send(Email(subject="Hello Ada", content="there"), users=["ada"])
    world.deliver()


def found(browser: Browser, path: str, wanted: str) -> str:
    """What a search shows; nothing of what was searched for is in the address."""
    shown = browser.done(f"{path}/find", {"named": wanted})
    assert "example.com" not in shown.casefold()
    return browser.read(shown)


def test_people_are_found_by_id_address_and_name(viewer: Browser) -> None:
    """An address is found in any of its spellings; part of a name is enough."""
    for wanted in ("ada", "ada@EXAMPLE.com", "lovel"):
        assert "Ada Lovelace" in found(viewer, USERS, wanted)
    assert "Nobody is found" in found(viewer, USERS, "babbage")
    for wanted in ("ada", "ada@EXAMPLE.com"):
        assert "ada@example.com" in found(viewer, TARGETS, wanted)
    assert "ada@example.com" not in found(viewer, TARGETS, "bob@example.com")
    assert "ada@example.com" in viewer.read(f"{TARGETS}?channel=email")
    assert "Nothing." in viewer.read(f"{TARGETS}?channel=sms")


def test_a_person_is_shown_with_what_reaches_them_and_what_they_got(viewer: Browser, world: Road) -> None:
    """The message and how it ended, on the user's page and on the target's."""
    page = viewer.page(f"{USERS}/ada")
    assert problems(page) == []
    assert "Hello Ada" in page
    assert "accepted" in page
    with world.engine.begin() as connection:
        (target,) = targets.page(connection, world.project_id, user_id="ada")
        suppressions.add(
            connection, world.vault, world.project_id, channel=Channel.EMAIL, address="ada@example.com", reason="asked"
        )
    page = viewer.page(f"{TARGETS}/{target.id}")
    assert problems(page) == []
    assert "Hello Ada" in page
    assert "suppression list" in page


def test_a_user_is_made_changed_and_blocked(operator: Browser, world: Road) -> None:
    """An address that is somebody else's is refused, with what was typed."""
    operator.done(USERS, {"id": "eva", "name": "Eva", "phone": "+49 30 901820"})
    assert "+4930901820" in operator.read(f"{USERS}/eva")
    page = operator.post(USERS, {"id": "eve", "name": "Typed name", "email": "ada@example.com"})
    assert page.status_code == 400
    assert "belongs to another user" in page.text
    assert 'value="Typed name"' in page.text
    assert problems(page.text) == []
    operator.done(f"{USERS}/eva/edit", {"name": "Eva B.", "email": "eva@example.com", "phone": ""})
    with world.engine.begin() as connection:
        changed = users.get(connection, world.project_id, "eva")
    assert (changed.name, changed.email, changed.phone) == ("Eva B.", "eva@example.com", None)
    assert "is no email address" in operator.refused(f"{USERS}/eva/edit", {"name": "Eva", "email": "eva"})
    operator.done(f"{USERS}/eva/block", {"blocked": "yes"})
    assert "blocked" in operator.read(f"{USERS}/eva")


def test_an_address_is_added_to_a_user_changed_and_deleted(operator: Browser, world: Road) -> None:
    """A malformed one stands beside its field."""
    operator.done(f"{USERS}/ada/targets", {"channel": "sms", "identifier": SECOND_PHONE, "label": "work"})
    assert SECOND_PHONE in operator.read(f"{USERS}/ada")
    refused = operator.post(f"{USERS}/ada/targets", {"channel": "sms", "identifier": "12"})
    assert refused.status_code == 400
    assert problems(refused.text) == []
    assert "is no possible phone number" in refused.text
    assert "none of push, email, sms" in operator.refused(
        f"{USERS}/ada/targets", {"channel": "pigeon", "identifier": "1"}
    )
    with world.engine.begin() as connection:
        found = targets.page(connection, world.project_id, user_id="ada", channel=Channel.SMS)[0]
    operator.done(f"{TARGETS}/{found.id}/edit", {"identifier": "+493012345679", "label": "home"})
    assert "+493012345679" in operator.read(f"{TARGETS}/{found.id}")
    assert operator.done(f"{TARGETS}/{found.id}/delete") == f"{USERS}/ada"
    assert operator.get(f"{TARGETS}/{found.id}").status_code == 404


def test_nobodys_target_is_made(operator: Browser) -> None:
    """And its page leads on to writing to it."""
    path = operator.done(TARGETS, {"channel": "email", "identifier": "alone@example.com"})
    assert "nobody's" in operator.page(path).replace("&#39;", "'")
    assert "/compose?target=" in operator.page(path)


def test_erasing_says_what_happens_and_needs_the_id(operator: Browser, world: Road, api: Api) -> None:
    """Without it nobody is erased; nothing of the person is in the audit log but the id."""
    with world.engine.begin() as connection:
        users.create(connection, world.vault, world.project_id, user_id="gone", name="G", email="gone@example.com")
    assert problems(operator.page(f"{USERS}/gone/erase")) == []
    assert "Nobody can undo it" in operator.refused(f"{USERS}/gone/erase", {"sure": "yes"})
    operator.done(f"{USERS}/gone/erase", {"sure": "gone"})
    with api.engine.begin() as connection:
        with pytest.raises(NotFoundError):
            users.get(connection, world.project_id, "gone")
        entry = audit.listed(connection, project="default", limit=1)[0]
    assert (entry.action, entry.subject, dict(entry.details)) == ("user.erase", "gone", {})


def test_a_viewer_changes_nobody(viewer: Browser, world: Road) -> None:
    """No form is shown, and none is taken."""
    assert "Erase" not in viewer.read(f"{USERS}/ada")
    for path in (
        USERS,
        f"{USERS}/ada/edit",
        f"{USERS}/ada/block",
        f"{USERS}/ada/erase",
        f"{USERS}/ada/targets",
        TARGETS,
    ):
        assert viewer.post(path, {"sure": "ada", "blocked": "yes", "name": "x"}).status_code == 403
    for path in (f"{USERS}/ada/edit", f"{USERS}/ada/erase"):
        assert viewer.get(path).status_code == 403
    with world.engine.begin() as connection:
        assert users.get(connection, world.project_id, "ada").name == "Ada Lovelace"
