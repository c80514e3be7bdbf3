"""What every tier shares: marks by folder, the embedded servers, and a migrated database per test module."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import redis
from hypothesis import HealthCheck, settings

from messaging.local.free_ports import free_ports
from messaging.local.postgres import Postgres
from messaging.local.valkey import Valkey
from messaging.store.migrate import upgrade
from tests.own_ports import take_own_ports
from tests.sharing import SharingScheduling

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
_MARKED_FOLDERS = ("integration", "sdk", "acceptance", "chaos", "system")
_START_TIMEOUT_S = 120.0
_TEMPLATE = "heliograph_template"

# How long an example takes says how busy the machine is, and nothing about the program. The same examples each time:
# who changes something else is not told of a rare one. `make test-slow` looks further, with others each time.
_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ANY_MACHINE, derandomize=True)
settings.register_profile("further", _ANY_MACHINE, max_examples=1_000)
settings.load_profile("same")

take_own_ports()


class _Server(Protocol):
    def start(self) -> subprocess.Popen[bytes]: ...
    def ready(self) -> bool: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the mark of its folder."""
    for item in items:
        for part in item.path.relative_to(ROOT).parts:
            if part in _MARKED_FOLDERS:
                item.add_marker(part)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharingScheduling | None:
    """Files that share a stack go to one process."""
    return SharingScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def started(server: _Server, log: Path) -> subprocess.Popen[bytes]:
    """The process of `server`, once the server answers."""
    process = server.start()
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not server.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"{type(server).__name__} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
    return process


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of third-party contracts; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("MESSAGING_SHARED_DIR", ROOT.parent / "shared")) / "reference"
    if not folder.is_dir():
        pytest.skip(f"no third-party contracts in {folder}; set MESSAGING_SHARED_DIR to the folder above `reference`")
    return folder


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A directory for the servers' data, on a short path and open to the account PostgreSQL runs under."""
    directory = Path(tempfile.mkdtemp(prefix="heliograph-tests-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[Postgres]:
    """The session's PostgreSQL server, running."""
    log = servers_dir / "postgres.log"
    server = Postgres(servers_dir, port=free_ports(1)[0], log=log, durable=False)
    process = started(server, log)
    yield server
    server.stop(process)
    server.destroy()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """Name of a migrated, empty database to copy."""
    upgrade(postgres_server.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="module")
def postgres_url(postgres_server: Postgres, postgres_template: str) -> Iterator[str]:
    """postgresql://… of a migrated, empty database that only this test module uses."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres_server.create_database(name, template=postgres_template)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def valkey_server(servers_dir: Path) -> Iterator[Valkey]:
    """The session's Valkey server, running."""
    log = servers_dir / "valkey.log"
    server = Valkey(servers_dir, port=free_ports(1)[0], log=log)
    process = started(server, log)
    yield server
    server.stop(process)


@pytest.fixture(scope="module")
def valkey_url(valkey_server: Valkey) -> str:
    """redis://… of the session's Valkey, emptied for this test module."""
    with redis.Redis.from_url(valkey_server.url()) as client:
        client.flushall()
    return valkey_server.url()
