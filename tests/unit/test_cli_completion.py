"""What a shell offers when somebody presses Tab."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from messaging.cli import completion

MAIN = [sys.executable, "-m", "messaging.cli.main"]


def asked(tmp_path: Path, command: list[str], **env: str) -> str:
    """What a command prints away from our own settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MESSAGING_", "_"))}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env=clean | env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "messaging top"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "messaging top", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_the_script_of_a_shell_asks_for_commands(tmp_path: Path, shell: str, typed: dict[str, str]) -> None:
    """It hands over what was typed as it does when it is sourced, and `topic` is among the answers."""
    script = asked(tmp_path, MAIN, _MESSAGING_COMPLETE=f"source_{shell}")
    assert f"complete_{shell}" in script
    assert "topic" in asked(tmp_path, MAIN, _MESSAGING_COMPLETE=f"complete_{shell}", **typed)


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """With the script that `--show-completion` prints, sourced by the shell it detects."""
    (tmp_path / "messaging").write_text(f'#!/bin/sh\nexec {shlex.join(MAIN)} "$@"\n')
    (tmp_path / "messaging").chmod(0o755)
    script = """
        eval "$(messaging --show-completion)"
        complete -p messaging
        COMP_WORDS=(messaging topic gro); COMP_CWORD=2; _messaging_completion messaging; echo "${COMPREPLY[*]}"
        COMP_WORDS=(messaging send push --bad); COMP_CWORD=3; _messaging_completion messaging; echo "${COMPREPLY[*]}"
    """
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    said = asked(tmp_path, ["bash", "--norc", "-c", script], PATH=path).splitlines()
    assert "_messaging_completion messaging" in said[0]
    assert said[1:] == ["growth", "--badge"]


def test_kinds_of_provider_are_offered_with_their_titles() -> None:
    """Those that begin as was typed."""
    assert [name for name, _ in completion.kinds("twi")] == ["twilio"]


def test_where_nothing_answers_nothing_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack, no settings: no ids, and no word on either output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MESSAGING_DATABASE_URL", raising=False)
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")  # else it is set here, and stays for every test after this one
    assert completion.topics("") == []
    assert completion.providers("") == []
