"""The generated pages say what the code says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from docs.generate import reasons, tasks
from docs.generate.pages import PAGES, ROOT
from messaging.channel import Channel
from messaging.content import argument_names
from messaging.message import Sms
from messaging.wire import SEND_TASK
from workers.intake import IntakeTask, request_of


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_up_to_date(path: str) -> None:
    """Whoever changes the code runs `python -m docs.generate`."""
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path](), f"{path}: run `python -m docs.generate`"


def test_every_argument_the_page_of_tasks_names_is_taken() -> None:
    """And its meaning is written down for every part of a content."""
    given = {
        "scheduled_at": "2099-01-01T00:00:00+00:00",
        "expires_at": "2099-01-02T00:00:00+00:00",
        "on_unknown": "hold",
        "lane": "high",
        "draft": True,
        "message_id": "id",
        "project": "default",
    }
    kwargs = {name: given.get(name, ["x"]) for name in tasks.COMMON}
    task = IntakeTask(task_id="t", name=SEND_TASK[Channel.SMS], kwargs={"content": "Hello", **kwargs})
    assert request_of(task).content == Sms(content="Hello")
    assert tasks.CONTENT.keys() == set().union(*(argument_names(channel) for channel in Channel))


@pytest.mark.parametrize("code", reasons.OWN)
def test_every_code_of_our_own_is_written_somewhere(code: str) -> None:
    """One that nothing writes is not a reason."""
    assert any(f'"{code}"' in text or f"'{code}'" in text for text in _sources())


@cache
def _sources() -> list[str]:
    files = [file for package in ("messaging", "workers") for file in Path(ROOT / package).rglob("*.[ps][yq]*")]
    return [file.read_text(errors="replace") for file in files]
