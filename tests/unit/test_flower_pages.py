"""What Flower's pages say of our tasks, and where they lead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flower.urls import settings as flower_settings

from messaging.channel import Channel, Lane
from messaging.producer import fanout_hint
from messaging.store.batches import BatchRef, deliver_hint
from workers.flower_pages import Pages, in_words, page_of, without_password

CONSOLE = "https://example.com/console"
BATCH = BatchRef.parse("202611-17")


@pytest.mark.parametrize(
    ("name", "args", "page"),
    [
        (deliver_hint(BATCH, Channel.PUSH, Lane.BULK, "apns").shadow, f"({BATCH})", "/batches/17"),
        ("messaging.deliver", f"({BATCH})", "/batches/17"),
        ("push · apns", "batch 202611-17", "/batches/17"),
        (fanout_hint(12, Channel.PUSH, Lane.BULK).shadow, "(12)", "/go/12"),
        ("messaging.fanout", "message 12", "/go/12"),
        ("messaging.send_push", "(not shown)", "/p/default/messages/the-id"),
        ("messaging.housekeeping", "()", None),
        ("check · apns", "(660eb237a48d39c95de2)", None),
        ("somebody.elses", "(12)", None),
        (None, None, None),
        ("push · apns", "(202611-17'><script>)", None),
    ],
)
def test_a_task_leads_to_what_it_is_about(name: str | None, args: str | None, page: str | None) -> None:
    """As our own hints name batches and messages; other tasks lead nowhere."""
    assert page_of(CONSOLE, name, args, task_id="the-id") == (None if page is None else CONSOLE + page)
    assert page_of(None, name, args, task_id="the-id") is None


def test_an_id_that_is_no_message_leads_nowhere() -> None:
    """Anybody at the broker may choose a task's id."""
    for task_id in ("", "../x", "a" * 37, "<script>"):
        assert page_of(CONSOLE, "messaging.send_sms", "", task_id=task_id) is None


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("push · apns", "(202611-17)", "batch 202611-17"),
        ("fan-out · push", "(12)", "message 12"),
        ("messaging.housekeeping", "()", ""),
        ("messaging.send_push", "(not shown)", "(not shown)"),
        ("somebody.elses", "(12)", "(12)"),
    ],
)
def test_arguments_are_said_in_words(name: str, args: str, said: str) -> None:
    """What stands for them where nobody knows better."""
    assert in_words(SimpleNamespace(name=name, args=args)).args == said


def test_the_places_of_our_links_are_in_flowers_pages() -> None:
    """A release of Flower that moved them is shown without links; here is where one notices."""
    pages = Pages(flower_settings["template_path"])
    for name, ours in (("navbar.html", "application.console"), ("task.html", "console_page")):
        assert ours in pages.load(name).code
    assert pages.load("workers.html").code


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:password@127.0.0.1:6379/0", "redis://***@127.0.0.1:6379/0"),
        ("amqp://guest:" + "pass@word" + "@host//", "amqp://***@host//"),
        ("redis://127.0.0.1/0", "redis://127.0.0.1/0"),
    ],
)
def test_the_brokers_password_is_not_shown(url: str, shown: str) -> None:
    """Nor its user."""
    assert without_password(url) == shown
