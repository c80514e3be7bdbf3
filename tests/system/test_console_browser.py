"""The console as a person walks through it, in Debian's Chromium; axe looks at every page, in two schemes and widths.

Screenshots are kept in build/console/.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from messaging import Sms
from messaging.local.first_operator import EMAIL
from messaging.local.sandbox.credentials import twilio_credentials
from messaging.status import DeliveryStatus
from messaging.store.bulk_rows import BulkRow
from tests.acceptance.stack import UNHURT, Stack, running
from tests.conftest import ROOT
from tests.sdk.node import packages
from tests.system.programs import program

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PICTURES = ROOT / "build" / "console"
REFUSED = "+15005550003"
"""The stand-in for Twilio has no permission to send there."""
READERS = 400
WIDE: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
_WAIT_MS = 60_000
expect.set_options(timeout=_WAIT_MS)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with people in a topic, and no provider."""
    with running("--sandbox", **UNHURT) as started:
        with started.client() as client:
            topic = client.topics.create(name="Customers").id
            numbers = [f"+1415{7_000_000 + number}" for number in range(READERS - 1)] + [REFUSED]
            rows = [BulkRow(line=line, address=number) for line, number in enumerate(numbers, 1)]
            assert client.topics.subscribe_many(topic, rows, channel="sms").created == READERS
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"],
            timeout=2 * _WAIT_MS,  # its first start, on a busy machine
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as published."""
    return (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


class Person:
    """Somebody at a browser."""

    def __init__(self, stack: Stack, context: BrowserContext, axe: str) -> None:
        self.base = stack.runtime.console.rstrip("/")
        self.home = f"{self.base}/p/{stack.runtime.project}"
        self.password = (stack.directory / "console.password").read_text().strip()
        self.page: Page = context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self._axe = axe
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    def sign_in(self) -> None:
        """As the terminal said."""
        self.page.goto(self.base)
        self.page.get_by_label("Email address").fill(EMAIL)
        self.page.get_by_label("Password").fill(self.password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("navigation", name="Project")).to_be_visible()

    def looks_at(self, name: str) -> None:
        """Keep a picture of the page, and let axe look for what keeps people out."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
        found = violations(self.page, self._axe)
        assert found == [], f"{name}: {json.dumps(found, indent=1)}"
        wider = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 1, f"{name}: the page is {wider} pixels wider than the window"


def violations(page: Page, axe: str) -> list[Any]:
    """What axe finds against WCAG 2.2 A and AA, and where; run from outside, as our pages allow no script inline."""
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        ".then(r => r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html)]))"
    )
    return list(found)


def test_a_person_adds_a_provider_sends_and_finds_who_did_not_get_it(stack: Stack, browser: Browser, axe: str) -> None:
    """Sign in, add an account, compose, see the bar move, find the failed recipient and why, retry."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    person = Person(stack, context, axe)
    page = person.page
    page.on("dialog", lambda dialog: dialog.accept())
    person.sign_in()
    person.looks_at("overview-empty")

    page.goto(f"{person.home}/providers/new/twilio")
    page.get_by_label("Name", exact=False).first.fill("Our texts")
    for name, value in {"from": "+15005550006", **twilio_credentials()}.items():
        page.locator(f'[name="{name}"]').fill(value)
    person.looks_at("provider-new")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Our texts")).to_be_visible()
    person.looks_at("provider")

    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="New message").click()
    page.get_by_role("link", name="Text message").click()
    page.get_by_label("Find a topic, user or target").fill("Custom")
    page.get_by_role("checkbox", name=re.compile("Customers")).check()
    said = f"Your table is ready {secrets.token_hex(3)}"
    page.get_by_label("Text", exact=False).last.fill(said)
    expect(page.locator("#preview")).to_contain_text(said)
    expect(page.locator("#reach")).to_contain_text(str(READERS))
    person.looks_at("compose")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(page.get_by_role("heading", name=said)).to_be_visible()
    expect(page.locator("svg.bar")).to_be_visible()
    expect(page.locator("main")).to_contain_text(re.compile("partially sent"))  # without a reload
    # the rest of the page then comes anew, and takes with it what was chosen before
    expect(page.locator("#progress[hx-trigger=load]")).to_have_count(0)
    person.looks_at("message")

    page.get_by_role("combobox", name="Status").select_option("failed")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("link", name=REFUSED).click()
    expect(page.get_by_role("heading", name=REFUSED)).to_be_visible()
    expect(page.locator("main")).to_contain_text("21408")
    person.looks_at("recipient")

    page.go_back()
    page.get_by_role("button", name="Retry 21408").click()
    expect(page.get_by_role("status")).to_contain_text(re.compile("1 failed deliver"))
    with stack.client() as client:
        (message,) = client.list(limit=1)
        assert client.wait(message.id, timeout_s=150).totals[DeliveryStatus.FAILED] == 1
        (failed,) = client.deliveries(message.id, status="failed")
        assert failed.identifier == REFUSED
    assert person.faults == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "phone"])
def test_every_page_can_be_read_by_everybody(stack: Stack, browser: Browser, axe: str, scheme: Any, width: str) -> None:
    """No violation axe knows, no sideways scrolling, no error in the browser's log: light, dark, wide and narrow."""
    context = browser.new_context(viewport=WIDE if width == "wide" else PHONE, color_scheme=scheme)
    person = Person(stack, context, axe)
    page = person.page
    page.goto(person.base)
    person.looks_at(f"sign-in-{scheme}-{width}")
    person.sign_in()
    with stack.client() as client:
        topic = client.topics.list()[0].id
        if not client.list(limit=1):  # nobody walked before
            fields: Mapping[str, Any] = {"from": "+15005550006", **twilio_credentials()}
            client.providers.create("twilio", **fields)
            client.wait(client.send(Sms(content="Hello"), topics=[topic]).id, timeout_s=150)
        message, provider = client.list(limit=1)[0].id, client.providers.list()[0].id
    for path in (
        "",
        "/messages",
        f"/messages/{message}",
        "/compose/push",
        "/compose/email",
        "/compose/sms",
        "/topics",
        f"/topics/{topic}",
        "/users",
        "/targets",
        "/suppressions",
        "/providers",
        "/providers/new",
        "/providers/new/apns",
        f"/providers/{provider}",
        "/inbox",
        "/keys",
        "/quarantine",
        "/audit",
    ):
        answer = page.goto(person.home + path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        name = path.strip("/").replace("/", "-").replace(message, "one").replace(topic, "one").replace(provider, "one")
        person.looks_at(f"{name or 'overview'}-{scheme}-{width}")
    for path in ("/projects", "/operators", "/audit", "/account"):
        page.goto(person.base + path)
        person.looks_at(f"all{path.replace('/', '-')}-{scheme}-{width}")
    assert person.faults == []
    context.close()


def test_the_console_works_with_the_keyboard_alone(stack: Stack, browser: Browser, axe: str, tmp_path: Path) -> None:  # noqa: ARG001
    """The first stop skips to the content; menus open and close; where one is can be seen."""
    context = browser.new_context(viewport=WIDE)
    person = Person(stack, context, axe)
    page = person.page
    page.goto(person.base)
    expect(page.get_by_label("Email address")).to_be_focused()
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type(person.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Project")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    outline = page.get_by_role("link", name="Messages").evaluate(
        "element => { element.focus({focusVisible: true}); return getComputedStyle(element).outlineStyle }"
    )
    assert outline != "none"
    context.close()
