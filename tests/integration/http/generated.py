"""Requests generated from an OpenAPI document, sent to a running API, and what the checks found in the answers."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import schemathesis
from schemathesis import Response
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from messaging.http.surface import OPERATIONS
from tests.integration.http.api import PATIENCE_S

SEED = 20261123
NO_HTTP = frozenset({b"Invalid HTTP request received.", b"The head of the request is too large."})
"""uvicorn's own answer to what it can't read as HTTP, a URL of more than 64 KiB for example; we never see those."""
_LONGEST_SAMPLE = 1500


def part_of(document: Mapping[str, Any], wanted: Callable[[str, Mapping[str, Any]], bool]) -> dict[str, Any]:
    """The document with those operations only (asked for by method and description), the longest paths first."""
    found = copy.deepcopy(dict(document))
    found["paths"] = {
        path: kept
        for path, methods in sorted(document["paths"].items(), key=lambda item: -item[0].count("/"))
        if (kept := {method: operation for method, operation in methods.items() if wanted(method, operation)})
    }
    return found


def found_in(
    document: Mapping[str, Any],
    *,
    url: str,
    headers: Mapping[str, str],
    checks: Mapping[str, Any],
    examples: int,
    parameters: Mapping[str, Any] | None = None,
    coverage: bool = True,
    stateful: bool = False,
    no_nul: bool = False,
    answered: dict[str, set[int]] | None = None,
) -> list[str]:
    """Each failed check once, with the request that shows it; the requests are the same in every run.

    `answered` gathers the statuses that each operation answered with.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": url,
            "headers": dict(headers),
            "continue-on-failure": True,
            "request-timeout": PATIENCE_S,
            "workers": 1,
            "cache": {"enabled": False},
            "suppress-health-check": ["too_slow"],  # says something of the machine only
            "parameters": dict(parameters or {}),
            "checks": {"enabled": False} | {name: {"enabled": True} | how for name, how in checks.items()},
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
                "allow-x00": not no_nul,
                "with-security-parameters": False,
            },
            "phases": {
                "examples": {"enabled": True, "operation-ordering": "none"},
                "coverage": {"enabled": coverage, "operation-ordering": "none"},
                "fuzzing": {"enabled": True, "operation-ordering": "none"},
                "stateful": {"enabled": stateful},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(dict(document), config=config)
    found: dict[tuple[str, str, str], str] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            said = str(getattr(event, "info", None) or event.exception)  # type: ignore[union-attr]
            found["error", said, ""] = said
        elif isinstance(event, events.ScenarioFinished):
            if answered is not None:
                _note(event.recorder, answered)
            for case_id, nodes in event.recorder.checks.items():
                response = event.recorder.find_response(case_id=case_id)
                if response is not None and response.content in NO_HTTP:
                    continue
                for node in nodes:
                    if node.name == "unsupported_method" and response is not None and _is_declared(response):
                        continue
                    if node.status is Status.FAILURE and node.failure_info is not None:
                        failure = node.failure_info.failure
                        label = event.recorder.cases[case_id].value.operation.label
                        sample = node.failure_info.code_sample[:_LONGEST_SAMPLE]
                        key = (node.name, label, failure.message[:160])
                        found.setdefault(key, f"{node.name}: {label}: {failure.message}\n{sample}")
    return list(found.values())


def _note(recorder: ScenarioRecorder, answered: dict[str, set[int]]) -> None:
    for case_id, node in recorder.cases.items():
        response = recorder.find_response(case_id=case_id)
        if response is not None:
            answered.setdefault(node.value.operation.label, set()).add(response.status_code)


def _is_declared(response: Response) -> bool:
    """Whether that was another operation after all: GET /account/sessions/email is that of a session named `email`."""
    path = urlsplit(str(response.request.url)).path.removeprefix("/v1")
    return any(
        operation.method == response.request.method
        and re.fullmatch(re.sub(r"{\w+}", "[^/]+", operation.path), path) is not None
        for operation in OPERATIONS
    )


def without_project(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the project as no means of access: an unknown one is not found, not refused."""
    found = copy.deepcopy(dict(document))
    for methods in found["paths"].values():
        for operation in methods.values():
            ways = [
                {name: scopes for name, scopes in way.items() if name != "Project"} for way in operation["security"]
            ]
            operation["security"] = [way for way in ways if way]
    return found


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with answers that have no field but those described."""
    found = copy.deepcopy(dict(document))
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found
