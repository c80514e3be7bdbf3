"""A task that does nothing, in a worker with our settings: `benchmarks.latency` measures how long it takes to start."""

from __future__ import annotations

import os
import time
from pathlib import Path

from messaging.wire import TaskName
from workers.admission import Admission
from workers.app import app, settings

app.admission = Admission([*TaskName, "benchmarks.noop"], trusted=None, project=settings.project)


@app.task(name="benchmarks.noop", ignore_result=True)
def noop(sent: float) -> None:
    """Note how long it took from the call to here, in milliseconds."""
    took_ms = (time.time() - sent) * 1000
    with Path(os.environ["NOOP_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(f"{took_ms}\n")
