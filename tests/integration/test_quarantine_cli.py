"""`messaging quarantine list|replay`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from messaging.store import quarantine
from messaging.wire import TaskName
from tests.integration.road import SECRET, Road

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(road: Road, postgres_url: str, valkey_url: str, tmp_path: Path) -> Cli:
    """The command `messaging quarantine`, with one task put aside."""
    with road.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, road.vault, road.project_id, task_id="task-1", task_name=TaskName.SEND_SMS, said={}, deaths=3
        )
    settings = {
        "MESSAGING_DATABASE_URL": postgres_url,
        "MESSAGING_BROKER_URL": valkey_url,
        "MESSAGING_SECRET_KEY": SECRET,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "messaging.cli.main", "quarantine", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | settings,
        )

    return run


def test_what_is_in_quarantine_is_listed_and_replayed(cli: Cli) -> None:
    """An id that is not there is named, and the command fails; the others are replayed."""
    (entry,) = json.loads(cli("list", "--json").stdout)
    assert (entry["what"], entry["task_id"]) == ("task", "task-1")
    refused = cli("replay", entry["id"], "99999")
    assert refused.returncode == 1
    assert "1 replayed" in refused.stderr
    assert "99999: No entry of the quarantine with the id '99999'" in refused.stderr
