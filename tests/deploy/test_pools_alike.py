"""Every kind of deployment starts the same processes, and reads every queue once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from messaging.wire import Queue
from tests.deploy import files
from tests.deploy.helm import Helm

Commands = Mapping[str, Sequence[str]]
_KINDS: Mapping[str, Callable[[], Commands]] = {
    "Procfile": files.procfile,
    "messaging up": files.local,
    "Compose": files.compose,
    "systemd": files.systemd,
}
_NOT_RUNNING = {"migrate"}
"""Runs, and ends."""


@pytest.fixture(params=[*_KINDS, "Helm"])
def commands(request: pytest.FixtureRequest) -> Commands:
    """Commands by name, of one kind of deployment."""
    if request.param != "Helm":
        return _KINDS[request.param]()
    helm: Helm = request.getfixturevalue("helm")
    deployments = files.deployments_of(helm.render())
    return {role: files.container(deployment)["command"] for role, deployment in deployments.items()}


def test_it_starts_what_the_procfile_starts(commands: Commands) -> None:
    """No process is missing, none is there that another deployment lacks."""
    assert set(commands) - _NOT_RUNNING == set(files.procfile())


def test_its_pools_are_the_procfiles(commands: Commands) -> None:
    """The same queues in the same order, the same kind of pool, as many tasks at once."""
    assert files.pools(commands) == files.pools(files.procfile())


def test_every_queue_has_its_reader(commands: Commands) -> None:
    """Exactly one pool reads each."""
    read = [queue for pool in files.pools(commands).values() for queue in pool.queues]
    assert sorted(read) == sorted(map(str, Queue))


def test_its_workers_have_the_same_flags(commands: Commands) -> None:
    """Gossip leaves an orphaned list in Redis at every start; names differ by host."""
    for name in files.pools(commands):
        assert {"--without-gossip", "--without-mingle"} <= set(commands[name]), name
        node = commands[name][list(commands[name]).index("-n") + 1]
        assert node in {f"{name}@%h", f"{name}@%H"}, name
        assert list(commands[name][:4]) == ["celery", "-A", "workers.app", "worker"], name


def test_its_other_processes_are_the_same_programs(commands: Commands) -> None:
    """What differs is where they listen."""
    assert list(commands["api"][:2]) == ["messaging", "api"]
    assert list(commands["beat"][:4]) == ["celery", "-A", "workers.app", "beat"]
    assert list(commands["flower"][:3]) == ["python", "-m", "workers.flower"]
