"""Set this process's clock off: Python imports this module by itself where its folder is on PYTHONPATH.

`SHIFTED_CLOCKS` is JSON: a part of the command line → [seconds ahead, seconds ahead later, how much later that is].
What asks the kernel from C (OpenSSL, for a certificate's dates) is not shifted, unless `SHIFTED_BY` names libfaketime:
then the process starts anew with that, and stays as far off as it is at first.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any

_time_s, _time_ns, _localtime, _gmtime = time.time, time.time_ns, time.localtime, time.gmtime


def _mine() -> tuple[float, float, float] | None:
    command = " ".join(sys.orig_argv)
    shifts = json.loads(os.environ.get("SHIFTED_CLOCKS", "{}"))
    return next((shift for part, shift in shifts.items() if part in command), None)


def _shift(ahead_s: float, later_s: float, after_s: float) -> None:
    started_s = time.monotonic()

    def off_s() -> float:
        return ahead_s if time.monotonic() - started_s < after_s else later_s

    def now_s() -> float:
        return _time_s() + off_s()

    def now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return cls.fromtimestamp(now_s(), tz)

    def utcnow(cls: type[datetime]) -> datetime:
        return cls.fromtimestamp(now_s(), UTC).replace(tzinfo=None)

    replaced: dict[str, Any] = {
        "time": now_s,
        "time_ns": lambda: _time_ns() + int(off_s() * 1e9),
        "localtime": lambda seconds=None: _localtime(now_s() if seconds is None else seconds),
        "gmtime": lambda seconds=None: _gmtime(now_s() if seconds is None else seconds),
    }
    # as a class's attribute, which logging has of it, a plain function would become a method
    vars(time).update({name: partial(function) for name, function in replaced.items()})
    # A subclass in place of `datetime` could not be pickled. Its own methods can be replaced in CPython like this.
    (methods,) = (found for found in gc.get_referents(datetime.__dict__) if isinstance(found, dict))
    methods.update(now=classmethod(now), today=classmethod(now), utcnow=classmethod(utcnow))
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


def _shift_all(library: str, ahead_s: float) -> None:
    if os.environ.get("LD_PRELOAD") != library:
        ours = {"LD_PRELOAD": library, "FAKETIME": f"{ahead_s:+}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        os.environ.update(ours, DONT_FAKE_MONOTONIC="1")
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  this command again


if found := _mine():
    if by := os.environ.get("SHIFTED_BY"):
        _shift_all(by, found[0])
    else:
        _shift(*found)
