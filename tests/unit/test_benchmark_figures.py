"""A benchmark's figures are printed, and kept with the kind of machine they were measured on."""

from __future__ import annotations

import json
import platform
import socket
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import Figure, median, number, publish


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results are kept, empty."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_a_result_has_its_figures_and_series(results: Path) -> None:
    """What was measured can be read again, whole."""
    publish("road", [Figure("push", 10_400.0, "deliveries/s", goal="10,000", met=True)], by=[(1, 2.5)])
    kept = json.loads((results / "road.json").read_text())
    assert kept["benchmark"] == "road"
    assert kept["figures"] == [
        {
            "what": "push",
            "value": 10_400.0,
            "unit": "deliveries/s",
            "goal": "10,000",
            "met": True,
            "beside": "",
            "ratio": None,
        }
    ]
    assert kept["series"] == {"by": [[1, 2.5]]}


def test_a_result_says_what_it_was_measured_with(results: Path) -> None:
    """The machine's kind and the versions of what took part stand in it."""
    publish("road", [])
    kept = json.loads((results / "road.json").read_text())
    assert kept["versions"]["Python"] == platform.python_version()
    assert kept["versions"]["PostgreSQL"].startswith("18.")
    assert {"Valkey", "celery", "h2"} <= set(kept["versions"])
    assert kept["machine"]["cores"] >= 1
    assert kept["machine"]["cpu"]


def test_a_result_does_not_say_whose_machine_it_was(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No host name, no path; of a host whose name is no part of another word."""
    host = "whose-machine-it-was"
    told = platform.uname()
    renamed = platform.uname_result(told.system, host, told.release, f"#1 SMP of {host}", told.machine)
    monkeypatch.setattr(platform, "uname", lambda: renamed)
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    publish("road", [Figure("push", 1.0, "ms")])
    text = (results / "road.json").read_text()
    assert platform.node() == host
    assert host not in text
    assert str(Path.cwd()) not in text


def test_a_later_result_replaces_the_earlier_one(results: Path) -> None:
    """A benchmark has one result."""
    publish("road", [Figure("push", 1.0, "ms")])
    publish("road", [Figure("push", 2.0, "ms")])
    assert [each["value"] for each in json.loads((results / "road.json").read_text())["figures"]] == [2.0]


@pytest.mark.usefixtures("results")
def test_the_table_names_goals_that_were_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader of the terminal sees what was met, what not, and the yardstick."""
    publish(
        "road",
        [
            Figure("push", 9_000.0, "deliveries/s", goal="10,000", met=False, beside="the bare client", ratio=0.5),
            Figure("memory", 120.0, "MB", goal="150", met=True),
            Figure("yardstick", 3.25, "ms"),
        ],
    )
    missed, met, plain = capsys.readouterr().out.splitlines()
    assert "9,000 deliveries/s" in missed
    assert "NOT MET" in missed
    assert missed.endswith("the bare client: 0.50 times")
    assert met.split() == ["memory", "120", "MB", "goal", "150", "met"]
    assert plain.split() == ["yardstick", "3.25", "ms"]


def test_the_median_is_that_of_as_many_runs_as_asked_for() -> None:
    """The middle one, and no measurement more."""
    values = iter([5.0, 1.0, 9.0])
    assert median(lambda: next(values), runs=3) == 5.0
    assert next(values, None) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(10_432.7, "10,433"), (45.26, "45.3"), (3.256, "3.26"), (0.0617, "0.062"), (2.0, "2"), (0.0, "0")],
)
def test_numbers_show_what_they_can_carry(value: float, said: str) -> None:
    """Three digits, or all whole ones."""
    assert number(value) == said
