"""Compose files read as `docker compose -f … -f … config` reads them: variables, then one file over the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.deploy.files import DEPLOY, read_yaml

BASE = "compose.yaml"
OVERLAYS = ("compose.rabbitmq.yaml", "compose.sentinel.yaml")
SECRETS: Mapping[str, str] = {
    "POSTGRES_PASSWORD": "password",
    "RABBITMQ_PASSWORD": "password",
    "MESSAGING_SECRET_KEY": "k" * 32,
    "FLOWER_PASSWORD": "password",
    "FLOWER_COOKIE_SECRET": "c" * 32,
}
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}")
_WHOLE = {"command", "entrypoint", "test"}
"""Lists that an overlay replaces (https://docs.docker.com/reference/compose-file/merge/); others it adds to."""


class MissingVariableError(Exception):
    """A variable that must be set is not; `docker compose` says so and stops."""


def load(*overlays: str, env: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """The stack of `compose.yaml` with these files over it."""
    found = read_yaml(DEPLOY / BASE)
    for overlay in overlays:
        found = _merged(found, read_yaml(DEPLOY / overlay))
    known: dict[str, Any] = _interpolated({name: part for name, part in found.items() if name[:2] != "x-"}, env)
    return known


def _merged(below: Any, above: Any, name: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below[key], part, key) if key in below else part for key, part in above.items()}
    if isinstance(below, list) and isinstance(above, list) and name not in _WHOLE:
        return [*below, *(each for each in above if each not in below)]
    return above


def _interpolated(part: Any, env: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _interpolated(each, env) for key, each in part.items()}
    if isinstance(part, list):
        return [_interpolated(each, env) for each in part]
    return _VARIABLE.sub(lambda found: _value(found, env), part) if isinstance(part, str) else part


def _value(found: re.Match[str], env: Mapping[str, str]) -> str:
    name, otherwise, said = found.groups()
    if name is None:
        return "$"
    if env.get(name):
        return env[name]
    if otherwise != "-":
        raise MissingVariableError(f"{name}: {said}")
    return str(said)
