"""The systemd units: how they stop, start again, and find their settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from messaging.settings import Settings
from tests.conftest import ROOT
from tests.deploy.files import SYSTEMD, procfile

UNITS = sorted(SYSTEMD.glob("*.service"))


def settings(unit: Path) -> dict[str, list[str]]:
    """The lines of a unit: values by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_sigterm_goes_to_the_main_process_alone(unit: Path) -> None:
    """Celery's master lets its pool finish; the default would end the pool's tasks half-way."""
    said = settings(unit)
    assert said["KillMode"] == ["mixed"]
    assert said["KillSignal"] == ["SIGTERM"]
    assert said["Restart"] == ["always"]
    assert said["StartLimitIntervalSec"] == ["0"]


def test_a_worker_may_finish_what_is_in_flight() -> None:
    """It ends by itself within MESSAGING_WATCHDOG_S; whoever kills it before that makes duplicates."""
    said = settings(SYSTEMD / "heliograph-worker@.service")
    assert int(said["TimeoutStopSec"][0]) > Settings.model_fields["watchdog_s"].default


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_belongs_to_the_target_and_keeps_its_secrets_in_a_file(unit: Path) -> None:
    """What is in the unit itself everybody on the machine can read."""
    said = settings(unit)
    assert said["PartOf"] == ["heliograph.target"]
    assert said["WantedBy"] == ["heliograph.target"]
    assert "/etc/heliograph/heliograph.env" in said["EnvironmentFile"]
    lines = [line for line in unit.read_text().splitlines() if not line.startswith("#")]
    assert not re.search(r"(?:PASSWORD|SECRET|_KEY|_URL|AUTH)=", "\n".join(lines))


def test_bulk_gives_way_to_what_somebody_waits_for() -> None:
    """Where the Procfile says `nice`, which says nothing between control groups, the unit has less weight."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    niced = {line.partition(":")[0] for line in lines if ": nice " in line}
    lighter = {folder.name.split("@")[1].removesuffix(".service.d") for folder in SYSTEMD.glob("*.service.d")}
    assert niced == lighter
    assert lighter < set(procfile())
    for folder in SYSTEMD.glob("*.service.d"):
        assert "CPUWeight=33" in (folder / "bulk.conf").read_text()


def test_the_example_of_an_environment_is_one_we_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the key, which nobody should share."""
    lines = (SYSTEMD / "heliograph.env").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert said.pop("MESSAGING_SECRET_KEY") == ""
    for name, value in {**said, "MESSAGING_SECRET_KEY": "k" * 32}.items():
        monkeypatch.setenv(name, value)
    assert Settings.load().pacing_url is not None
