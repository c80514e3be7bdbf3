"""Where the processes of one worker write their metrics, so that one of them can serve those of all.

prometheus-client has each process write a file of its own, and adds the files up when they are read
(https://prometheus.github.io/client_python/multiprocess/). By default the file is named after the process: of a pool
whose children are replaced after some thousand tasks they would become ever more. Here it is named after the place in
the pool: whoever takes a dead child's place goes on counting where that one stopped, and no counter ever falls.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.multiprocess import MultiProcessCollector

_PREFIX = "heliograph-metrics-"
_OURS = re.compile(rf"{_PREFIX}(\d+)-\w+", re.ASCII)
_MAIN = "main"
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Places:
    """The files of this worker."""

    def __init__(self) -> None:
        self._place = _MAIN
        self._directory: Path | None = None

    @property
    def is_used(self) -> bool:
        """Whether metrics are kept in files at all."""
        return self._directory is not None

    def use(self, parent: Path | None = None) -> None:
        """Keep the metrics of this process, and of those it forks, in a new folder that nobody else may read.

        Called before any metric is made.
        """
        parent = parent or Path(tempfile.gettempdir())
        _remove_left_behind(parent)
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        os.environ[_VARIABLE] = str(self._directory)
        values.ValueClass = values.MultiProcessValue(lambda: self._place)  # type: ignore[no-untyped-call]
        owner = os.getpid()

        def remove() -> None:
            if os.getpid() == owner:  # and not in a child that ends
                self.remove()

        atexit.register(remove)

    def take(self, number: int) -> None:
        """Write to the files of that place in the pool, in the process that has just taken it."""
        if self._directory is None:
            return
        self._place = f"child{number}"
        self._forget_gauges(lambda place: place == self._place)

    def registry(self, children: Collection[int]) -> CollectorRegistry:
        """What to export now: what all have counted, and the gauges of those that live, by their places."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        if self._directory is not None:
            living = {_MAIN, *(f"child{number}" for number in children)}
            self._forget_gauges(lambda place: place not in living)
            MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        return registry

    def remove(self) -> None:
        """Delete the files."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _forget_gauges(self, is_gone: Callable[[str], bool]) -> None:
        """What a process had in hand when it died, nobody has."""
        for path in (self._directory or Path()).glob("gauge_live*.db"):
            if is_gone(path.stem.rpartition("_")[2]):
                path.unlink(missing_ok=True)


def _remove_left_behind(parent: Path) -> None:
    """Delete the folders of workers that were killed."""
    for path in parent.glob(f"{_PREFIX}*"):
        found = _OURS.fullmatch(path.name)
        if found is None or not path.is_dir() or path.is_symlink() or path.stat().st_uid != os.getuid():
            continue
        if int(found[1]) == os.getpid() or not _is_alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


places = Places()
"""Of this worker."""
