"""The embedded PostgreSQL and Valkey start, keep their data through the worst, and stop."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from messaging.local.children import group_members
from messaging.local.errors import StackError
from messaging.local.free_ports import free_ports
from messaging.local.postgres import Postgres, servers_on
from messaging.local.valkey import Valkey
from tests.conftest import started

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def directory() -> Iterator[Path]:
    """An existing, private directory with a space in its name and a path longer than a socket's may be."""
    home = Path("/tmp") / f"heliograph test {secrets.token_hex(4)}"  # noqa: S108  # pytest's own is closed to `nobody`
    home.mkdir(mode=0o755)
    deep = home / ("long " + "x" * 110)
    deep.mkdir(mode=0o700)
    yield deep
    Postgres(deep, port=0, log=deep / "log").destroy()
    for folder, folders, files in os.walk(home, topdown=False):
        for name in files:
            (Path(folder) / name).unlink()
        for name in folders:
            (Path(folder) / name).rmdir()
    home.rmdir()


def _postgres(directory: Path) -> Postgres:
    return Postgres(directory, port=free_ports(1)[0], log=directory / "postgres.log", durable=False)


def _valkey(directory: Path) -> Valkey:
    return Valkey(directory, port=free_ports(1)[0], log=directory / "valkey.log")


def _wait_until_ready(server: Postgres) -> None:
    deadline = time.monotonic() + 60
    while not server.ready() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_postgres_keeps_committed_rows_when_its_postmaster_is_killed(directory: Path) -> None:
    """What was committed before a `kill -9` is there after the next start on the same directory."""
    server = _postgres(directory)
    process = started(server, directory / "postgres.log")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(process.pid, signal.SIGKILL)

    again = started(server, directory / "postgres.log")
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert server.stop(again)
    process.wait()


def test_postgres_starts_over_a_stale_pid_file_that_names_a_living_stranger(directory: Path) -> None:
    """A `postmaster.pid` whose number now belongs to another process does not keep the server from starting."""
    server = _postgres(directory)
    process = started(server, directory / "postgres.log")
    pid_file = (directory / "postgres").resolve() / "postmaster.pid"
    left = pid_file.read_text()
    server.stop(process)
    pid_file.write_text("\n".join([str(os.getpid()), *left.splitlines()[1:]]) + "\n")

    again = started(server, directory / "postgres.log")
    assert server.stop(again)


def test_postgres_listens_on_loopback_only_and_wants_its_password(directory: Path) -> None:
    """No socket file, no other address, no access without the password."""
    server = _postgres(directory)
    process = started(server, directory / "postgres.log")
    try:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
            assert connection.execute("SHOW server_version_num").fetchone() >= ("180000",)  # type: ignore[operator]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://heliograph:wrong@127.0.0.1:{server.port}/heliograph")
    finally:
        server.stop(process)


def test_secrets_of_the_servers_are_readable_by_their_owner_only(directory: Path) -> None:
    """The passwords lie in files of mode 0600, and not in any command line."""
    postgres, valkey = _postgres(directory), _valkey(directory)
    processes = [
        started(postgres, directory / "postgres.log"),
        started(valkey, directory / "valkey.log"),
    ]
    try:
        for name in ("postgres.password", "valkey.password"):
            file = directory / name
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            password = file.read_text().strip()
            for process in processes:
                assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        postgres.stop(processes[0])
        valkey.stop(processes[1])


def test_a_lost_password_is_named_in_the_error(directory: Path) -> None:
    """Where the password file was replaced, the error says which file and which data do not fit."""
    server = _postgres(directory)
    server.stop(started(server, directory / "postgres.log"))
    (directory / "postgres.password").write_text("another\n")
    other = _postgres(directory)
    process = other.start()
    try:
        with pytest.raises(StackError, match=r"postgres\.password"):
            _wait_until_ready(other)
    finally:
        other.stop(process)


def test_a_half_made_cluster_is_made_anew(directory: Path) -> None:
    """An `initdb` that was interrupted leaves nothing the next start would trip over."""
    unfinished = directory / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    server = _postgres(directory)
    assert server.stop(started(server, directory / "postgres.log"))
    assert not unfinished.exists()


def test_stopping_postgres_leaves_no_process(directory: Path) -> None:
    """After `stop` no server process works on the directory."""
    server = _postgres(directory)
    process = started(server, directory / "postgres.log")
    assert servers_on((directory / "postgres").resolve())
    server.stop(process)
    assert servers_on((directory / "postgres").resolve()) == []
    assert group_members(process.pid) == []


def test_valkey_keeps_what_it_acknowledged_for_a_second(directory: Path) -> None:
    """A list pushed a second before a `kill -9` is there after the next start."""
    server = _valkey(directory)
    process = started(server, directory / "valkey.log")
    with redis.Redis.from_url(server.url()) as client:
        client.lpush("queue", "a", "b")
        deadline = time.monotonic() + 10
        while client.info("persistence")["aof_pending_bio_fsync"] and time.monotonic() < deadline:
            time.sleep(0.05)
    process.kill()
    process.wait()

    again = started(server, directory / "valkey.log")
    with redis.Redis.from_url(server.url()) as client:
        assert client.lrange("queue", 0, -1) == [b"b", b"a"]
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert server.stop(again)


def test_valkey_starts_over_a_file_cut_off_in_the_middle_of_a_command(directory: Path) -> None:
    """A machine that died while the file was written loses that command only."""
    server = _valkey(directory)
    process = started(server, directory / "valkey.log")
    with redis.Redis.from_url(server.url()) as client:
        client.set("kept", "yes")
        client.set("cut", "x" * 100)
    server.stop(process)
    file = next((directory / "valkey" / "appendonlydir").glob("*.incr.aof"))
    with file.open("r+b") as written:
        written.truncate(file.stat().st_size - 20)

    again = started(server, directory / "valkey.log")
    with redis.Redis.from_url(server.url(), decode_responses=True) as client:
        assert client.get("kept") == "yes"
        assert client.get("cut") is None
    assert server.stop(again)


def test_each_module_gets_a_migrated_database(postgres_url: str) -> None:
    """The fixture's database holds the tables of the newest migration."""
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
