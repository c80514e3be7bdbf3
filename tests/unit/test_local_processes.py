"""The Procfile and the runner start the same processes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from messaging.local.environment import node_suffix
from messaging.local.errors import StackError
from messaging.local.processes import PROCESSES, STOP_ORDER, Kind
from messaging.wire import Queue
from tests.conftest import ROOT

_ENV = {"PORT": "8000", "FLOWER_PORT": "5555", "MESSAGING_BEAT_FILE": "/data dir/beat/schedule"}


def _procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command for name, _, command in (line.partition(": ") for line in lines if line)}


def test_procfile_and_runner_agree() -> None:
    """Names, order and commands are the same in both."""
    assert list(_procfile().items()) == [(process.name, process.command) for process in PROCESSES]


def test_every_queue_has_a_consumer() -> None:
    """Each queue of the contract is read by exactly one pool."""
    read = [queue for command in _procfile().values() for queue in re.findall(r"-Q (\S+)", command)[:1]]
    consumed = [queue for queues in read for queue in queues.split(",")]
    assert sorted(consumed) == sorted(str(queue) for queue in Queue)


def test_every_process_and_server_is_stopped() -> None:
    """The order of the shutdown names each of them once."""
    names = [name for stage in STOP_ORDER for name in stage]
    assert sorted(names) == sorted([process.name for process in PROCESSES] + ["sandbox", "valkey", "postgres"])


def test_commands_run_without_installed_scripts() -> None:
    """Every command becomes `python -m …`, which works where the environment's path has spaces."""
    for process in PROCESSES:
        argv = process.argv(_ENV)
        assert argv[3 * (argv[0] == "nice") :][:2] == [sys.executable, "-m"]


def test_bulk_gives_way_to_what_somebody_waits_for() -> None:
    """What sends to many is nice; accepting, the high lane and the API are not."""
    nice = {process.name for process in PROCESSES if process.argv(_ENV)[:3] == ["nice", "-n", "5"]}
    assert nice == {"fanout", "push", "email", "sms"}


def test_a_path_with_spaces_stays_one_argument() -> None:
    """Beat's schedule file is one argument, whatever it is called."""
    beat = next(process for process in PROCESSES if process.kind is Kind.BEAT)
    assert "/data dir/beat/schedule" in beat.argv(_ENV)


def test_concurrency_comes_from_the_environment_or_its_default() -> None:
    """`PUSH_BATCHES` sets how many batches a push process sends at once; two where it is not set."""
    push = next(process for process in PROCESSES if process.name == "push")
    assert push.argv(_ENV)[push.argv(_ENV).index("-c") + 1] == "2"
    many = push.argv(_ENV | {"PUSH_BATCHES": "4"})
    assert many[many.index("-c") + 1] == "4"


def test_a_missing_variable_is_named() -> None:
    """A command that cannot be put together says which variable it lacks."""
    api = next(process for process in PROCESSES if process.name == "api")
    with pytest.raises(StackError, match="PORT"):
        api.argv({})


def test_a_second_directory_gets_node_names_of_its_own() -> None:
    """Two sets of workers on one host never share a Celery node name, and a set keeps its names."""
    assert node_suffix(Path("/a")) != node_suffix(Path("/b"))
    assert node_suffix(Path("/a")) == node_suffix(Path("/a"))
