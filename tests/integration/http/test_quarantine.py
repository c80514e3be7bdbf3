"""The quarantine as an operator sees it."""

from __future__ import annotations

import pytest

from messaging.http import models
from messaging.store import projects, quarantine
from messaging.store.lists import Wanted
from messaging.wire import TaskName
from tests.integration.http.api import Api

PATH = "/messaging/quarantine"


@pytest.fixture
def entry(api: Api) -> str:
    """The id of a task that was put aside."""
    with api.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, api.vault, 1, task_id="task-1", task_name=TaskName.SEND_PUSH, said={}, deaths=3
        )
    return str(api.ok("GET", PATH)["entries"][0]["$id"])


def test_it_is_listed_in_the_fields_of_the_document(api: Api, entry: str) -> None:
    """Newest first, without what the task said."""
    found = api.ok("GET", PATH)
    assert found["total"] == len(found["entries"])
    first = found["entries"][0]
    assert first.keys() == models.MODELS["quarantineEntry"]["properties"].keys()
    assert (first["$id"], first["what"], first["taskId"], first["replayedAt"]) == (entry, "task", "task-1", None)


def test_it_is_replayed(api: Api, entry: str) -> None:
    """A task stays listed until a worker has taken it in."""
    assert api.ok("POST", f"{PATH}/{entry}/replay") == {"deliveries": 0}
    assert api.ok("GET", PATH)["entries"][0]["replayedAt"] is not None


def test_of_what_is_not_there_nothing_is_replayed(api: Api) -> None:
    """Not found."""
    assert api.call("POST", f"{PATH}/99999/replay").status_code == 404


def test_what_belongs_to_another_project_is_not_there(api: Api) -> None:
    """Neither listed nor replayed."""
    with api.engine.begin() as connection:
        other = projects.ensure(connection, "somebody-else")
        quarantine.put_aside_task(connection, api.vault, other, task_id="theirs", task_name="x", said={}, deaths=3)
        (theirs,) = quarantine.listed(connection, other, Wanted()).entries
    assert "theirs" not in str(api.ok("GET", PATH))
    assert api.call("POST", f"{PATH}/{theirs.id}/replay").status_code == 404
