"""The workers' application with something wrong in it, as `HURT` says: `celery -A tests.integration.hurt_app worker …`.

What a library of ours may do to a process one day is done here by a few lines; everything else is the real worker.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from typing import Any

from celery.signals import worker_ready

from workers import intake
from workers.app import app
from workers.intake import IntakeTask
from workers.wiring import wiring

_LONG_S = 3600
STANDS_STILL = "stands still from now on"

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
_read = intake.request_of


def _read_poison(task: IntakeTask) -> Any:
    """Read a task of a producer; some end the process, some never end."""
    title = task.kwargs.get("title")
    if title == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    while title == "loop":
        pass
    return _read(task)


intake.request_of = _read_poison


def _stand_still() -> None:
    """Begin nothing from now on, and say so: whoever hurts this worker waits for it."""
    os.write(2, STANDS_STILL.encode())
    time.sleep(_LONG_S)


@worker_ready.connect
def _hurt(sender: Any, **_: object) -> None:
    match os.environ.get("HURT"):
        case "loop":  # the event loop takes no turn any more
            wiring().loop._loop.call_soon_threadsafe(time.sleep, _LONG_S)
        case "interpreter":  # a call into C that keeps the interpreter's lock: no thread of ours runs
            wiring().loop._loop.call_soon_threadsafe(ctypes.PyDLL(None).sleep, _LONG_S)
        case "consumer":  # whoever reads the broker stands still
            sender.timer.call_after(0.1, _stand_still)
        case _:
            pass


__all__ = ["app"]
