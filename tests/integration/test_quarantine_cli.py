"""`messaging quarantine list|replay`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from messaging.store import quarantine
from messaging.wire import TaskName
from tests.integration.cli import Cli, command_line
from tests.integration.road import Road


@pytest.fixture
def cli(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command `messaging quarantine`, with one task put aside."""
    with road.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, road.vault, road.project_id, task_id="task-1", task_name=TaskName.SEND_SMS, said={}, deaths=3
        )
    return command_line(road, monkeypatch, capsys, tmp_path, "quarantine")


def test_what_is_in_quarantine_is_listed_and_replayed(cli: Cli) -> None:
    """An id that is not there is named, and the command fails; the others are replayed."""
    (entry,) = json.loads(cli("list", "--json").out)
    assert (entry["what"], entry["task_id"]) == ("task", "task-1")
    refused = cli("replay", entry["id"], "99999")
    assert refused.code == 1
    assert "1 replayed" in refused.err
    assert "99999: No entry of the quarantine with the id '99999'" in refused.err
