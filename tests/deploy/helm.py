"""The chart as Helm itself renders it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

import yaml

from tests.conftest import ROOT

NEEDED: Mapping[str, Any] = {"existingSecret": "heliograph"}
"""What has no default."""
EVERYTHING: Mapping[str, Any] = {
    "existingSecret": "heliograph",
    "imagePullSecrets": [{"name": "registry"}],
    "sentinel": {"master": "heliograph"},
    "rabbitmq": {"quorumQueues": True},
    "settings": {"MESSAGING_PUBLIC_URL": "https://push.example.org", "MESSAGING_RETENTION_DAYS": 30},
    "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/heliograph", "readOnly": True}],
    "keda": {"enabled": True},
    "api": {
        "forwardedAllowIps": "10.0.0.0/8",
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "25m"},
            "tlsSecret": "tls",
        },
    },
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True,
        "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "flowerFrom": [{"podSelector": {"matchLabels": {"role": "operator"}}}],
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    },
    "serviceAccount": {"annotations": {"example.org/role": "none"}},
    "podAnnotations": {"example.org/note": "yes"},
    "podLabels": {"team": "messages"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
"""Every part of the chart turned on."""


class RefusedError(Exception):
    """Helm does not render these values, and says why."""


class Helm:
    """Helm's engine, from the first question until `close`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.helm_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def render(self, values: Mapping[str, Any] = NEEDED) -> list[dict[str, Any]]:
        """The objects the chart makes with these values over its own. Raises `RefusedError`."""
        rendered: dict[str, str] = self._ask("render", values)
        return [
            document
            for template, text in sorted(rendered.items())
            if template.endswith(".yaml")
            for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
            if document
        ]

    def lint(self, values: Mapping[str, Any] = NEEDED) -> dict[str, Any]:
        """What `helm lint --strict` says."""
        found: dict[str, Any] = self._ask("lint", values)
        return found

    def _ask(self, do: str, values: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, "values": values}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["done"]

    def close(self) -> None:
        """Let the process go."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
