"""`messaging up`: the whole stack on one machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from messaging.errors import SettingsError
from messaging.local.environment import base_environment, flower_environment, sandbox_environment
from messaging.local.errors import StackError
from messaging.local.first_key import project_and_key
from messaging.local.first_operator import console_sign_in
from messaging.local.free_ports import is_free, remembered_ports
from messaging.local.leftovers import only_one, stop_leftovers
from messaging.local.parts import ProcessPart, SandboxPart
from messaging.local.postgres import Postgres
from messaging.local.private_files import kept_secret
from messaging.local.processes import PROCESSES, STOP_ORDER, Kind
from messaging.local.runner import Runner
from messaging.local.runtime import FILE_NAME, Runtime
from messaging.local.terminal import Terminal
from messaging.local.valkey import Valkey
from messaging.store.migrate import upgrade

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_LOOK_S = 0.2
_STOP_TIMEOUT_S = 30.0
_SERVERS_TIMEOUT_S = 600.0
"""PostgreSQL may have a long log to replay after a crash; a part that dies is noticed at once all the same."""
_PROCESSES_TIMEOUT_S = 180.0
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://", "sentinel://")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. `port` None takes the last one used here, or any that is free."""

    data_dir: Path
    port: int | None = None
    sandbox: bool = False
    flower_events: bool = False


