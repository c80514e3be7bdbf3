"""The `messaging` commands that a text names, and whether they exist with those options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import typer.main

from messaging.cli.main import app

_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
_ENDS = frozenset("|&;()<>`")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|…|.*[…<>|/].*")
_HELP = frozenset({"--help", "--install-completion", "--show-completion"})


def typed(script: str) -> Iterator[Sequence[str]]:
    """The words of every `messaging …` in a script, without what lies in here-documents."""
    until: str | None = None
    for line in script.replace("\\\n", " ").splitlines():
        if until is not None:
            until = None if line.strip() == until else until
            continue
        yield from _in_line(line)
        found = _HEREDOC.search(line)
        until = None if found is None else found.group(1)


def _in_line(line: str) -> Iterator[Sequence[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] | None = None
    before = ""
    try:
        tokens = list(words)
    except ValueError:  # a quote that goes on in the next line: what there is of the line is not ours
        return
    for word in tokens:
        if set(word) <= _ENDS:
            if command is not None:
                yield command
            command = None
        elif command is not None:
            command.append(word)
        elif word.rpartition("/")[2] == "messaging" and (before in {"", "$", "!", "if"} or set(before) <= _ENDS):
            command = []
        before = word
    if command is not None:
        yield command


@cache
def _root() -> Any:
    return typer.main.get_command(app)


def fault(words: Sequence[str]) -> str | None:
    """What is wrong with `messaging` and these words, or None: an unknown command, or an option it does not take."""
    command = _root()
    path, rest = ["messaging"], list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        if _PLACEHOLDER.fullmatch(name):
            return None
        found = command.commands.get(name)
        if found is None:
            return f"`{' '.join(path)}` has no command `{name}`"
        command = found
        path.append(name)
    # a group stands for its commands where a text names no one of them
    meant = [command, *getattr(command, "commands", {}).values()]
    known = {option for each in meant for param in each.params for option in (*param.opts, *param.secondary_opts)}
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--") and option != "--" and option not in known | _HELP:
            return f"`{' '.join(path)}` has no option `{option}`"
    return None
