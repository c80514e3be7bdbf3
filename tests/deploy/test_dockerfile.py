"""The Dockerfile: by hadolint, and what its image promises to those who run it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from messaging.cli.health import Role
from messaging.settings import Settings
from tests.conftest import ROOT
from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, compose


def test_hadolint_has_nothing_to_say() -> None:
    """Every rule but those the file itself turns off, with the reason."""
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("there is no build of hadolint for this processor")
    done = subprocess.run([program, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_copies_is_there_and_not_ignored() -> None:
    """The folder of the build holds what the wheel is made from, and nothing else gets in."""
    build, _ = dockerfile.stages()
    copied = [name for step in build if step.word == "COPY" for name in step.rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)


def test_it_runs_as_nobody_in_a_folder_without_code() -> None:
    """By number, which Kubernetes can tell from root; Celery imports from the working directory first."""
    _, image = dockerfile.stages()
    words = {step.word: step.rest for step in image}
    assert words["USER"] == "10001"
    assert words["WORKDIR"] == "/srv/heliograph"
    assert [step.rest for step in image if step.word == "COPY"] == ["--from=build /opt/heliograph /opt/heliograph"]


def test_its_environment_is_one_we_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that processes write lie where a read-only container has room for them."""
    _, image = dockerfile.stages()
    for name, value in dockerfile.environment(image).items():
        if name.startswith("MESSAGING_"):
            monkeypatch.setenv(name, value)
    settings = Settings.load({}, database_url="postgresql://d/d", broker_url="redis://r", secret_key="k" * 32)
    assert settings.ready_file == Path("/run/heliograph/ready")
    assert settings.beat_file == Path("/run/heliograph/beat-schedule")


def test_it_tells_how_any_role_is() -> None:
    """A process that writes its file is asked by it; one that serves is asked over HTTP."""
    _, image = dockerfile.stages()
    (check,) = [step.rest for step in image if step.word == "HEALTHCHECK"]
    _, _, script = dockerfile.Step("CMD", check.partition(" CMD ")[2]).listed
    roles = set(re.findall(r"--role (\w+)", script))
    assert roles | {Role.WORKER} == set(Role) - {Role.BEAT}
    assert "if [ -e $MESSAGING_READY_FILE ]; then exec messaging health; fi" in script


def test_without_a_command_it_is_the_api() -> None:
    """The same as Compose's."""
    _, image = dockerfile.stages()
    (command,) = [step.listed for step in image if step.word == "CMD"]
    assert command == compose()["api"]
