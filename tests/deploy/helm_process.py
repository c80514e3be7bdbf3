"""Helm's own engine in a process of its own: `python -m tests.deploy.helm_process`, a line of JSON in, a line out.

It is written in Go, and a Go runtime has threads and signal handlers that a process of tests should not have.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python
from helm_python import chart as charts

from tests.deploy.files import CHART


def main() -> None:
    """Answer until the input ends."""
    with helm_python.Chart.load(CHART) as chart:
        for line in sys.stdin:
            print(json.dumps(_answer(chart, **json.loads(line))), flush=True)  # noqa: T201  its caller reads it


def _answer(chart: Any, *, do: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        if do == "lint":
            return {"done": charts.lint(CHART, values, strict=True)}
        chart.validate_schema(chart.merge_values(values))
        return {"done": chart.render(values, name="demo", namespace="prod")}
    except helm_python.HelmError as error:
        return {"refused": str(error)}


if __name__ == "__main__":
    main()
