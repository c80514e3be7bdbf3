"""What the API server of a Kubernetes version would say about an object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

OLDEST = "1.28"
"""What Chart.yaml asks for."""

# it reads a megabyte of definitions for each object
utils.schema_contents = lru_cache(maxsize=None)(utils.schema_contents)

_STRING = {"type": "string", "minLength": 1}
_NUMBER = {"type": "integer", "minimum": 0}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


_KEY = _object({"name": _STRING, "key": _STRING})
_SELECTOR = {"type": "object", "minProperties": 1}
_SCRAPED = _object(
    {"port": _STRING, "path": _STRING, "interval": _STRING, "authorization": _object({"credentials": _KEY})}
)
_CUSTOM: Mapping[str, Mapping[str, Any]] = {
    # https://keda.sh/docs/latest/reference/scaledobject-spec/ and /scalers/postgresql/
    "keda.sh/v1alpha1 ScaledObject": _object(
        {
            "scaleTargetRef": _object({"name": _STRING}),
            "minReplicaCount": _NUMBER,
            "maxReplicaCount": _NUMBER,
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": _object(
                    {
                        "type": {"const": "postgresql"},
                        # a scaler's metadata are texts, all of them
                        "metadata": _object(
                            {"query": _STRING, "targetQueryValue": {"type": "string", "pattern": r"^\d+$"}}
                        ),
                        "authenticationRef": _object({"name": _STRING}),
                    }
                ),
            },
        },
        {
            "pollingInterval": _NUMBER,
            # the HorizontalPodAutoscaler's own words, checked as one below
            "advanced": _object({"horizontalPodAutoscalerConfig": _object({"behavior": {"type": "object"}})}),
        },
    ),
    # https://keda.sh/docs/latest/concepts/authentication/
    "keda.sh/v1alpha1 TriggerAuthentication": _object(
        {
            "secretTargetRef": {
                "type": "array",
                "items": _object({"parameter": {"const": "connection"}, "name": _STRING, "key": _STRING}),
            }
        }
    ),
    # https://prometheus-operator.dev/docs/api-reference/api/
    "monitoring.coreos.com/v1 ServiceMonitor": _object(
        {"selector": _SELECTOR, "endpoints": {"type": "array", "minItems": 1, "items": _SCRAPED}}
    ),
    "monitoring.coreos.com/v1 PodMonitor": _object(
        {"selector": _SELECTOR, "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": _SCRAPED}}
    ),
}


def check(manifest: Mapping[str, Any], version: str) -> None:
    """Raise `jsonschema.ValidationError` where the object has a field, or a value, that this version does not take."""
    spec = _CUSTOM.get(f"{manifest['apiVersion']} {manifest['kind']}")
    if spec is None:
        kubernetes_validate.validate(dict(manifest), version, strict=True)
        return
    jsonschema.validate(manifest["spec"], spec)
    behaviour = manifest["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior")
    if behaviour is not None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "any"}
        scaler = {"scaleTargetRef": target, "maxReplicas": 1, "behavior": behaviour}
        check({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": scaler}, version)
