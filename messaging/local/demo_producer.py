"""A producer as any service is one: plain Celery in a process of its own, with nothing of ours imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.local.demo_stack import DemoError

_TIMEOUT_S = 60

BARE_PRODUCER = """
import json, os, sys
from datetime import datetime, timedelta, timezone
from celery import Celery

app = Celery(broker=os.environ["BROKER_URL"])
for task in json.load(sys.stdin):
    eta = task["in_s"] and datetime.now(timezone.utc) + timedelta(seconds=task["in_s"])
    sent = app.send_task(task["name"], kwargs=task["kwargs"], queue="messaging", eta=eta)
    print(sent.id)
"""


@dataclass(frozen=True, kw_only=True)
class ProducedTask:
    """One `send_task`."""

    name: str
    kwargs: Mapping[str, Any]
    in_s: float | None = None
    """`eta` so many seconds ahead."""


def produce(broker_url: str, tasks: Sequence[ProducedTask]) -> list[str]:
    """Task ids, which are the message ids. Raises `DemoError` where the producer fails."""
    given = [{"name": task.name, "kwargs": dict(task.kwargs), "in_s": task.in_s} for task in tasks]
    done = subprocess.run(
        [sys.executable, "-c", BARE_PRODUCER],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={**os.environ, "BROKER_URL": broker_url},
    )
    if done.returncode != 0:
        raise DemoError(f"The Celery producer failed: {done.stderr.strip()[-500:]}")
    return done.stdout.split()
