"""`python -m benchmarks.report`: the results as the table of `benchmarks/README.md` and the pictures beside it.

And what they mean for larger installations, in `docs/explanation/scale.md`. What stands between the markers of a page
is written anew; everything else there is somebody's own words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.costs import measured
from benchmarks.figures import RESULTS, Figure, beside, number
from benchmarks.simulate import DAYS_SHOWN, Demand, a_day, day_in_words, plan, table

README = Path(__file__).with_name("README.md")
CHARTS = Path(__file__).with_name("charts")
SCALE = Path(__file__).parent.parent / "docs" / "explanation" / "scale.md"
FIGURES, PLAN, DAYS = "figures", "plan", "days"
# the order in which a reader wants them; any other follows by name
ORDER = ("end_to_end", "campaigns", "scaling", "peers", "latency", "http_create", "providers", "ledger")
_KNOWN = frozenset(Figure.__dataclass_fields__)

Result = Mapping[str, Any]


def read(results: Path = RESULTS) -> list[Result]:
    """Every result that is there, in the order of the table."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    place = {name: at for at, name in enumerate(ORDER)}
    return sorted(found, key=lambda result: (place.get(result["benchmark"], len(place)), result["benchmark"]))


def figures(result: Result) -> list[Figure]:
    """Its figures; a field that a later version added is left out."""
    return [Figure(**{key: value for key, value in each.items() if key in _KNOWN}) for each in result["figures"]]


def markdown(results: Sequence[Result], drawn: Sequence[str] = ()) -> str:
    """Goals first, then the pictures, then all other figures, then what it was measured with."""
    goals = [(result, figure) for result in results for figure in figures(result) if figure.goal]
    others = [(result, figure) for result in results for figure in figures(result) if not figure.goal]
    if not results:
        return "Nothing has been measured yet: run `make bench`."
    met = sum(bool(figure.met) for _, figure in goals)
    parts = [f"{met} of {len(goals)} goals met.", _table(goals, ("what", "measured", "goal", "met", "beside", "by"))]
    parts += [f"![{_alt(name)}](charts/{name})" for name in drawn]
    if others:
        parts.append("Figures without a goal, for what they explain:")
        parts.append(_table(others, ("what", "measured", "beside", "by")))
    parts.append(_measured_on(results))
    return "\n\n".join(parts)


def insert(text: str, part: str, between: str) -> str:
    """`text` with what stands between the markers of `part` replaced; raises ValueError where a marker is missing."""
    begin, end = f"<!-- {part}: written by `python -m benchmarks.report` -->", f"<!-- end of {part} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"The page must hold `{begin}` and `{end}` once each.")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n\n{between}\n\n{end}{rest.partition(end)[2]}"


def write(results: Path = RESULTS, readme: Path = README, drawings: Path = CHARTS) -> list[str]:
    """Write the table and the pictures; the names of the pictures."""
    found = read(results)
    drawn: dict[str, str] = {}
    for result in found:
        drawn |= charts.pictures(result["series"])
    if drawn:
        drawings.mkdir(exist_ok=True)
    for name, picture in drawn.items():
        (drawings / name).write_text(picture, encoding="utf-8")
    text = insert(readme.read_text(encoding="utf-8"), FIGURES, markdown(found, list(drawn)))
    readme.write_text(text, encoding="utf-8")
    return list(drawn)


def write_scale(results: Path = RESULTS, page: Path = SCALE) -> None:
    """Write what the simulation makes of the results into the page about scale."""
    costs = measured(results)
    plans = [(demand, plan(demand, costs)) for demand in map(Demand.of_a_day, DAYS_SHOWN)]
    days = [
        f"**{demand.per_day:,} deliveries**\n\n{day_in_words(a_day(demand, costs, made, seed=1))}"
        for demand, made in plans
    ]
    text = insert(page.read_text(encoding="utf-8"), PLAN, table(plans))
    page.write_text(insert(text, DAYS, "\n\n".join(days)), encoding="utf-8")


def _table(rows: Sequence[tuple[Result, Figure]], columns: Sequence[str]) -> str:
    said = {True: "yes", False: "**no**", None: ""}
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for result, figure in rows:
        cells = {
            "what": figure.what,
            "measured": f"{number(figure.value)} {figure.unit}",
            "goal": figure.goal,
            "met": said[figure.met],
            "beside": beside(figure),
            "by": f"`{result['benchmark']}`",
        }
        lines.append("| " + " | ".join(cells[column].replace("|", "\\|") for column in columns) + " |")
    return "\n".join(lines)


def _measured_on(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        machine, versions = result["machine"], result["versions"]
        with_what = ", ".join(f"{name} {version}" for name, version in versions.items())
        kind = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}"
        lines.append((f"{kind}; {with_what}", result["benchmark"], result["date"]))
    by_kind: dict[str, list[str]] = {}
    for kind, benchmark, date in lines:
        by_kind.setdefault(kind, []).append(f"`{benchmark}` on {date}")
    return "\n".join(f"- {', '.join(which)}: {kind}." for kind, which in by_kind.items())


def _alt(name: str) -> str:
    return {
        "throughput.svg": "Deliveries a second by recipients",
        "latency.svg": "Latency distribution, idle and during a campaign",
        "peers.svg": "Requests a second of HTTP/2 clients",
    }.get(name, name)


if __name__ == "__main__":
    for _name in write():
        print(f"benchmarks/charts/{_name}")
    write_scale()
    print("benchmarks/README.md, docs/explanation/scale.md")
