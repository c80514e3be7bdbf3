"""Flower as we start it: nothing without the password, and with it nothing but looking."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from flower.urls import handlers
from tornado.routing import URLSpec

from messaging.local.free_ports import free_ports
from tests.integration.road import SECRET

_PASSWORD = "a password for this test"
_START_S = 120


def paths() -> list[str]:
    """An address for each pattern that Flower serves."""
    patterns = [each.regex.pattern if isinstance(each, URLSpec) else each[0] for each in handlers]
    return sorted({re.sub(r"\(.*?\)", "nothing", pattern).rstrip("$").replace("/?", "") for pattern in patterns})


PATHS = sorted({path if path.startswith("/") else "/no/such/page" for path in paths()})


def environment(database_url: str, broker_url: str, **more: str) -> dict[str, str]:
    """What Flower is started with, and nothing that happens to be set here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWER_", "MESSAGING_"))}
    own = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "SECRET_KEY": SECRET}
    return kept | {f"MESSAGING_{name}": value for name, value in own.items()} | more


def start(arguments: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The process."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "workers.flower", *arguments]
        return subprocess.Popen(command, env=env, stdout=file, stderr=file)


@contextmanager
def answering(
    env: dict[str, str], log: Path, *arguments: str, auth: tuple[str, str] | None = None
) -> Iterator[httpx.Client]:
    """A client of a Flower that answers, while the block runs."""
    (port,) = free_ports(1)
    process = start(["--address=127.0.0.1", f"--port={port}", *arguments], env, log)
    deadline = time.monotonic() + _START_S
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60, auth=auth) as client:
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                try:
                    client.get("/tasks")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def flower(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of it."""
    log = tmp_path_factory.mktemp("flower") / "log"
    env = environment(postgres_url, valkey_url, FLOWER_BASIC_AUTH=f"admin:{_PASSWORD}", FLOWER_READ_ONLY="false")
    with answering(env, log, "--conf=/nothing/such") as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_password(flower: httpx.Client, path: str) -> None:
    """No page, no file, no health, no metrics: by no method, with no password, another, or another scheme."""
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        for auth in (None, ("admin", "wrong")):
            answer = flower.request(method, path, auth=auth)
            assert answer.status_code == 401, f"{method} {path}"
            assert "basic" in answer.headers["www-authenticate"].lower()


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic", "Basic ***", "Basic Og=="])
def test_what_is_no_password_opens_nothing(flower: httpx.Client, header: str) -> None:
    """Whatever it looks like."""
    assert flower.get("/metrics", headers={"authorization": header}).status_code == 401


@pytest.mark.parametrize("path", sorted(set(PATHS) - {"/tasks/datatable"}))
def test_nothing_is_done_with_the_password(flower: httpx.Client, path: str) -> None:
    """Each control action is refused before Flower looks at it."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = flower.request(method, path, auth=("admin", _PASSWORD))
        assert answer.status_code == 405, f"{method} {path}"


def test_with_the_password_it_shows_what_it_has(flower: httpx.Client) -> None:
    """Its pages, its metrics and its health."""
    for path in ("/", "/workers", "/tasks", "/metrics", "/healthcheck"):
        assert flower.get(path, auth=("admin", _PASSWORD)).status_code == 200, path
    assert flower.post("/tasks/datatable", auth=("admin", _PASSWORD)).status_code != 405


@pytest.mark.parametrize("said", ["", "admin", "admin:"])
def test_without_a_password_it_does_not_start(said: str, tmp_path: Path) -> None:
    """And says what to set."""
    env = environment("postgresql://nowhere", "redis://nowhere", **({"FLOWER_BASIC_AUTH": said} if said else {}))
    process = start(["--port=0"], env, tmp_path / "log")
    assert process.wait(120) == 1
    assert "FLOWER_BASIC_AUTH" in (tmp_path / "log").read_text()
