"""The systemd units as systemd itself reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import SYSTEMD
from tests.system.programs import program

EXPOSURE = 2.0
"""Of ten: systemd calls up to 4.4 "OK"; a service without protection has 9.6. What is left is the network."""


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units by path, the template as two instances of it, their programs where some are."""
    found = []
    (tmp_path / "bin").symlink_to(Path(sys.executable).parent)  # whose own path may have a space in it
    for source in sorted([*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.target")]):
        text = source.read_text().replace("/opt/heliograph/bin/", f"{tmp_path}/bin/")
        for name in ("push", "push-high") if "@" in source.name else ("",):
            unit = tmp_path / source.name.replace("@", f"@{name}")
            unit.write_text(text)
            unit.chmod(0o644)  # as installed: whatever the umask, systemd has an opinion about other modes
            found.append(str(unit))
    for folder in SYSTEMD.glob("*.service.d"):
        (tmp_path / folder.name).mkdir()
        drop_in = tmp_path / folder.name / "bulk.conf"
        drop_in.write_text((folder / "bulk.conf").read_text())
        drop_in.chmod(0o644)
    return found


def test_systemd_understands_every_line(units: list[str]) -> None:
    """`systemd-analyze verify`: no unknown name, no value it ignores, no program that is missing."""
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "heliograph" in line]
    assert (done.returncode, about_ours) == (0, []), done.stderr


def test_a_process_that_is_taken_over_can_do_little(units: list[str]) -> None:
    """`systemd-analyze security` counts what each unit may still do."""
    services = [unit for unit in units if unit.endswith(".service")]
    for unit in services:
        done = subprocess.run(
            [
                *(program("systemd-analyze"), "security", "--no-pager", "--offline=yes"),
                *(f"--threshold={EXPOSURE * 10:.0f}", unit),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
