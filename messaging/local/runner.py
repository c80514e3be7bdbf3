"""Keeps the parts of a stack running: starts them, restarts what dies, stops them in order."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from messaging.local.children import ask, kill_group
from messaging.local.errors import StackError
from messaging.local.leftovers import forget, record

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

_POLL_S = 0.1
_BACKOFF_FIRST_S = 0.5
_BACKOFF_LIMIT_S = 30.0
_STEADY_AFTER_S = 5.0
_GIVE_UP_AFTER_DEATHS = 3
_LOG_TAIL_BYTES = 8000
_LOG_TAIL_LINES = 15


class Part(Protocol):
    """What the runner needs to know of a server or process."""

    @property
    def name(self) -> str:
        """Its name in runtime.json, in the logs and on the terminal."""

    @property
    def stop_signal(self) -> signal.Signals:
        """What asks it to finish its work and leave."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it anew."""

    def ready(self) -> bool:
        """Whether it does its work by now."""


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started_s: float
    ready: bool = False
    deaths: int = 0
    restart_at_s: float | None = None


@dataclass
class Runner:
    """The parts by name. `report(name, text)` tells people; `changed()` is called when a pid has changed."""

    run_dir: Path
    logs_dir: Path
    report: Callable[[str, str], None]
    changed: Callable[[], None]
    interrupted: Callable[[], bool]
    hurry: Callable[[], bool]
    _parts: dict[str, _Running] = field(default_factory=dict)

    def start(self, part: Part) -> None:
        """Start `part` and look after it from now on. Raises StackError where its program cannot be started."""
        self._parts[part.name] = _Running(part, self._spawn(part), time.monotonic())

    def pids(self) -> dict[str, int]:
        """Process ids by name, in the order of starting."""
        return {name: running.process.pid for name, running in self._parts.items()}

    def wait_ready(self, names: Collection[str], *, timeout_s: float) -> bool:
        """Whether all `names` became ready; False when interrupted.

        Raises StackError with the end of the log for a part that keeps dying or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.interrupted():
            self.look_after()
            waiting = [name for name in names if not self._parts[name].ready]
            if not waiting:
                return True
            for name in waiting:
                if self._parts[name].deaths >= _GIVE_UP_AFTER_DEATHS:
                    raise StackError(
                        f"{name} ended {self._parts[name].deaths} times before it was ready. {self._log(name)}"
                    )
            if time.monotonic() > deadline:
                raise StackError(f"{waiting[0]} was not ready within {timeout_s:.0f} s. {self._log(waiting[0])}")
            time.sleep(_POLL_S)
        return False

    def look_after(self) -> None:
        """One round: note who is ready, who died, and restart whose pause is over."""
        for name, running in self._parts.items():
            now = time.monotonic()
            if running.restart_at_s is not None:
                if now >= running.restart_at_s:
                    self._restart(running)
            elif running.process.poll() is not None:
                self._note_death(name, running, now)
            elif not running.ready:
                if running.part.ready():
                    running.ready = True
                    took_s = now - running.started_s
                    self.report(name, f"ready after {took_s:.1f} s (pid {running.process.pid})")
            elif running.deaths and now - running.started_s > _STEADY_AFTER_S:
                running.deaths = 0

    def stop_all(self, order: Sequence[Iterable[str]], *, timeout_s: float, patient: Collection[str] = ()) -> None:
        """Stop everything, stage by stage: ask, wait up to `timeout_s`, then SIGKILL the process group.

        A hurry shortens the wait, except for the `patient`: servers that close their files.
        """
        for stage in order:
            members = [self._parts[name] for name in stage if name in self._parts]
            for running in members:
                ask(running.process, running.part.stop_signal)
            deadline = time.monotonic() + timeout_s
            while any(running.process.poll() is None for running in members):
                hurried = self.hurry() and not any(running.part.name in patient for running in members)
                if time.monotonic() > deadline or hurried:
                    break
                time.sleep(_POLL_S / 5)
            for running in members:
                name = running.part.name
                if running.process.poll() is None:
                    self.report(name, "did not stop when asked; killed")
                kill_group(running.process.pid)
                running.process.wait()
                forget(self.run_dir, name)
                del self._parts[name]
                self.report(name, "stopped")

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        try:
            process = part.start()
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"{part.name} cannot be started: {error}") from error
        record(self.run_dir, part.name, process.pid)
        return process

    def _note_death(self, name: str, running: _Running, now: float) -> None:
        kill_group(running.process.pid)  # pool processes whose master has gone
        running.deaths += 1
        running.ready = False
        pause_s = min(_BACKOFF_LIMIT_S, _BACKOFF_FIRST_S * 2 ** (running.deaths - 1))
        running.restart_at_s = now + pause_s
        self.report(
            name,
            f"ended with {_ending(running.process.returncode)}; again in {pause_s:.1f} s "
            f"(see {self.logs_dir / name}.log)",
        )

    def _restart(self, running: _Running) -> None:
        try:
            running.process = self._spawn(running.part)
        except StackError as error:
            running.deaths += 1
            pause_s = min(_BACKOFF_LIMIT_S, _BACKOFF_FIRST_S * 2 ** (running.deaths - 1))
            running.restart_at_s = time.monotonic() + pause_s
            self.report(running.part.name, f"{error}; again in {pause_s:.1f} s")
            return
        running.restart_at_s = None
        running.started_s = time.monotonic()
        self.report(running.part.name, f"started again (pid {running.process.pid})")
        self.changed()

    def _log(self, name: str) -> str:
        path = self.logs_dir / f"{name}.log"
        try:
            lines = path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
            tail = "\n".join(lines[-_LOG_TAIL_LINES:])
        except OSError:
            tail = "(no log)"
        return f"The end of {path}:\n{tail}"


def _ending(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
