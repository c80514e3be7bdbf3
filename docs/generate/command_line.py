"""The commands of `messaging`, their options and arguments, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer.main

from messaging.cli.main import app

_INTRO = """\
# The command line

`messaging --help` lists the commands, `messaging COMMAND --help` the options of one. This page is made from them.

Which system: `--data-dir DIR` of a running stack, else `MESSAGING_DATABASE_URL`, `MESSAGING_BROKER_URL` and
`MESSAGING_SECRET_KEY`, else `./data`. Which project: `messaging --project ID …`, else `MESSAGING_PROJECT`, else
`default`.

Results go to stdout, everything else to stderr. Tables are for people: colours and progress bars are left out where
the output is no terminal (and colours where `NO_COLOR` is set). `--json` prints one JSON document, lists as arrays,
times as ISO 8601; its fields stay, new ones may come. A list says on stderr how to go on where there is more: `--after`
takes the id of the last row.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed or refused; one line on stderr says why and what to do |
| 2 | wrong usage: no such command or option, a value that can't be read |
| 3 | what was named does not exist |

1 is also what `send --wait` and `message watch` say of a message that failed, `provider check` of a check that did not
pass, `doctor` where something is broken, `suppress find` of an address that is not on the list, and `--strict` of a
file with bad lines.

## Completion

The shell completes commands, options, and the ids of topics, providers and messages. `messaging --install-completion`
sets it up for the shell it is called from; `messaging --show-completion` prints the script, for bash, zsh and fish. Ids
are looked up in the system that the environment, or `./data`, names; where none answers within two seconds, none are
offered.

"""

_DOCTOR = """\
## What doctor looks at

`messaging doctor` prints a table: check, state, what was found, what to do. `ok`; `warning`: it works, and may not for
long; `broken`: something promised does not hold, or nothing moves, and the exit code is 1; `skipped`: it could not be
looked at. Nothing is changed, and no worker is asked: they tell of themselves every two seconds, which is listened to
for up to eight. Run it where the settings are those of the API and the workers.

| check | is not ok when |
|---|---|
| settings | one is missing, unknown or malformed, or no stack runs there |
| database | it does not answer, is a replica, or is older than PostgreSQL 15 |
| schema | its tables are older or newer than this version's |
| partitions | those of this month (broken) or the next (warning) are missing |
| connections | more than four fifths are taken, or one stack may open more than there are |
| clock | this machine's differs from the database's by more than 5 s |
| durability | `synchronous_commit`, `fsync` or `full_page_writes` is off |
| autovacuum | it is off, or a row is a thousand million transactions old |
| long transactions | one is open for more than ten minutes |
| secret key | it does not open the database's secrets; or a rotation is not finished |
| providers | people can be reached over a channel that has no enabled account |
| stopped providers | one is stopped until somebody acts (broken), or for a while (warning) |
| provider kinds | an enabled account is of a kind nobody can send with |
| address from outside | receipts or unsubscribe links need one and none is set |
| broker, pacing | it does not answer, is a replica, or is older than Redis 6.2; there is none for pacing |
| broker eviction, pacing eviction | `maxmemory-policy` is not `noeviction` |
| broker persistence | there is no append-only file, or it can't be written |
| broker memory, pacing memory | four fifths (warning) or 95 % (broken) of it is in use |
| broker connections, pacing connections | four fifths are taken |
| broker queue types | RabbitMQ's intake queues are not quorum queues though the setting says so |
| queues | one holds more than 10,000 tasks |
| unreadable tasks | something stood in a queue that is no message |
| workers | nobody reads a queue that holds tasks, or belongs to a channel with an enabled account |
| beat and sweep | no sweep was done for half a minute |
| due batches | one could be sent for a minute (warning), for ten (broken) |
| lost leases | nobody took over from a worker that died a minute ago |
| overdue messages | a scheduled message was not begun a minute after its time |
| receipts | some wait for more than a minute |
| quarantine | something was put aside |
| refused tasks | a producer's task was refused in the last day |
| certificates | one of the settings' ends within three weeks (warning), has ended or can't be read (broken) |
| disk | less than 15 % (warning), 5 % or 1 GB (broken) is free for the data directory |
| processes, API, Flower | of a stack on this machine: one does not run or answer |
"""
"""A test compares the names with what the command prints."""

_KINDS = {int: "NUMBER", float: "NUMBER", Path: "PATH"}
"""What stands for a value; TEXT for others."""


def page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    blocks = [_INTRO.rstrip(), "## Commands", "\n".join(_contents(root))]
    for words, command in _commands(root, ()):
        blocks.append(f"### {_heading(words)}")
        blocks.append(" ".join((command.help or "").split()))
        rows = list(_rows(command))
        usage = " ".join(["messaging", *words, *_usage(command)])
        blocks.append(f"`{usage}`")
        if rows:
            blocks.append("\n".join(["| | |", "|---|---|", *rows]))
    blocks.append(_DOCTOR.rstrip())
    return "\n\n".join(blocks) + "\n"


def _heading(words: tuple[str, ...]) -> str:
    return " ".join(words)


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  typer's, without types
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, (*above, name))
        else:
            yield (*above, name), command


def _contents(root: Any) -> Iterator[str]:  # noqa: ANN401  (as above)
    yield "| command | does |"
    yield "|---|---|"
    for words, command in _commands(root, ()):
        anchor = "-".join(words)
        does = " ".join((command.help or "").split()).partition(". ")[0].rstrip(".")
        yield f"| [{_heading(words)}](#{anchor}) | {_cell(does)} |"


def _usage(command: Any) -> Iterator[str]:  # noqa: ANN401  (as above)
    if any(param.param_type_name == "option" and param.name != "help" for param in command.params):
        yield "[OPTIONS]"
    for param in command.params:
        if param.param_type_name == "argument":
            name = _argument(param)
            yield name if param.required or name.startswith("[") else f"[{name}]"


def _rows(command: Any) -> Iterator[str]:  # noqa: ANN401  (as above)
    for param in command.params:
        if param.name == "help" or getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            name = f"`{_argument(param)}`"
        else:
            names = [*param.opts, *param.secondary_opts]
            value = "" if param.is_flag else f" {_metavar(param)}"
            name = " ".join(f"`{each}{value}`" for each in names)
        yield f"| {_cell(name)} | {_cell(_meaning(param))} |"


def _argument(param: Any) -> str:  # noqa: ANN401  (as above)
    name = str(param.metavar or param.name.upper())
    return f"{name}..." if param.nargs == -1 and "..." not in name else name


def _metavar(param: Any) -> str:  # noqa: ANN401  (as above)
    if param.metavar:
        return str(param.metavar)
    kind = param.type_descriptor.annotation
    kind = next(iter(get_args(kind)), kind)  # of a list, what is in it
    if issubclass(kind, Enum):
        return "|".join(str(each.value) for each in kind)
    return _KINDS.get(kind, "TEXT")


def _meaning(param: Any) -> str:  # noqa: ANN401  (as above)
    said = " ".join((param.help or "").split())
    more = []
    if param.required and param.param_type_name == "option":
        more.append("required")
    default = param.default
    if param.show_default is not False and default not in {None, False, ""} and not callable(default):
        more.append(f"default: {getattr(default, 'value', default)}")
    if not more:
        return said
    return f"{said} ({'; '.join(more)})".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
