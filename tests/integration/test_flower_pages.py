"""Flower's pages with our tasks on them, as a browser gets them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from celery import Celery

from messaging.wire import Queue
from tests.integration.road import SECRET
from tests.integration.test_flower import answering, environment

_AUTH = ("admin", "a password for this test")
_CONSOLE = "https://example.com/console"
_START_S = 60


@pytest.fixture(scope="module")
def flower(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of it, who knows the password."""
    log = tmp_path_factory.mktemp("flower") / "log"
    env = environment(
        postgres_url,
        valkey_url,
        FLOWER_BASIC_AUTH=":".join(_AUTH),
        FLOWER_ENABLE_EVENTS="false",
        MESSAGING_CONSOLE_URL=_CONSOLE,
    )
    with answering(env, log, auth=_AUTH) as client:
        yield client


def test_every_page_leads_to_the_console(flower: httpx.Client) -> None:
    """At its top."""
    for path in ("/workers", "/tasks", "/broker"):
        assert f'href="{_CONSOLE}">Console</a>' in flower.get(path).text, path


def test_a_batch_leads_to_its_message(flower: httpx.Client, valkey_url: str) -> None:
    """Its task is called by channel and provider, its argument by what it is, and its page has the link."""
    task_id = str(uuid4())
    told = {"uuid": task_id, "name": "push · apns", "args": "(202611-17)", "kwargs": "{}"}
    with Celery("test", broker=valkey_url, set_as_current=False) as app, app.connection_for_write() as connection:
        tell = app.events.Dispatcher(connection, hostname="push@host")
        deadline = time.monotonic() + _START_S
        while (page := flower.get(f"/task/{task_id}")).status_code == 404:  # until it listens
            assert time.monotonic() < deadline
            tell.send("task-received", **told)
            time.sleep(0.1)
    assert f'href="{_CONSOLE}/batches/17"' in page.text
    assert "push · apns" in page.text
    assert "batch 202611-17" in page.text


def test_the_broker_page_lists_our_queues(flower: httpx.Client, valkey_url: str) -> None:
    """With their lengths, whoever reads them; the broker's password is not on it."""
    page = flower.get("/broker").text
    assert [queue for queue in Queue if f'id="{queue}"' not in page] == []
    assert valkey_url.partition("@")[0].rpartition(":")[2] not in page


def test_celerys_own_way_to_start_it_is_closed(postgres_url: str, valkey_url: str) -> None:
    """It would ask for no password."""
    env = environment(postgres_url, valkey_url)
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "flower", "--port=0"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "python -m workers.flower" in done.stderr
    assert SECRET not in done.stderr
