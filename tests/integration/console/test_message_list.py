"""The list of messages, its search, and who got what."""

from __future__ import annotations

import re

import pytest

from messaging.message import Email, Push, Sms
from messaging.store import message_search, received
from messaging.store.received import Place, Received
from tests.integration.console import samples
from tests.integration.console.browser import Browser, in_words
from tests.integration.http.api import Api
from tests.integration.road import Road

LIST = "/p/default/messages"


@pytest.fixture(scope="module", autouse=True)
def filled(world: Road, api: Api) -> None:
    """Thirty pushes to one phone, every third of them to another too; a mail, a draft of a text message."""
    assert api.project == "default"
    provider = world.add_provider("apple", "apns", enabled=True)
    world.add_provider("mails", "sendgrid", enabled=True)
    world.add_push_targets(3, provider=provider)
    client = samples.client_of(world)
    client.users.create(user_id="ada", email="ada@example.com", phone="+493012345678")
    for number in range(30):
        world.send(Push(title=f"Number {number}"), targets=["t0", "t1"] if number % 3 == 0 else ["t0"], id=f"m{number}")
    world.send(Email(subject="Größe & Co", content="a needle in the text"), users=["ada"], id="mail")
    world.send(Sms(content="soon"), users=["ada"], draft=True, id="text")


def listed(browser: Browser, path: str) -> list[str]:
    """Ids of the messages on a page."""
    return re.findall(rf'href="/console{LIST}/([^"/?]+)"', browser.page(path))


def test_the_newest_come_first_a_page_at_a_time(viewer: Browser) -> None:
    """The pages together are all of them."""
    first = listed(viewer, LIST)
    assert first[:3] == ["text", "mail", "m29"]
    assert len(first) == 25
    further = re.search(r'href="(\?before=\d+)"', viewer.page(LIST))
    assert further is not None
    assert first + listed(viewer, LIST + further[1]) == [
        "text",
        "mail",
        *(f"m{number}" for number in range(29, -1, -1)),
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("channel=email", ["mail"]),
        ("state=draft", ["text"]),
        ("state=scheduled", []),
        ("channel=push&state=draft", []),
        ("q=GR%C3%B6", ["mail"]),
        ("q=needle", ["mail"]),
        ("q=number+7", ["m7"]),
        ("q=m7", ["m7"]),
        ("q=m1&channel=email", []),
        ("q=%25", []),
        ("channel=nonsense&state=draft", ["text"]),
    ],
)
def test_messages_are_found_by_what_they_are_and_say(viewer: Browser, asked: str, found: list[str]) -> None:
    """In any case, by id, subject, title and text."""
    assert listed(viewer, f"{LIST}?{asked}") == found


def test_a_search_that_stopped_early_goes_on_where_it_stopped(world: Road) -> None:
    """Without patience it looks at one stretch, and says how far that went."""
    found: list[str] = []
    before, stops = None, 0
    with world.engine.begin() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_search, "_FIRST_STRETCH", 4)
        for _ in range(100):
            page = message_search.search(connection, world.project_id, said="number 2", before=before, patience_s=0)
            found += [message.id for message in page.messages]
            stops += page.back_to is not None
            if page.before is None:
                break
            before = page.before
    assert found == [*(f"m{number}" for number in range(29, 19, -1)), "m2"]
    assert stops > 1


# -- who got what ----------------------------------------------------------------------------------


def at_its_end(browser: Browser, path: str) -> str:
    """The text of the last page of that search: one that had to stop early is followed to where it ends."""
    page = browser.page(path)
    while further := re.search(r'href="(\?[^"]+)">Look further back', page):
        page = browser.page(path.partition("?")[0] + further[1].replace("&amp;", "&"))
    return in_words(page)


def test_what_somebody_got_is_found_by_address_and_id(viewer: Browser) -> None:
    """The newest first; the address stands in no link."""
    where = viewer.done("/p/default/received", {"to": f"{1:064X}"})
    assert where == "/p/default/received?targets=t1"
    page = viewer.page(where)
    assert re.findall(r"/messages/(m\d+)/recipients/", page) == [f"m{number}" for number in range(27, -1, -3)]
    assert viewer.done("/p/default/received", {"to": "Ada@EXAMPLE.com"}) != where
    of_ada = viewer.done("/p/default/received", {"to": "ada"})
    assert of_ada.count("%2C") == 1  # two targets
    assert "Größe &amp; Co" in viewer.page(of_ada)
    assert viewer.done("/p/default/received", {"to": "nobody@example.com"}).endswith("targets=-")
    assert "Nobody with that address" in viewer.read("/p/default/received?targets=-")
    assert "Nothing was sent there" in at_its_end(viewer, "/p/default/received?targets=t2")


@pytest.mark.parametrize("patience_s", [0.0, 60.0])
@pytest.mark.parametrize(("limit", "stretch"), [(1, 1), (4, 3), (7, 1000), (100, 1000)])
def test_the_pages_of_who_got_what_are_all_of_it(world: Road, limit: int, stretch: int, patience_s: float) -> None:
    """Each delivery once, whatever the size of pages and stretches and however little patience."""
    found: list[Received] = []
    before: Place | None = None
    with world.engine.begin() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(received, "_FIRST_STRETCH", stretch)
        targets = [each.number for each in received.of_ids(connection, world.project_id, ["t0", "t1"])]
        for _ in range(200):
            page = received.received(
                connection, world.project_id, targets, before=before, limit=limit, patience_s=patience_s
            )
            found += page.deliveries
            if page.before is None:
                break
            before = page.before
    wanted = [
        (f"m{number}", target) for number in range(29, -1, -1) for target in targets[: 2 if number % 3 == 0 else 1]
    ]
    assert [(each.message_id, each.target) for each in found] == wanted
