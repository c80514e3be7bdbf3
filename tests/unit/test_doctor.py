"""What `messaging doctor` makes of what it is told."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messaging.channel import Channel
from messaging.doctor import machine, workers
from messaging.doctor.finding import State, duration, size
from messaging.doctor.rabbitmq import QueueState
from messaging.settings import Settings
from messaging.wire import Queue
from tests.certificates import Authority

_Usage = namedtuple("_Usage", "total used free")  # noqa: PYI024  as shutil's own
GB = 1 << 30


def test_every_queue_has_a_worker_of_the_procfile() -> None:
    """So that whoever is missing can be named."""
    assert {queue for queues in workers.QUEUES_OF.values() for queue in queues} == set(map(str, Queue))


@pytest.mark.parametrize(
    ("node", "role"),
    [
        ("push@host", "push"),
        ("push-3f2a@host", "push"),
        ("push-high@host", "push-high"),
        ("push-high-3f2a@host", "push-high"),
        ("pushy@host", None),
        ("celery@host", None),
    ],
)
def test_a_worker_is_known_by_its_name(node: str, role: str | None) -> None:
    """With or without what tells two machines apart."""
    assert workers.role_of(node) == role


def test_only_what_is_needed_is_missed() -> None:
    """The pools of a channel without an account may be left out, unless something lies in their queues."""
    everybody = [f"{role}@host" for role in workers.QUEUES_OF]
    channels = set(Channel)
    assert workers.covered(workers.readers(everybody), channels, [], everybody).state is State.OK
    no_sms = [node for node in everybody if not node.startswith("sms")]
    without = workers.covered(workers.readers(no_sms), channels, [], no_sms)
    assert (without.state, "Start: sms, sms-high." in without.advice) == (State.BROKEN, True)
    assert workers.covered(workers.readers(no_sms), {Channel.PUSH}, [], no_sms).state is State.OK
    lies = [QueueState("messaging.sms", 1, None)]
    assert workers.covered(workers.readers(no_sms), {Channel.PUSH}, lies, no_sms).state is State.BROKEN
    no_intake = [node for node in everybody if not node.startswith("intake")]
    assert workers.covered(workers.readers(no_intake), set(), [], no_intake).state is State.BROKEN


def test_a_worker_with_a_name_of_its_own_is_given_the_benefit_of_the_doubt() -> None:
    """Nobody knows what it reads."""
    found = workers.covered(workers.readers(["all@host"]), set(), [], ["all@host"])
    assert (found.state, "all@host" in found.found) == (State.WARNING, True)


def test_a_broker_that_counts_readers_is_believed() -> None:
    """As RabbitMQ does."""
    reading = dict.fromkeys(map(str, Queue), 1)
    assert workers.covered(reading, set(Channel), []).state is State.OK
    assert workers.covered(reading | {"messaging": 0}, set(Channel), []).state is State.BROKEN


@pytest.mark.parametrize(
    ("free", "state"), [(50, State.OK), (12, State.WARNING), (4, State.BROKEN), (0.5, State.BROKEN)]
)
def test_a_disk_is_told_before_it_is_full(free: float, state: State, tmp_path: Path) -> None:
    """By its share, and below a gigabyte in any case."""
    found = machine.disk(tmp_path, usage=lambda _: _Usage(100 * GB, 0, int(free * GB)))
    assert found.state is state


def test_a_folder_that_is_gone_has_no_disk(tmp_path: Path) -> None:
    """It is skipped, with the reason."""
    assert machine.disk(tmp_path / "none", usage=shutil.disk_usage).state is State.SKIPPED


def test_certificates_are_told_before_they_end(tmp_path: Path) -> None:
    """The authority of a broker, and whose tasks are accepted; a file that can't be read is a fault."""
    authority = Authority.made(tmp_path)
    given = {"database_url": "postgresql://x", "broker_url": "memory://", "secret_key": "x" * 32}
    now = datetime.now(UTC)
    settings = Settings.load({}, **given, broker_ca_file=authority.file)
    assert machine.certificates(settings, now=now - timedelta(days=30)).state is State.OK
    assert machine.certificates(settings, now=now).state is State.WARNING  # made for a day
    assert machine.certificates(settings, now=now + timedelta(days=2)).state is State.BROKEN
    assert machine.certificates(Settings.load({}, **given)).found == "none in use"
    missing = Settings.load({}, **given, ca_file=tmp_path / "none.pem")
    assert machine.certificates(missing).state is State.BROKEN


def test_a_process_that_is_gone_is_named() -> None:
    """By its name in the Procfile."""
    assert machine.processes({"api": os.getpid()}).state is State.OK
    found = machine.processes({"api": os.getpid(), "push": 4_194_305})  # above the largest number there can be
    assert (found.state, found.found) == (State.BROKEN, "not running: push")


def test_figures_are_said_as_people_say_them() -> None:
    """Times and sizes."""
    assert [duration(each) for each in (3, 300, 7200, 259_200)] == ["3 s", "5 min", "2 h", "3 days"]
    assert [size(each) for each in (10, 5 << 20, 3 << 40)] == ["10 B", "5 MB", "3.0 TB"]
