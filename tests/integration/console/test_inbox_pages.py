"""The inbox of the stand-ins in the console, as readers would see it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import sendgrid_credentials, twilio_credentials
from messaging.local.sandbox.threaded import sandbox_in_thread
from tests.integration.console.browser import Browser, in_words, signed_in
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api, running_api
from tests.integration.road import Road

HOME = "/p/default/inbox"
HTML = "<h1>Hello</h1><script>alert(1)</script><img src='https://example.com/x.png'>"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """Stand-ins that received a text and a mail."""
    with sandbox_in_thread(tmp_path_factory.mktemp("sandbox")) as found:
        account = twilio_credentials()
        httpx.post(
            f"{found.twilio}/2010-04-01/Accounts/{account['accountSid']}/Messages.json",
            auth=(account["accountSid"], account["authToken"]),
            data={"To": "+4930901820", "From": "+15005550006", "Body": "Your code is <b>1234</b>"},
            timeout=120,
        ).raise_for_status()
        httpx.post(
            f"{found.sendgrid}/v3/mail/send",
            headers={"authorization": f"Bearer {sendgrid_credentials()['apiKey']}"},
            json={
                "personalizations": [{"to": [{"email": "ada@example.com"}]}],
                "from": {"email": "news@example.com", "name": "Ada"},
                "subject": "A letter",
                "content": [{"type": "text/html", "value": HTML}],
            },
            timeout=120,
        ).raise_for_status()
        yield found


@pytest.fixture(scope="module")
def api(world: Road, postgres_url: str, valkey_url: str, sandbox: SandboxAddresses) -> Iterator[Api]:
    """The API of an installation with stand-ins."""
    assert world.project_id
    with running_api(postgres_url, valkey_url, sandbox_url=sandbox.control) as running:
        yield running


def test_what_was_sent_is_shown_newest_first(viewer: Browser) -> None:
    """A text as a bubble, its markup as text; a mail with its head, and its body in a frame."""
    page = viewer.page(HOME)
    assert problems(page) == []
    assert page.index("A letter") < page.index("Your code is")
    assert "&lt;b&gt;1234&lt;/b&gt;" in page
    assert HTML not in page
    assert "From Ada &lt;news@example.com&gt; To ada@example.com Subject A letter" in in_words(page)
    assert f'href="/console{HOME}"' in page  # the tab


def test_it_is_narrowed_by_channel_and_address(viewer: Browser) -> None:
    """By part of an address too."""
    assert "A letter" not in viewer.page(f"{HOME}?channel=sms")
    assert "Your code" not in viewer.page(f"{HOME}?search=ADA@")
    assert "Nothing was received" in viewer.page(f"{HOME}?channel=push")


def test_a_mails_html_is_shut_in(viewer: Browser) -> None:
    """The frame is a document of no origin that runs and loads nothing, and no other frame is found."""
    source = re.search(r'<iframe class="mail" sandbox [^>]*src="/console([^"]+)"', viewer.page(HOME))
    assert source is not None
    frame = viewer.get(source[1])
    assert frame.status_code == 200
    assert "<h1>Hello</h1>" in frame.text
    policy = frame.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
    assert viewer.get(f"{HOME}/{'0' * 32}/frame").status_code == 404


@pytest.mark.usefixtures("world")
def test_without_stand_ins_there_is_no_inbox(postgres_url: str, valkey_url: str) -> None:
    """The tab is not there, and the page says why."""
    with running_api(postgres_url, valkey_url) as running:
        browser = signed_in(running, "viewer", "another@example.com")
        assert "There is none here" in browser.read(HOME)
        assert f'href="/console{HOME}"' not in browser.page("/p/default/topics")
        browser.client.close()


@pytest.mark.usefixtures("world")
def test_stand_ins_that_do_not_answer_are_named(postgres_url: str, valkey_url: str) -> None:
    """With what to look at."""
    with running_api(postgres_url, valkey_url, sandbox_url="http://127.0.0.1:9") as running:
        browser = signed_in(running, "viewer", "third@example.com")
        answer = browser.get(HOME)
        assert answer.status_code == 400
        assert "Is the stack up?" in answer.text
        browser.client.close()
