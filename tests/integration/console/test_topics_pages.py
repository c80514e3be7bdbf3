"""Topics in the console: subscribers a page at a time, growth, and a file of them."""

from __future__ import annotations

import re

import pytest

from messaging.store import console_imports, subscribers, topics
from messaging.store.console_imports import ImportKind, ImportSums
from tests.integration.console.browser import Browser
from tests.integration.console.imported import imported
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api
from tests.integration.road import Road

HOME = "/p/default/topics"


@pytest.fixture(scope="module", autouse=True)
def _people(world: Road, api: Api) -> None:  # noqa: ARG001  the API empties nothing, but comes first
    world.add_topic("crowd", world.add_push_targets(120))


def subscribed(world: Road, topic: str) -> list[str]:
    """Addresses of the topic's subscribers, sorted."""
    with world.engine.begin() as connection:
        found = subscribers.page(connection, world.project_id, topic, limit=1000)
    return sorted(each.target.identifier for each in found)


def test_a_topic_is_made_changed_and_deleted(operator: Browser) -> None:
    """A refused form stands there again with what was typed."""
    assert operator.done(HOME, {"name": "News", "id": "fresh", "open": "yes"}) == f"{HOME}/fresh"
    page = operator.page(f"{HOME}/fresh")
    assert problems(page) == []
    assert "open to users" in page
    again = operator.refused(HOME, {"name": "Typed again", "id": "fresh"})
    assert "exists already" in again
    assert problems(operator.page(HOME)) == []
    operator.done(f"{HOME}/fresh/edit", {"name": "Older news", "description": "what was"})
    assert "Older news" in operator.read(f"{HOME}?search=NEWS")
    assert "nobody may subscribe themselves" in operator.read(f"{HOME}/fresh")
    assert "has 1 to 128 characters" in operator.refused(f"{HOME}/fresh/edit", {"name": ""})
    operator.done(f"{HOME}/fresh/delete")
    assert operator.get(f"{HOME}/fresh").status_code == 404


def test_every_subscriber_is_on_one_page_and_no_more(viewer: Browser) -> None:
    """Fifty a page, in the order of the index; the list says how many there are."""
    path, seen, pages = f"{HOME}/crowd", [], 0
    while path:
        page = viewer.page(path)
        seen += re.findall(r"/targets/(t\d+)\"", page)
        further = re.search(r'href="(\?after=[^"]+)">Further', page)
        path = f"{HOME}/crowd{further[1].replace('&amp;', '&')}" if further else ""
        pages += 1
    assert pages == 3
    assert len(seen) == len(set(seen)) == 120
    assert "push 120" in viewer.read(f"{HOME}/crowd")
    assert "Nobody yet." in viewer.read(f"{HOME}/crowd?channel=sms")


def test_a_subscriber_is_found_by_address_and_removed(operator: Browser, world: Road) -> None:
    """And subscribed again, by the same."""
    address = f"{7:064x}"
    shown = operator.done(f"{HOME}/crowd/find", {"wanted": address})
    assert shown == f"{HOME}/crowd?ids=t7"
    assert operator.page(shown).count("/targets/t") == 1
    operator.done(f"{HOME}/crowd/subscribers/t7/delete")
    assert "Nobody with that address" in operator.read(shown)
    operator.done(f"{HOME}/crowd/subscribers", {"named": address})
    assert address in subscribed(world, "crowd")
    assert "nobody has that address" in operator.refused(f"{HOME}/crowd/subscribers", {"named": "n@example.com"})


def test_growth_is_a_picture_that_needs_no_script(viewer: Browser) -> None:
    """The page asks for it when it is there; without JavaScript it is a page of its own."""
    assert 'hx-trigger="load"' in viewer.page(f"{HOME}/crowd")
    part = viewer.get(f"{HOME}/crowd/growth", htmx=True).text
    assert "<html" not in part
    assert "120 joined in 30 days; 120 subscribers today" in part
    page = viewer.page(f"{HOME}/crowd/growth")
    assert problems(page) == []
    assert page.count('class="joined"') == 30


def test_a_file_of_subscribers_is_imported_with_a_report_of_its_bad_lines(operator: Browser, world: Road) -> None:
    """The report names lines and reasons, and repeats no address; importing the file again does no harm."""
    operator.done(HOME, {"name": "Letter", "id": "letter"})
    lines = "\ufeffemail,user_id,name\nann@example.com,ann,Ann\nnobody-at-all,bob,Bob\ncid@example.com,cid\n"
    page = imported(operator, f"{HOME}/letter/imports", lines)
    said = operator.page(page)
    assert problems(said) == []
    assert subscribed(world, "letter") == ["ann@example.com"]
    for part in ("3 rows", "1 added", "2 bad lines", "it has 2 columns"):
        assert part in operator.read(page)
    report = operator.get(f"{page}/bad-lines.csv")
    assert report.headers["content-type"].startswith("text/csv")
    assert [line.split(",")[0] for line in report.text.splitlines()] == ["line", "3", "4"]
    assert "nobody-at-all" not in said + report.text
    again = operator.read(imported(operator, f"{HOME}/letter/imports", lines))
    assert "0 added 1 were there" in again
    assert operator.page(f"{HOME}/letter").count("/imports/") >= 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"fax\n1\n", "the first line names one column"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_at_once(operator: Browser, content: bytes, says: str) -> None:
    """On the page it was sent from, before anything is begun."""
    answer = operator.post(f"{HOME}/crowd/imports", files={"file": ("x.csv", content)})
    assert answer.status_code == 400
    assert says in answer.text
    assert problems(answer.text) == []


def test_a_file_that_is_no_text_fails_with_the_reason(operator: Browser) -> None:
    """And says what to do."""
    page = imported(operator, f"{HOME}/crowd/imports", b"email\n" + b"a@example.com\n" * 5 + b"\xff\xfe@example.com\n")
    assert "The file is not UTF-8" in operator.read(page)


def test_one_file_is_imported_at_a_time_and_one_that_was_left_says_so(operator: Browser, world: Road) -> None:
    """While somebody works on one, another is refused; when its process has ended, its page tells what to do."""
    with world.engine.begin() as connection:
        import_id = console_imports.begin(
            connection,
            world.project_id,
            kind=ImportKind.SUBSCRIBERS,
            subject="crowd",
            operator="x@example.com",
            size_bytes=100,
        )
        console_imports.move(connection, import_id, ImportSums(read_bytes=40, rows=10_000))
    page = f"/p/default/imports/{import_id}"
    assert "40 % of the file is read" in operator.page(page)
    answer = operator.post(f"{HOME}/crowd/imports", files={"file": ("x.csv", b"email\na@example.com\n")})
    assert answer.status_code == 400
    assert "Another file is being imported" in answer.text
    world.execute("UPDATE console_imports SET seen_at = now() - interval '1 hour' WHERE finished_at IS NULL")
    assert "Import the same file again" in operator.read(page)
    assert "hx-trigger" not in operator.get(page, htmx=True).text
    assert operator.get(page.replace("default", "nobodys")).status_code == 404


def test_a_viewer_changes_nothing(viewer: Browser, world: Road) -> None:
    """No form is shown, and none is taken."""
    assert "Import" not in viewer.read(f"{HOME}/crowd")
    for path in (
        HOME,
        f"{HOME}/crowd/edit",
        f"{HOME}/crowd/delete",
        f"{HOME}/crowd/imports",
        f"{HOME}/crowd/subscribers",
    ):
        assert viewer.post(path, {"name": "x", "named": "x"}).status_code == 403
    with world.engine.begin() as connection:
        assert topics.get(connection, world.project_id, "crowd").name == "crowd"