def up(options: Options) -> int:
    """Run the stack until it is told to stop; 0 after an orderly end, 1 with the reason on stderr otherwise."""
    directory = options.data_dir.expanduser().absolute()
    try:
        for folder in (directory, directory / "run", directory / "logs", directory / "beat"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(directory / "run"):
            return _Stack(directory, options).run()
    except (StackError, SettingsError) as error:
        print(f"messaging up: {error}", file=sys.stderr)
    except PermissionError as error:
        print(
            f"messaging up: cannot write to {directory}: {error}. Choose another --data-dir, or start as its owner.",
            file=sys.stderr,
        )
    return 1


class _Stack:
    """One run of the stack on one directory."""

    def __init__(self, directory: Path, options: Options) -> None:
        self._directory = directory
        self._options = options
        self._signals = 0
        self._runtime: Runtime | None = None
        self._terminal = Terminal(directory / "logs" / "up.log")
        self._runner = Runner(
            run_dir=directory / "run",
            logs_dir=directory / "logs",
            report=self._terminal.say,
            changed=self._write_runtime,
            interrupted=lambda: self._signals > 0,
            hurry=lambda: self._signals > 1,
        )

    def run(self) -> int:
        before = {number: signal.signal(number, self._on_signal) for number in _STOPPING}
        (self._directory / FILE_NAME).unlink(missing_ok=True)
        try:
            for name in stop_leftovers(self._directory / "run"):
                self._terminal.say(name, "was left running by a stack that was killed; stopped")
            if self._start():
                self._stay()
        finally:
            if self._signals:
                self._terminal.say("up", "stopping (a second signal stops without waiting)")
            self._runner.stop_all(STOP_ORDER, timeout_s=_STOP_TIMEOUT_S, patient=("valkey", "postgres"))
            (self._directory / FILE_NAME).unlink(missing_ok=True)
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _start(self) -> bool:
        """Start everything; False when told to stop meanwhile."""
        ports = self._ports()
        secret_key = os.environ.get("MESSAGING_SECRET_KEY") or kept_secret(self._directory / "secret.key")
        logs = self._directory / "logs"
        servers: list[str] = []

        database_url = os.environ.get("MESSAGING_DATABASE_URL", "")
        embedded_database = not database_url
        if embedded_database:
            postgres = Postgres(self._directory, port=ports["postgres"], log=logs / "postgres.log")
            self._runner.start(postgres)
            servers.append("postgres")
            database_url = postgres.url()

        broker_url = os.environ.get("MESSAGING_BROKER_URL", "")
        redis_url = os.environ.get("MESSAGING_REDIS_URL", "")
        if not broker_url or not (redis_url or broker_url.startswith(_REDIS_SCHEMES)):
            valkey = Valkey(self._directory, port=ports["valkey"], log=logs / "valkey.log")
            self._runner.start(valkey)
            servers.append("valkey")
            if broker_url:
                redis_url = valkey.url()  # RabbitMQ carries the tasks, but cannot pace providers
            else:
                broker_url = valkey.url()  # and paces providers: a second set of workers needs this address only

        env = base_environment(
            self._directory,
            database_url=database_url,
            broker_url=broker_url,
            redis_url=redis_url,
            secret_key=secret_key,
        )
        sandbox = SandboxPart(self._directory, env) if self._options.sandbox else None
        if sandbox is not None:
            self._runner.start(sandbox)
            servers.append("sandbox")
        if not self._runner.wait_ready(servers, timeout_s=_SERVERS_TIMEOUT_S):
            return False

        try:
            upgrade(database_url)
            project, api_key = project_and_key(
                self._directory, database_url=database_url, secret_key=secret_key, embedded=embedded_database
            )
            sign_in = console_sign_in(self._directory, database_url=database_url)
        except SQLAlchemyError as error:
            raise StackError(
                f"The database cannot be brought up to date: {error}. "
                "Check MESSAGING_DATABASE_URL, or the end of logs/postgres.log in the data directory."
            ) from error
        addresses = sandbox.addresses() if sandbox is not None else None
        flower_password = kept_secret(self._directory / "flower.password", lambda: secrets.token_hex(16))
        env |= sandbox_environment(addresses) if addresses is not None else {}
        env |= flower_environment(
            flower_password,
            kept_secret(self._directory / "flower.cookie"),
            events=self._options.flower_events,
        )
        if addresses is not None and not (env.get("MESSAGING_PUBLIC_URL") or env.get("MESSAGING_CALLBACK_URL")):
            env["MESSAGING_CALLBACK_URL"] = f"http://127.0.0.1:{ports['api']}"  # the stand-ins report there
        env |= {"PORT": str(ports["api"]), "FLOWER_PORT": str(ports["flower"])}
        env.setdefault("MESSAGING_CONSOLE_URL", f"http://127.0.0.1:{ports['api']}/console")
        env.setdefault("MESSAGING_FLOWER_URL", f"http://127.0.0.1:{ports['flower']}")
        for process in PROCESSES:
            port = ports[process.name] if process.kind in {Kind.API, Kind.FLOWER} else 0
            self._runner.start(ProcessPart(process, self._directory, env, port))
        if not self._runner.wait_ready([process.name for process in PROCESSES], timeout_s=_PROCESSES_TIMEOUT_S):
            return False

        base = f"http://127.0.0.1:{ports['api']}"
        self._runtime = Runtime(
            endpoint=f"{base}/v1",
            project=project,
            api_key=api_key,
            console=f"{base}/console",
            flower=f"http://admin:{flower_password}@127.0.0.1:{ports['flower']}",
            database_url=database_url,
            broker_url=broker_url,
            sandbox=addresses,
            processes={},
            console_email=None if sign_in is None else sign_in.email,
            console_password=None if sign_in is None else sign_in.password,
        )
        self._write_runtime()
        self._terminal.table(self._runtime, self._directory, sign_in)
        return True

    def _stay(self) -> None:
        while not self._signals:
            self._runner.look_after()
            time.sleep(_LOOK_S)

    def _ports(self) -> dict[str, int]:
        asked = self._options.port
        if asked and not is_free(asked):
            raise StackError(f"Port {asked} is taken. Choose another --port, or none for a free one.")
        path = self._directory / "run" / "ports.json"
        return remembered_ports(path, ["api", "flower", "postgres", "valkey"], {"api": asked} if asked else None)

    def _write_runtime(self) -> None:
        if self._runtime is not None:
            self._runtime = replace(self._runtime, processes=self._runner.pids())
            self._runtime.write(self._directory)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of `python -m messaging.local.up`."""
    parser = argparse.ArgumentParser(prog="messaging up", description="Run the whole stack on this machine.")
    parser.add_argument("--data-dir", type=Path, required=True, help="where the stack keeps its data")
    parser.add_argument("--port", type=int, default=None, help="port of the API; a free one by default")
    parser.add_argument("--sandbox", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--flower-events", action=argparse.BooleanOptionalAction, default=False)
    given = parser.parse_args(argv)
    return up(
        Options(data_dir=given.data_dir, port=given.port, sandbox=given.sandbox, flower_events=given.flower_events)
    )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # only before the handlers are in place
        sys.exit(main())
    sys.exit(130)
