"""Beat leaves a sign of life whenever it looks what is due, for `messaging health --role beat`."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from workers.every import Scheduler


@pytest.mark.parametrize("name", ["ready", "a folder/not there yet/ready"])
def test_beat_marks_its_file_each_time_it_looks(tmp_path: Path, name: str) -> None:
    """In a folder it makes, where there is none."""
    app: Any = Celery("beat", set_as_current=False)
    app.conf.update(broker_url="memory://", beat_schedule={})
    app.ready_file = sign = tmp_path / name
    with closing(Scheduler(app=app, schedule_filename=str(tmp_path / "schedule"))) as scheduler:
        assert not sign.exists()
        scheduler.tick()
        long_ago = sign.stat().st_mtime - 3600  # by the file system's clock, which marks it
        os.utime(sign, (long_ago, long_ago))
        scheduler.tick()
    assert sign.stat().st_mtime > long_ago + 1800


def test_beat_that_has_no_file_marks_none(tmp_path: Path) -> None:
    """As on a machine where nobody probes."""
    app: Any = Celery("beat", set_as_current=False)
    app.conf.update(broker_url="memory://", beat_schedule={})
    app.ready_file = None
    with closing(Scheduler(app=app, schedule_filename=str(tmp_path / "schedule"))) as scheduler:
        scheduler.tick()
    assert not (tmp_path / "ready").exists()
