"""The processes of the Procfile and the sandbox as parts the runner can look after."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from messaging.local.children import Command, spawn
from messaging.local.processes import Kind, Process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

_PROBE_TIMEOUT_S = 3.0
_BEAT_SETTLES_S = 1.0


def _answers(url: str, *, basic_auth: str = "") -> bool:
    name, _, password = basic_auth.partition(":")
    auth = (name, password) if basic_auth else None
    try:
        return httpx.get(url, timeout=_PROBE_TIMEOUT_S, trust_env=False, auth=auth).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False


@dataclass
class ProcessPart:
    """One process of the Procfile. `directory` is the stack's; `port` that of the API or Flower."""

    process: Process
    directory: Path
    env: Mapping[str, str]
    port: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    _started_s: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """Its name in the Procfile."""
        return self.process.name

    @property
    def _ready_file(self) -> Path:
        return self.directory / "run" / f"{self.name}.ready"

    def start(self) -> subprocess.Popen[bytes]:
        """Start it with a mark of its own to set when ready."""
        self._ready_file.unlink(missing_ok=True)
        self._started_s = time.monotonic()
        env = dict(self.env)
        if self.process.kind is Kind.WORKER:
            env["MESSAGING_READY_FILE"] = str(self._ready_file)
        return spawn(
            Command(
                argv=self.process.argv(env),
                cwd=self.directory,  # Celery puts it first on the import path, and nothing to import lies there
                env=env,
                log=self.directory / "logs" / f"{self.name}.log",
            )
        )

    def ready(self) -> bool:
        """API and Flower: they answer. A worker: it set its mark. Beat, which cannot tell: it still runs."""
        match self.process.kind:
            case Kind.API:
                return _answers(f"http://127.0.0.1:{self.port}/health/ready")
            case Kind.FLOWER:
                url = f"http://127.0.0.1:{self.port}/healthcheck"
                return _answers(url, basic_auth=self.env.get("FLOWER_BASIC_AUTH", ""))
            case Kind.WORKER:
                return self._ready_file.exists()
            case Kind.BEAT:
                return time.monotonic() - self._started_s > _BEAT_SETTLES_S


@dataclass
class SandboxPart:
    """The providers' stand-ins. It keeps its ports over restarts by itself."""

    directory: Path
    env: Mapping[str, str]
    name: str = "sandbox"
    stop_signal: signal.Signals = signal.SIGTERM

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; it writes its addresses when it is ready."""
        return spawn(
            Command(
                argv=[sys.executable, "-m", "messaging.local.sandbox", "--data-dir", str(self.directory)],
                cwd=self.directory,
                env=self.env,
                log=self.directory / "logs" / "sandbox.log",
                parent_death_signal=signal.SIGTERM,
            )
        )

    def ready(self) -> bool:
        """Whether its control address answers."""
        try:
            return _answers(self.addresses()["control"] + "/health")
        except (OSError, ValueError, KeyError):
            return False

    def addresses(self) -> dict[str, str]:
        """Address per protocol, `control` and `ca_file`, as the sandbox wrote them; OSError before it has."""
        written = json.loads((self.directory / "sandbox" / "addresses.json").read_text(encoding="utf-8"))
        return {str(name): str(address) for name, address in written.items()}
