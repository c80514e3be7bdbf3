"""`messaging doctor` of a stack in which all is well."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.acceptance.stack import Stack, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # where one test runs at a time: it listens for heartbeats
WORKING = ("database", "schema", "secret key", "broker", "workers", "beat and sweep", "processes", "API", "Flower")


def test_a_stack_that_runs_is_well(stack: Stack) -> None:
    """Every server, process and worker; what other tests left undone in it apart."""

    def seen() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "messaging.cli.main", "doctor", "--data-dir", str(stack.directory), "--json"],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return {each["check"]: each["state"] for each in json.loads(done.stdout)["checks"]}

    def is_well() -> bool:
        found = seen()
        return {found[name] for name in WORKING} == {"ok"}

    # heartbeats come every two seconds, on a busy machine later
    until(is_well, lambda: f"{seen()}", within_s=180)
