"""A page's session: its blocks are run in order, in one folder, with one environment and one Python."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT, Block
from tests.docs.printed import missing

_HERE = Path(__file__).resolve().parent
_LONGEST_S = 300.0
_UNTIL_S = 150.0
_PAUSE_S = 0.3
_KEPT = "session.env"


@dataclass(frozen=True)
class Ran:
    """How a block ended, and what it printed, errors included."""

    status: int
    printed: str


@dataclass
class Session:
    """Runs the blocks of one page in `folder`."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    _python: subprocess.Popen[str] | None = None

    def run(self, blocks: Sequence[Block]) -> None:
        """Run them in order; fails with the place of the block that did not do what the page says."""
        for number, block in enumerate(blocks):
            if block.is_run and not (block.language == "js" and shutil.which("node") is None):
                then = blocks[number + 1] if number + 1 < len(blocks) else None
                says = then.text if then is not None and then.language == "text" and then.not_run is None else ""
                self._run(block, says)

    def _run(self, block: Block, says: str) -> None:
        deadline = time.monotonic() + (_UNTIL_S if block.until else 0)
        while True:
            ran = self._once(block)
            fault = self._fault(block, ran, says)
            if fault is None:
                return
            if time.monotonic() >= deadline:
                pytest.fail(f"{block.place}: {fault}\n--- the block\n{block.text}--- printed\n{ran.printed}")
            time.sleep(_PAUSE_S)

    @staticmethod
    def _fault(block: Block, ran: Ran, says: str) -> str | None:
        if ran.status != block.exits:
            return f"ended with {ran.status}, not {block.exits}"
        line = missing(says, ran.printed)
        return None if line is None else f"did not print what stands below it: {line!r}"

    def _once(self, block: Block) -> Ran:
        match block.language:
            case "sh":
                return self._shell(block.text)
            case "console":
                return self._console(block)
            case "python":
                return self._in_python(block)
            case _:
                return self._in_node(block)

    def _shell(self, text: str) -> Ran:
        # what it exports and where it goes to is kept for the blocks that follow
        kept = self.folder / _KEPT
        script = (
            f'set -euo pipefail\ntrap \'status=$?; {{ export -p; declare -f; printf "cd %q\\n" "$PWD"; }}'
            f" > {shlex.quote(str(kept))}; exit $status' EXIT\n"
            f"if [ -f {shlex.quote(str(kept))} ]; then . {shlex.quote(str(kept))}; fi\n{text}"
        )
        try:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return Ran(-1, f"{(late.stdout or b'').decode(errors='replace')}\n(not ended after {_LONGEST_S:g} s)")
        return Ran(done.returncode, done.stdout)

    def _console(self, block: Block) -> Ran:
        """Lines after `$ ` are typed; the others are what each prints."""
        printed = []
        for command, says in _typed(block.text):
            ran = self._shell(command)
            printed.append(ran.printed)
            line = missing(says, ran.printed)
            if ran.status or line is not None:
                why = f"ended with {ran.status}" if ran.status else f"did not print {line!r}"
                return Ran(ran.status or 1, f"$ {command}\n{ran.printed}\n({why})")
        return Ran(0, "".join(printed))

    def _in_python(self, block: Block) -> Ran:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(_HERE / "python_session.py")],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        text = "\n" * block.line + block.text  # a traceback then names the page's own line
        ask: Mapping[str, Any] = {"text": text, "place": block.place, "env": self._exported()}
        self._python.stdin.write(json.dumps(ask) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer:
            return Ran(1, "Python ended")
        said = json.loads(answer)
        return Ran(int(said["failed"]), said["printed"])

    def _in_node(self, block: Block) -> Ran:
        # where node finds the SDK by the name a reader would import
        modules = self.folder / "node_modules"
        with suppress(FileExistsError):
            modules.symlink_to(ROOT / "tests" / "sdk" / "node_modules")
        (self.folder / "block.mjs").write_text(block.text, encoding="utf-8")
        return self._shell("node block.mjs")

    def _exported(self) -> dict[str, str]:
        kept = self.folder / _KEPT
        if not kept.exists():
            return {}
        done = subprocess.run(
            ["bash", "-c", f". {shlex.quote(str(kept))}; env -0"],
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        found = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if "=" in pair)
        return {name: value for name, value in found.items() if name not in {"_", "SHLVL", "PWD", "OLDPWD"}}

    def close(self) -> None:
        """End its Python."""
        if self._python is not None:
            assert self._python.stdin is not None
            assert self._python.stdout is not None
            self._python.stdin.close()
            self._python.stdout.close()
            try:
                self._python.wait(20)
            except subprocess.TimeoutExpired:
                self._python.kill()
                self._python.wait()


def _typed(text: str) -> list[tuple[str, str]]:
    """(command, what the page says it prints) of a block in `console`."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line.removeprefix("$ ")], []))
        elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
            found[-1][0].append(line)
        elif found:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(says)) for command, says in found]


def environment() -> dict[str, str]:
    """What a reader's shell has once the virtual environment is active; nothing of ours is set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MESSAGING_", "PYTEST_", "COV_"))}
    return own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', os.defpath)}", "COLUMNS": "200"}
