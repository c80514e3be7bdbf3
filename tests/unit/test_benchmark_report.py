"""The results of benchmarks become a table in their README and pictures that anybody can look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import charts, report, svg
from benchmarks.figures import Figure, publish

BEGIN, END = "<!-- figures: written by `python -m benchmarks.report` -->", "<!-- end of figures -->"
SERIES: dict[str, Any] = {
    "throughput_by_recipients": [[10_000, 8_000], [1_000_000, 10_200], [100_000, 9_900]],
    "idle_ms": [9.0, 11.0, 10.0, 14.0],
    "campaign_ms": [20.0, 240.0, 31.0],
    "rates_by_client": [["ours", 15_000], ["an <other> client", 700]],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of two benchmarks, and a README around the markers."""
    monkeypatch.setattr("benchmarks.figures.RESULTS", tmp_path / "results")
    publish(
        "end_to_end",
        [
            Figure("push", 10_200.0, "deliveries/s", goal="10,000", met=True, beside="the bare client", ratio=0.61),
            Figure("disk", 380.0, "bytes", goal="350", met=False),
        ],
        **SERIES,
    )
    publish("another", [Figure("a yardstick", 3.0, "ms")])
    (tmp_path / "README.md").write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    return tmp_path


def _write(folder: Path) -> list[str]:
    return report.write(folder / "results", folder / "README.md", folder / "charts")


def test_the_table_has_every_goal_with_its_yardstick(folder: Path) -> None:
    """Met or not, and beside what."""
    _write(folder)
    text = (folder / "README.md").read_text()
    row = "| push | 10,200 deliveries/s | 10,000 | yes | the bare client: 0.61 times | `end_to_end` |"
    assert row in text
    assert "| disk | 380 bytes | 350 | **no** |  | `end_to_end` |" in text
    assert "1 of 2 goals met." in text
    assert "| a yardstick | 3 ms |" in text


def test_what_people_wrote_stays_and_what_was_written_before_goes(folder: Path) -> None:
    """Only what stands between the markers is replaced, as often as one likes."""
    _write(folder)
    once = (folder / "README.md").read_text()
    _write(folder)
    assert (folder / "README.md").read_text() == once
    assert once.startswith("# Before\n")
    assert once.endswith("\n\nAfter\n")
    assert "old" not in once


def test_a_readme_without_the_markers_is_left_alone(folder: Path) -> None:
    """The report says what is missing."""
    (folder / "README.md").write_text("# Nothing\n")
    with pytest.raises(ValueError, match="must hold"):
        _write(folder)
    assert (folder / "README.md").read_text() == "# Nothing\n"


def test_the_same_results_draw_the_same_pictures(folder: Path) -> None:
    """A picture changes only when its data does."""
    names = _write(folder)
    assert names == ["throughput.svg", "latency.svg", "peers.svg"]
    before = [(folder / "charts" / name).read_bytes() for name in names]
    _write(folder)
    assert [(folder / "charts" / name).read_bytes() for name in names] == before
    assert (
        "![Latency distribution, idle and during a campaign](charts/latency.svg)" in (folder / "README.md").read_text()
    )


@pytest.mark.parametrize("name", ["throughput.svg", "latency.svg", "peers.svg"])
def test_a_picture_is_readable_in_light_and_dark_and_has_no_script(name: str) -> None:
    """Well-formed, with both palettes, labelled axes and nothing that runs or is fetched."""
    drawn = charts.pictures(SERIES)[name]
    root = ET.fromstring(drawn)  # noqa: S314  our own text
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "line", "polyline", "circle", "text"}
    assert "prefers-color-scheme: dark" in drawn
    assert "href" not in drawn
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"recipients", "milliseconds from the send", "requests a second"} & words


def test_a_picture_keeps_names_that_are_not_xml() -> None:
    """What has `<` in its name is still one name."""
    root = ET.fromstring(svg.bars("x", "y", [("an <other> client", 1.0)], ours="ours"))  # noqa: S314  our own text
    assert "an <other> client" in {element.text for element in root.iter()}


def test_everything_is_drawn_inside_the_picture() -> None:
    """Points lie between the axes, the largest ones too."""
    root = ET.fromstring(svg.lines("t", "x", "y", {"a": [(3.0, 1.0), (2_000_000.0, 12_345.0)]}))  # noqa: S314
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(float(part) for part in pair.split(",")) for pair in line.attrib["points"].split()]
    assert all(80 <= x <= svg.WIDTH and 60 <= y <= 341 for x, y in points)
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]


def test_a_distribution_rises_to_a_hundred_per_cent() -> None:
    """Each value with the share of the samples that are not larger."""
    assert charts.shares([4.0, 1.0, 2.0, 3.0]) == [(1.0, 25.0), (2.0, 50.0), (3.0, 75.0), (4.0, 100.0)]
    many = charts.shares([float(each) for each in range(1, 10_001)])
    assert many[-1] == (10_000.0, 100.0)
    assert len(many) < 300


def test_without_results_there_is_nothing_to_draw(tmp_path: Path) -> None:
    """A benchmark that has not run leaves no hole."""
    assert charts.pictures({}) == {}
    (tmp_path / "README.md").write_text(f"{BEGIN}{END}")
    assert report.write(tmp_path / "results", tmp_path / "README.md", tmp_path / "charts") == []
    assert "run `make bench`" in (tmp_path / "README.md").read_text()


def test_a_field_of_a_later_version_is_passed_over(folder: Path) -> None:
    """Results outlive the code that wrote them."""
    path = folder / "results" / "another.json"
    kept = json.loads(path.read_text())
    kept["figures"][0]["colour"] = "red"
    path.write_text(json.dumps(kept))
    _write(folder)
    assert "a yardstick" in (folder / "README.md").read_text()


def test_the_page_about_scale_follows_the_measured_costs(folder: Path) -> None:
    """A dearer delivery needs more workers there; the same results write the same page."""
    page = folder / "scale.md"
    page.write_text(report.SCALE.read_text())
    report.write_scale(folder / "results", page)
    before = page.read_text()
    report.write_scale(folder / "results", page)
    assert page.read_text() == before
    assert "| deliveries a day | 1,000,000 | 10,000,000 | 100,000,000 | 1,000,000,000 |" in before
    publish("end_to_end", [], cpu_us_by_process={"push": 1_000_000.0})
    report.write_scale(folder / "results", page)
    assert page.read_text() != before


def test_the_pages_of_the_project_can_be_written() -> None:
    """Their markers are there."""
    for page, parts in ((report.README, ["figures"]), (report.SCALE, ["plan", "days"])):
        for part in parts:
            report.insert(page.read_text(), part, "")
