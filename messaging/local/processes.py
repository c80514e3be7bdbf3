"""The processes of the Procfile, as the runner starts them; a test compares the two."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from messaging.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUIET = "--without-gossip --without-mingle -l ${LOG_LEVEL:-INFO}"
"""Gossip leaves an orphaned list in Redis at every start; a worker here has nothing to ask its neighbours."""

_MODULES = {"celery": "celery", "messaging": "messaging.cli.main"}
_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|\$(?P<plain>\w+)")


class Kind(StrEnum):
    """What a process is, which decides how we learn that it is ready."""

    API = "api"
    WORKER = "worker"
    BEAT = "beat"
    FLOWER = "flower"


@dataclass(frozen=True)
class Process:
    """One line of the Procfile."""

    name: str
    kind: Kind
    command: str

    def argv(self, env: Mapping[str, str]) -> list[str]:
        """The command as a list, its variables taken from `env` as a shell would take them.

        The scripts `celery` and `messaging` become `python -m …`: a script's first line breaks where the path of the
        virtual environment has a space in it or passes 127 bytes (man 2 execve). Raises StackError for a variable
        that has neither a value nor a default.
        """
        words = [self._expand(word, env) for word in shlex.split(self.command)]
        nice = words[:3] if words[0] == "nice" else []
        program, *rest = words[len(nice) :]
        module = [] if program == "python" else ["-m", _MODULES[program]]
        return [*nice, sys.executable, *module, *rest]

    def _expand(self, word: str, env: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match["braced"] or match["plain"]
            found = env.get(name) or match["default"]
            if found is None:
                raise StackError(f"The command of {self.name} needs the environment variable {name}. Set it.")
            return found

        return _VARIABLE.sub(value, word)


def _worker(name: str, queues: str, pool: str, *, gives_way: bool = False) -> Process:
    suffix = "${NODE_SUFFIX:-}"  # a second set of workers on this host needs names of its own
    nice = "nice -n 5 " if gives_way else ""
    command = f"{nice}celery -A workers.app worker -Q {queues} -n {name}{suffix}@%h {pool} {_QUIET}"
    return Process(name, Kind.WORKER, command)


# what sends to many gives way to what somebody waits for, where both want the same processor: `workers/niceness.py`
PROCESSES = (
    Process("api", Kind.API, "messaging api --host 127.0.0.1 --port $PORT"),
    _worker("intake", "messaging.high,messaging", "-c ${INTAKE_CONCURRENCY:-2}"),
    _worker(
        "fanout", "messaging.fanout.high,messaging.fanout,messaging.sweep,messaging.receipts", "-c 2", gives_way=True
    ),
    _worker("push", "messaging.push", "-P threads -c ${PUSH_BATCHES:-2}", gives_way=True),
    _worker("push-high", "messaging.push.high", "-P threads -c 8"),
    _worker("email", "messaging.email", "-c ${EMAIL_CONCURRENCY:-1}", gives_way=True),
    _worker("email-high", "messaging.email.high", "-P threads -c 8"),
    _worker("sms", "messaging.sms", "-c ${SMS_CONCURRENCY:-1}", gives_way=True),
    _worker("sms-high", "messaging.sms.high", "-P threads -c 8"),
    Process(
        "beat",
        Kind.BEAT,
        'celery -A workers.app beat -s "${MESSAGING_BEAT_FILE:-celerybeat-schedule}" -l ${LOG_LEVEL:-INFO}',
    ),
    Process("flower", Kind.FLOWER, "python -m workers.flower --address=127.0.0.1 --port=$FLOWER_PORT"),
)

STOP_ORDER = (
    ("beat",),
    ("api",),
    ("intake",),
    ("fanout",),
    ("push", "push-high", "email", "email-high", "sms", "sms-high"),
    ("flower",),
    ("sandbox",),
    ("valkey",),
    ("postgres",),
)
"""Stages of the shutdown: what feeds a stage has gone before it, and what it needs goes after it."""
