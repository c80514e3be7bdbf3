"""The suppression list in the console."""

from __future__ import annotations

from messaging.store import audit
from tests.integration.console.browser import Browser
from tests.integration.console.imported import imported
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api

HOME = "/p/default/suppressions"


def test_an_address_is_put_on_the_list_found_and_lifted(operator: Browser, viewer: Browser, api: Api) -> None:
    """A viewer may look; the audit log names the entry, never the address."""
    said = {"channel": "email", "address": "a@example.com", "scope": "bulk", "reason": "asked by letter"}
    assert operator.done(HOME, said) == HOME
    page = viewer.post(f"{HOME}/find", {"channel": "email", "address": "a@EXAMPLE.com"})
    assert page.status_code == 200
    assert problems(page.text) == []
    assert page.text.count("asked by letter") == 2  # the answer, and the list
    entry = page.text.split("<tbody>")[1].split("<code>")[1].split("</code>")[0]
    assert viewer.post(f"{HOME}/{entry}/lift").status_code == 403
    operator.done(f"{HOME}/{entry}/lift")
    gone = viewer.post(f"{HOME}/find", {"channel": "email", "address": "a@example.com"})
    assert "It is not on the list." in gone.text
    assert operator.post(f"{HOME}/{entry}/lift").status_code == 404
    with api.engine.begin() as connection:
        log = audit.listed(connection, project="default")
    assert [each.action for each in log][:2] == ["suppression.lift", "suppression.add"]
    assert not any("a@example" in f"{each.subject}{dict(each.details)}" for each in log)


def test_the_list_is_narrowed_and_paged(operator: Browser) -> None:
    """By channel and how far an entry reaches; fifty a page."""
    rows = "".join(f"+4930{number:07d},everything\n" for number in range(60))
    imported(operator, f"{HOME}/imports", f"phone,scope\n{rows}", scope="bulk", reason="from the old system")
    page = operator.page(f"{HOME}?channel=sms&scope=everything")
    assert problems(page) == []
    assert page.count("from the old system") == 50
    assert "/lift" in page
    further = page.split('">Older')[0].rpartition('href="/console')[2].replace("&amp;", "&")
    assert operator.page(further).count("from the old system") == 10
    assert "There is none." in operator.read(f"{HOME}?channel=push")


def test_a_file_is_imported_with_a_report(operator: Browser) -> None:
    """What a row says goes before what the form says."""
    lines = "email,scope,reason\nb@example.com,bulk,\nc@example.com,,complained\nnobody,,\n"
    page = imported(operator, f"{HOME}/imports", lines, scope="everything", reason="list of May")
    said = operator.read(page)
    for part in ("3 rows", "2 added", "1 bad lines"):
        assert part in said
    assert "nobody" not in said.partition("Bad lines")[2]
    found = operator.post(f"{HOME}/find", {"channel": "email", "address": "b@example.com"}).text
    assert "list of May" in found


def test_a_refused_form_says_why(operator: Browser) -> None:
    """Beside the field, with what was typed."""
    page = operator.post(HOME, {"channel": "email", "address": "typed-nobody", "scope": "everything"})
    assert page.status_code == 400
    assert problems(page.text) == []
    assert 'value="typed-nobody"' in page.text
    page = operator.post(f"{HOME}/imports", {"scope": "everything"}, files={"file": ("x.csv", b"fax\n1\n")})
    assert page.status_code == 400
    assert "the first line names one column" in page.text
    assert "choose a CSV file" in operator.refused(f"{HOME}/imports", {"scope": "everything"})
