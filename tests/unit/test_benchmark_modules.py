"""Every benchmark can be started, and `make bench` knows of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.figures import RESULTS
from benchmarks.peers.server import TOKEN_PREFIX

BENCHMARKS = Path(RESULTS).parent
ROOT = BENCHMARKS.parent


def _modules() -> list[str]:
    files = [*BENCHMARKS.glob("*.py"), *BENCHMARKS.glob("peers/*.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return sorted(name for name in names if not name.endswith(("__init__", "benchmarks.__main__")))


def test_every_module_can_be_imported() -> None:
    """In a fresh process, without a server, a broker, or what only `make bench` installs."""
    said = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    nowhere = {
        "MESSAGING_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "MESSAGING_BROKER_URL": "redis://127.0.0.1:1/0",
        "MESSAGING_SECRET_KEY": "of a benchmark's import",
    }
    command = [sys.executable, "-c", said, *_modules()]
    subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, check=True, timeout=120)


def test_make_bench_runs_every_benchmark_that_publishes() -> None:
    """One that keeps results but is not run would have old ones for ever."""
    known = (BENCHMARKS / "__main__.py").read_text()
    for path in [*BENCHMARKS.glob("*.py"), BENCHMARKS / "peers" / "__main__.py"]:
        name = path.stem if path.stem != "__main__" else path.parent.name
        if name not in {"figures", "benchmarks"} and re.search(r"\bpublish\(\s*\n?\s*\"", path.read_text()):
            assert f'"{name}"' in known, f"benchmarks/__main__.py does not run {name}"


@pytest.mark.parametrize("name", re.findall(r'^    "(\w+)",$', (BENCHMARKS / "__main__.py").read_text(), re.MULTILINE))
def test_what_make_bench_runs_is_there(name: str) -> None:
    """A renamed benchmark is renamed there too."""
    assert find_spec(f"benchmarks.{name}") is not None


def test_a_peer_is_pinned_by_its_exact_version() -> None:
    """A ratio to a peer says which one."""
    package = (Path(str(peers.__file__)).with_name("package.json")).read_text()
    assert re.search(r'"@parse/node-apn": "\d+\.\d+\.\d+"', package)


def test_each_request_to_the_peers_server_has_a_token_of_its_own() -> None:
    """Behind the file's name, so that no header compression of one client is spared what the others pay."""
    from benchmarks.peers.clients import apns_requests, tokens  # noqa: PLC0415  after the import test

    paths = [path for path, _, _ in apns_requests(50)]
    assert all(path.startswith(f"/3/device/{TOKEN_PREFIX}") for path in paths)
    assert len(set(paths)) == len(set(tokens(50))) == 50


def test_a_goal_that_a_peer_makes_us_miss_is_said() -> None:
    """Ratios are taken round by round, and the middle one counts."""
    from benchmarks.peers import __main__ as peers_run  # noqa: PLC0415  after the import test
    from benchmarks.peers.measure import Measured  # noqa: PLC0415

    def took(node_per_s: float) -> dict[str, Measured]:
        names = {name for name, _ in peers_run.COMPARED.values()} | set(peers_run.COMPARED)
        return {name: Measured(9_000.0, 60.0, 4.0) for name in names} | {
            peers_run.NODE: Measured(node_per_s, 70.0, 4.0)
        }

    found = peers_run.figures([took(10_000.0), took(12_000.0), took(100.0)], 400.0)
    node = next(figure for figure in found if figure.what.endswith(peers_run.NODE) and figure.goal)
    assert node.value == pytest.approx(0.9)
    assert node.met is False
