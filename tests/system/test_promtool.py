"""The alerts as Prometheus itself reads them, by Debian's promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.http.api import running_api
from tests.system.programs import program
from tests.unit.test_metrics_table import DASHBOARD, expressions

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


def promtool(*arguments: str, given: str | None = None) -> str:
    """What promtool says; the test fails where it is not content."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=FOLDER,
        input=given,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_the_rules_are_valid() -> None:
    """Syntax, expressions and templates."""
    assert "SUCCESS" in promtool("check", "rules", "alerts.yaml")


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """By series made up for it."""
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


def test_every_alert_has_a_test() -> None:
    """One that never fires is worse than none."""
    rules, tests = ((FOLDER / name).read_text(encoding="utf-8") for name in ("alerts.yaml", "alerts_test.yaml"))
    named = [line.partition("alert: ")[2].strip() for line in rules.splitlines() if "- alert: " in line]
    assert named
    assert [name for name in named if f'"{name}"' not in tests and f"alertname: {name}" not in tests] == []


@pytest.mark.timeout(300)
def test_prometheus_has_nothing_to_say_against_what_the_api_exports(postgres_url: str, valkey_url: str) -> None:
    """Names, types, help and labels, as `promtool check metrics` judges them."""
    with running_api(postgres_url, valkey_url) as api:
        api.ok("GET", "/messaging/messages")
        text = httpx.get(api.url.removesuffix("/v1") + "/metrics", trust_env=False).raise_for_status().text
    promtool("check", "metrics", given=text)


def test_the_dashboards_queries_are_valid(tmp_path: Path) -> None:
    """Each as a rule of its own, with Grafana's variables filled in."""
    queries = sorted(set(expressions(json.loads(DASHBOARD.read_text(encoding="utf-8")))))
    filled = [query.replace("$__rate_interval", "5m").replace("$channel", ".*") for query in queries]
    assert not [query for query in filled if "$" in query]
    rules = [{"record": f"dashboard:query:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "dashboard.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(path))
