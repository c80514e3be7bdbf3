"""The command line in this process, against the embedded servers: quicker than a process for each command."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from messaging.cli.main import main
from tests.integration.road import SECRET, Road


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The document on stdout of a command that went well."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Cli = Callable[..., Said]


def read(done: Said) -> Any:
    """What a command that went well said in JSON."""
    return done.json()


def command_line(
    road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, *first: str
) -> Cli:
    """`messaging …` with the settings of that project, in `folder`; every command begins with the words `first`.

    `said` goes to its stdin; what else is given by name is in its environment.
    """
    monkeypatch.setenv("MESSAGING_DATABASE_URL", road.settings.database_url.get_secret_value())
    monkeypatch.setenv("MESSAGING_BROKER_URL", road.settings.broker_url.get_secret_value())
    monkeypatch.setenv("MESSAGING_SECRET_KEY", SECRET)
    monkeypatch.delenv("MESSAGING_PROJECT", raising=False)
    monkeypatch.chdir(folder)

    def run(*arguments: str, said: str = "", **env: str) -> Said:
        code = 0
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["messaging", *first, *arguments])
            patch.setattr(sys, "stdin", io.StringIO(said))
            for name, value in env.items():
                patch.setenv(name, value)
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run


@pytest.fixture
def cli(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """`messaging …` with the settings of an empty project, in an empty folder."""
    return command_line(road, monkeypatch, capsys, tmp_path)
