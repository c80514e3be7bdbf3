"""Flower as an operator sees it: in a browser, behind its password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from messaging.wire import TaskName
from tests.acceptance.stack import WORKERS, Stack, running, until
from tests.system.programs import program

pytestmark = pytest.mark.timeout(600)

_BROWSER_S = 150


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack; nothing is sent through it."""
    with running("--sandbox") as started:
        yield started


def page(address: str, profile: Path) -> str:
    """The document a browser with a fresh profile has after it has run the page's scripts."""
    command = [
        program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=_BROWSER_S, check=True).stdout


def workers_seen(flower: str) -> set[str]:
    """Full names of the workers Flower knows of."""
    answer = httpx.get(f"{flower}/workers", params={"json": "1"}, trust_env=False).raise_for_status()
    return {worker["hostname"] for worker in answer.json()["data"]}


def all_workers(stack: Stack) -> set[str]:
    """The same, once Flower has heard of each kind of worker."""

    def seen() -> set[str]:
        found = workers_seen(stack.runtime.flower)
        return found if len(found) == len(WORKERS) else set()

    return until(seen, lambda: f"{workers_seen(stack.runtime.flower)}\n{stack.tail('flower')}", within_s=120)


def test_who_does_not_know_the_password_sees_nothing(stack: Stack, tmp_path: Path) -> None:
    """Neither over HTTP nor in the browser."""
    parts = urlsplit(stack.runtime.flower)
    bare = f"http://{parts.hostname}:{parts.port}"
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/metrics", "/healthcheck"):
        assert httpx.get(bare + path, trust_env=False).status_code == 401, path
    names = all_workers(stack)
    assert not [name for name in names if name in page(f"{bare}/workers", tmp_path)]


def test_the_browser_shows_every_worker(stack: Stack, tmp_path: Path) -> None:
    """By its name, on the first page."""
    names = all_workers(stack)
    document = page(f"{stack.runtime.flower}/workers", tmp_path)
    assert "<title>Workers" in document
    assert [name for name in names if name not in document] == []


def test_the_browser_shows_the_names_of_our_tasks(stack: Stack, tmp_path: Path) -> None:
    """On the page of a worker, as they are registered."""
    (intake,) = (name for name in all_workers(stack) if name.startswith("intake"))

    def shows_all() -> bool:
        document = page(f"{stack.runtime.flower}/worker/{quote(intake)}", tmp_path)
        return all(name in document for name in TaskName)

    # Flower asks the worker when the page is opened, and gives it a second
    until(shows_all, lambda: stack.tail("flower", "intake"), within_s=150)
