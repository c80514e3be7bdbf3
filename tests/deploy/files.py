"""What each kind of deployment starts, read from its own files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from messaging.local.processes import PROCESSES
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "heliograph"
SYSTEMD = DEPLOY / "systemd"
_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


@dataclass(frozen=True)
class Pool:
    """One pool of workers as its command starts it."""

    queues: tuple[str, ...]
    threads: bool
    concurrency: int

    @classmethod
    def of(cls, command: Sequence[str]) -> Pool:
        """From a command of `celery worker`, or from its options."""
        options = {name: value for name, value in pairwise(command) if name.startswith("-")}
        return cls(tuple(options["-Q"].split(",")), options.get("-P") == "threads", int(options["-c"]))


def words(command: str | Sequence[str]) -> list[str]:
    """A command as its words, each variable by its default, without `nice`."""
    found = shlex.split(_VARIABLE.sub(r"\1", command)) if isinstance(command, str) else list(command)
    return found[3:] if found[0] == "nice" else found


def pools(commands: Mapping[str, Sequence[str]]) -> dict[str, Pool]:
    """The pools among commands by name."""
    return {name: Pool.of(command) for name, command in commands.items() if "worker" in command}


def procfile() -> dict[str, list[str]]:
    """Its commands by name."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: words(command) for name, _, command in (line.partition(": ") for line in lines if line)}


def local() -> dict[str, list[str]]:
    """The commands of `messaging up`."""
    return {process.name: words(process.command) for process in PROCESSES}


def read_yaml(path: Path) -> Any:
    """One document."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def compose() -> dict[str, list[str]]:
    """The commands of Compose's services that are ours."""
    services = read_yaml(DEPLOY / "compose.yaml")["services"]
    return {name: words(service["command"]) for name, service in services.items() if service["image"] == "heliograph"}


def systemd() -> dict[str, list[str]]:
    """The commands of the units, the worker's once for each pool's file of options."""
    found = {}
    for unit in sorted(SYSTEMD.glob("heliograph-*.service")):
        started = re.findall(r"^ExecStart=/opt/heliograph/bin/(.*)$", unit.read_text(), re.MULTILINE)
        assert len(started) == 1, unit
        name = unit.stem.removeprefix("heliograph-")
        if name != "worker@":
            found[name] = words(started[0])
            continue
        for options in sorted((SYSTEMD / "pools").glob("*.env")):
            variable, _, value = options.read_text().strip().partition("=")
            assert f"${variable}" in started[0], options
            found[options.stem] = words(started[0].replace(f"${variable}", value).replace("%i", options.stem))
    return found


def deployments_of(manifests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The Deployments a chart makes, by the role of their pods."""
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: dict(each)
        for each in manifests
        if each["kind"] == "Deployment"
    }


def container(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The one container of its pods."""
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)
