"""What is exported has one table, and whatever names a metric names one of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from docs.generate import metrics as reference
from messaging import metrics
from messaging.http.metrics import Requests
from messaging.metrics import METRICS, Kind, Metric, samples_of
from workers.metrics import Road

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "heliograph.json"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
_NAME = re.compile(r"\bheliograph_[a-z_]+\b")
_EXPORTED = {sample for each in METRICS for sample in samples_of(each)}
_NEVER_LABELS = {"address", "identifier", "email", "phone", "token", "message", "message_id", "target", "user", "batch"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_asks(metric: Metric) -> None:
    """Ours by its prefix, its unit a base unit, a counter by its end (https://prometheus.io/docs/practices/naming/)."""
    assert re.fullmatch(r"heliograph_[a-z]+(_[a-z]+)*", metric.name)
    assert not re.search(r"_(ms|milliseconds|minutes|percent|count|sum|bucket)$", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.says.endswith((".", "…"))
    assert not _NEVER_LABELS & set(metric.labels)


def test_each_metric_is_made_by_someone_and_only_once() -> None:
    """A name in the table that nothing exports would be a promise nobody keeps."""
    registry = CollectorRegistry()
    Road(registry)
    Requests(registry)
    made = {f"{each.name}_total" if each.type == "counter" else each.name for each in registry.collect()}
    read_when_asked = {each.name for each in METRICS if each.kind is Kind.GAUGE and each is not metrics.IN_HAND}
    assert made | read_when_asked == {each.name for each in METRICS}
    assert not made & read_when_asked
    assert len({each.name for each in METRICS}) == len(METRICS)


def test_every_label_is_explained() -> None:
    """In the reference; and nothing is explained that no metric has."""
    assert set(reference._LABELS) == {label for each in METRICS for label in each.labels}


def test_the_dashboard_shows_what_is_exported() -> None:
    """And something of each part: the road, the API, how things stand."""
    shown = set(_NAME.findall(" ".join(expressions(json.loads(DASHBOARD.read_text(encoding="utf-8"))))))
    assert shown
    assert shown - _EXPORTED == set()


def test_the_alerts_ask_for_what_is_exported() -> None:
    """By names and by labels that exist."""
    rules = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    assert rules
    labels = {label for each in METRICS for label in each.labels} | {"le", "job", "instance"}
    for rule in rules:
        assert set(_NAME.findall(rule["expr"])) - _EXPORTED == set(), rule["alert"]
        for chosen in re.findall(r"\{([^}]*)\}|\bby \(([^)]*)\)", rule["expr"]):
            assert set(re.findall(r"\b([a-z_]+)\b(?=\s*(?:[=!]~?|,|$))", ",".join(filter(None, chosen)))) <= labels


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    """To somebody who was just woken."""
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"]["summary"]
            assert len(rule["annotations"]["description"]) > len(rule["annotations"]["summary"])


def expressions(value: Any) -> Iterator[str]:
    """Every query in a dashboard."""
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)
