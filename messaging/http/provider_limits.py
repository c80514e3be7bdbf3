"""The parameter `limits` of a provider, and what an answer says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.catalog import ProviderKind
from messaging.http import parameters as p
from messaging.http.operations import Call
from messaging.http.parameters import Parameter, Refused
from messaging.limits import FASTEST, Limits

_NAMES: Mapping[str, str] = {
    "perSecond": "per_second",
    "perMinute": "per_minute",
    "concurrency": "concurrency",
    "warmUp": "warm_up",
}
_WHOLE = {name: p.integer(name, least=1, most=FASTEST) for name in ("perMinute", "concurrency")}
_WARM_UP = p.boolean("warmUp")


def _checked(value: Any) -> dict[str, Any]:  # noqa: ANN401  from a wire
    """The limits that are set, by our names."""
    if not isinstance(value, dict) or value.keys() - _NAMES.keys():
        raise Refused(f"Value must be a valid object with no other fields than {', '.join(_NAMES)}")
    found = {}
    for name, given in value.items():
        if given is None:
            continue
        try:
            found[_NAMES[name]] = _one(name, given)
        except Refused as refused:
            raise Refused(f"{name}: {refused}") from None
    return found


def _one(name: str, value: Any) -> Any:  # noqa: ANN401
    if name == "perSecond":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= FASTEST:
            raise Refused(f"Value must be a number above 0, and {FASTEST:,} at most")
        return value
    return (_WARM_UP if name == "warmUp" else _WHOLE[name]).check(value)


LIMITS = Parameter(
    name="limits",
    check=_checked,
    schema={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "perSecond": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": FASTEST},
            **{name: one.described() for name, one in _WHOLE.items()},
            "warmUp": {"type": ["boolean", "null"]},
        },
    },
    help="How fast it may send, over all workers; replaces all limits it had. What is left out is its kind's own.",
)


def limits_of(call: Call, kind: ProviderKind) -> Limits | None:
    """The limits a caller gave; raises `InvalidArgumentError` where `kind` has none such."""
    return Limits(**call["limits"]).of_channel(kind.channel) if call["limits"] is not None else None


def rendered_limits(limits: Limits) -> dict[str, Any]:
    """Limits as they are read and written over HTTP."""
    return {name: getattr(limits, ours) for name, ours in _NAMES.items()}
