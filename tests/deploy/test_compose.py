"""The Compose files: by the Compose schema, and what they promise about stopping, starting and being replaced."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from messaging.settings import Settings
from tests.deploy import compose
from tests.deploy.files import DEPLOY, pools
from tests.deploy.files import compose as compose_commands

STACKS = [(), *((overlay,) for overlay in compose.OVERLAYS)]


def ours(stack: dict[str, Any]) -> dict[str, Any]:
    """The services of our image that run."""
    return {name: each for name, each in stack["services"].items() if each.get("image") == "heliograph"}


@pytest.fixture(params=STACKS, ids=["valkey", "rabbitmq", "sentinel"])
def stack(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The stack of one broker."""
    return compose.load(*request.param)


def test_files_and_stacks_follow_the_compose_schema(tmp_path: Path) -> None:
    """Each file by itself, and what becomes of them together."""
    paths = [DEPLOY / name for name in (compose.BASE, *compose.OVERLAYS)]
    for overlays in STACKS:
        paths.append(tmp_path / f"{'-'.join(overlays) or 'base'}.json")
        paths[-1].write_text(json.dumps(compose.load(*overlays)))
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_whatever_a_service_needs_is_there_and_says_when_it_is_ready(stack: dict[str, Any]) -> None:
    """Nobody waits for a service that does not exist, or for the health of one without a check."""
    for name, service in stack["services"].items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in stack["services"], f"{name} needs {needed}"
            if how["condition"] == "service_healthy":
                assert "test" in stack["services"][needed]["healthcheck"], f"{name} waits for {needed}"


def test_volumes_are_declared(stack: dict[str, Any]) -> None:
    """One that is not is refused by `docker compose`."""
    used = chain.from_iterable(service.get("volumes", ()) for service in stack["services"].values())
    assert {each.partition(":")[0] for each in used} == set(stack["volumes"])


def test_its_environment_is_one_we_start_with(stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process finds its settings, none of them unknown, and a place where pacing counts."""
    for name, service in ours(stack).items():
        settings = _settings(service["environment"], monkeypatch)
        assert settings.pacing_url is not None, name


def test_processes_start_when_the_tables_are_there(stack: dict[str, Any]) -> None:
    """The migrations have run, and servers answer."""
    for name, service in ours(stack).items():
        if name != "migrate":
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name


def test_overlays_change_every_process_of_ours() -> None:
    """One that was forgotten would speak to another broker than the others."""
    for overlay in compose.OVERLAYS:
        stack = compose.load(overlay)
        brokers = {name: each["environment"]["MESSAGING_BROKER_URL"] for name, each in ours(stack).items()}
        del brokers["migrate"]  # asks no broker
        assert len(set(brokers.values())) == 1, brokers
        assert set(brokers.values()) != {"redis://valkey:6379/0"}


def test_a_worker_may_finish_what_is_in_flight(stack: dict[str, Any]) -> None:
    """It ends by itself within MESSAGING_WATCHDOG_S; whoever kills it before that makes duplicates."""
    longest_s = Settings.model_fields["watchdog_s"].default
    for name in pools(compose_commands()):
        assert _seconds(stack["services"][name]["stop_grace_period"]) > longest_s, name


def test_processes_may_do_little(stack: dict[str, Any]) -> None:
    """No root, no capabilities, and a file system they can't write to but for two places."""
    for name, service in ours(stack).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp", "/run/heliograph"], name  # noqa: S108  in a container of its own


def test_nothing_is_open_to_the_network(stack: dict[str, Any]) -> None:
    """What is published is published on this machine; a proxy with TLS is somebody's own."""
    published = list(chain.from_iterable(each.get("ports", ()) for each in stack["services"].values()))
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_secret_that_is_not_set_is_named(stack: dict[str, Any]) -> None:
    """No default password, nowhere."""
    assert stack
    for name in compose.SECRETS:
        env = {each: value for each, value in compose.SECRETS.items() if each != name}
        with pytest.raises(compose.MissingVariableError, match=name):
            compose.load(*compose.OVERLAYS, env=env)


def test_the_example_of_an_environment_has_every_secret_and_none_filled_in() -> None:
    """Who copies it has to fill it in."""
    lines = (DEPLOY / "example.env").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert said == dict.fromkeys(compose.SECRETS, "")


def test_every_process_says_how_it_is(stack: dict[str, Any]) -> None:
    """By its own role, and without asking over the broker."""
    for name, service in ours(stack).items():
        if name == "migrate":
            continue
        _, program, command, flag, role = service["healthcheck"]["test"][:5]
        assert (program, command, flag) == ("messaging", "health", "--role")
        assert role == ("worker" if name in pools(compose_commands()) else name), name


def test_a_broker_is_never_one_that_forgets(stack: dict[str, Any]) -> None:
    """Valkey keeps its file and evicts nothing, in every variant."""
    for name, service in stack["services"].items():
        if "valkey-server" in service.get("command", ""):
            assert "--appendonly yes" in service["command"], name
            assert "--maxmemory-policy noeviction" in service["command"], name


def test_yaml_is_read_alike_by_everybody() -> None:
    """No key twice, no value that one parser takes for a truth value and the other for a word."""
    rules = Path(__file__).with_name("yamllint.yaml")
    paths = sorted(path for path in DEPLOY.rglob("*.yaml") if "templates" not in path.parts)
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-c", str(rules), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _settings(environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    with monkeypatch.context() as patched:
        for name, value in environment.items():
            if name.startswith("MESSAGING_"):
                patched.setenv(name, str(value))
        return Settings.load()


def _seconds(period: str) -> int:
    found = re.fullmatch(r"(\d+)s", period)
    assert found is not None, period
    return int(found[1])
