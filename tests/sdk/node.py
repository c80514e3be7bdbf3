"""A Node process with the official SDKs, which runs the pieces of JavaScript that tests hand to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

FOLDER = Path(__file__).resolve().parent
PACKAGES = FOLDER / "node_modules"
_OLDEST = (18, 17)
_END_S = 120


class JsError(Exception):
    """What a snippet threw, with the fields of an `AppwriteException`."""

    def __init__(self, *, name: str, message: str, code: int | None = None, type: str | None = None) -> None:  # noqa: A002  the SDK's word
        super().__init__(message)
        self.name = name
        self.code = code
        self.type = type


def unwrapped(answer: dict[str, Any]) -> Any:
    """The value of a runner's answer; raises `JsError` for an error."""
    if "error" in answer:
        raise JsError(**answer["error"])
    return answer.get("value")


def node_program() -> str:
    """Path of Node. Without one the test is skipped, in continuous integration it fails."""
    found = shutil.which("node")
    if found is None or _version(found) < _OLDEST:
        _absent(f"no Node {_OLDEST[0]}.{_OLDEST[1]} or later on PATH: the JavaScript SDKs were not driven")
    return str(found)


def packages() -> Path:
    """The folder with the packages of `package.json`. Without them the test fails, or is skipped if npm is absent."""
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        manifest = PACKAGES / name / "package.json"
        if manifest.is_file() and json.loads(manifest.read_text())["version"] == version:
            continue
        problem = f"{name} {version} is not in {PACKAGES}: run `make install-sdks`, which needs npm"
        if shutil.which("npm") is None:
            _absent(problem)
        pytest.fail(problem)
    return PACKAGES


def _absent(problem: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2])


@dataclass
class Node:
    """The running process."""

    _process: subprocess.Popen[str]
    _log: IO[str]

    def run(self, snippet: str, **given: Any) -> Any:
        """What the body of an async function returns; `given` are variables it sees. Raises `JsError`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"snippet": snippet, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"Node ended:\n{self.said()}"
        return unwrapped(json.loads(line))

    def said(self) -> str:
        """What the SDKs have printed: warnings, mostly."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read()


@contextmanager
def running_node(endpoint: str, project: str, key: str) -> Iterator[Node]:
    """Node with `client`, `messaging`, `users`, `storage` and everything the SDKs export in scope."""
    program = node_program()
    packages()
    configured = json.dumps({"endpoint": endpoint, "project": project, "key": key})
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [program, str(FOLDER / "runner.mjs"), configured],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Node(process, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_END_S)
            assert process.stdout is not None
            process.stdout.close()
