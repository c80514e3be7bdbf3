"""`queries[]` of the SDKs: JSON texts such as `{"method":"equal","attribute":"status","values":["sent"]}`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from messaging.http.body import strict_loads
from messaging.http.errors import invalid_query
from messaging.ids import is_valid_id
from messaging.store.lists import DEFAULT_LIMIT, Filter, Wanted

MOST_QUERIES = 100
LONGEST_QUERY = 4096
MOST_VALUES = 500
LONGEST_SEARCH = 256
MOST_OFFSET = 2**31 - 1

_NAME = re.compile(r"queries(?:\[\d*\])?")
_DEEPEST = 5
_COMPARE = frozenset(
    {
        "equal",
        "notEqual",
        "lessThan",
        "lessThanEqual",
        "greaterThan",
        "greaterThanEqual",
        "startsWith",
        "notStartsWith",
        "endsWith",
        "notEndsWith",
        "contains",
        "notContains",
        "containsAny",
        "containsAll",
        "search",
        "notSearch",
    }
)
_RANGE = frozenset({"between", "notBetween"})
_EXIST = frozenset({"isNull", "isNotNull", "exists", "notExists"})
_NESTED = frozenset({"and", "or"})
_SINGLE = frozenset({"limit", "offset", "cursorAfter", "cursorBefore"})
_ORDER = frozenset({"orderAsc", "orderDesc", "orderRandom"})

SHAPE: dict[str, Any] = {
    "type": "object",
    "description": "One of `queries[]`.",
    "properties": {
        "method": {"type": "string", "enum": sorted(_COMPARE | _RANGE | _EXIST | _NESTED | _SINGLE | _ORDER)},
        "attribute": {"type": "string", "description": "What to look at; `limit`, `offset` and cursors have none."},
        "values": {
            "type": "array",
            "maxItems": MOST_VALUES,
            "description": "What to compare with; `and` and `or` have queries here.",
        },
    },
    "required": ["method"],
}
"""JSON schema of one query, for our document."""


def is_query_name(name: str) -> bool:
    """Whether a parameter of that name in a URL is one of `queries[]`."""
    return _NAME.fullmatch(name) is not None


def parse_queries(texts: Sequence[str], *, search: str | None = None, total: bool = True) -> Wanted:
    """What the queries ask for; raises `ApiError` (general_query_invalid)."""
    if len(texts) > MOST_QUERIES:
        raise invalid_query(f"there are at most {MOST_QUERIES} queries")
    filters: list[Filter] = []
    order: list[tuple[str, bool]] = []
    single: dict[str, Any] = {}
    shuffled = False
    for each in texts:
        query = _read(each)
        method = query["method"]
        if method in _SINGLE:
            single[method] = _one_value(query)
        elif method == "orderRandom":
            shuffled = True
        elif method in _ORDER:
            order.append((_attribute(query, optional=True), method == "orderDesc"))
        else:
            filters.append(_filter(query, 0))
    after, before = single.get("cursorAfter"), single.get("cursorBefore")
    if after is not None and before is not None:
        raise invalid_query("a list has one cursor, not two")
    return Wanted(
        filters=filters,
        order=order,
        shuffled=shuffled,
        limit=_count("limit", single.get("limit", DEFAULT_LIMIT), least=1, most=5000),
        offset=_count("offset", single.get("offset", 0), least=0, most=MOST_OFFSET),
        after=_cursor(after),
        before=_cursor(before),
        search=search,
        total=total,
    )


def _read(given: str) -> dict[str, Any]:
    if len(given) > LONGEST_QUERY:
        raise invalid_query(f"a query has at most {LONGEST_QUERY:,} characters")
    try:
        query = strict_loads(given)
    except (ValueError, RecursionError):
        raise invalid_query("it is not valid JSON") from None
    if not isinstance(query, dict):
        raise invalid_query("it is not a JSON object")
    return _checked(query)


def _checked(query: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(query, dict):
        raise invalid_query("a query is a JSON object")
    method = query.get("method")
    if not isinstance(method, str) or method not in _COMPARE | _RANGE | _EXIST | _NESTED | _SINGLE | _ORDER:
        raise invalid_query(f"method {str(method)[:64]!r} can't be used here")
    values = query.get("values", [])
    if not isinstance(values, list):
        raise invalid_query(f"the values of {method} are a list")
    if len(values) > MOST_VALUES:
        raise invalid_query(f"{method} takes at most {MOST_VALUES} values")
    return {"method": method, "attribute": query.get("attribute"), "values": values}


def _filter(query: dict[str, Any], depth: int) -> Filter:
    method, values = query["method"], query["values"]
    if method in _NESTED:
        if depth >= _DEEPEST:
            raise invalid_query("it is nested too deeply")
        inner = [_filter(_checked(each), depth + 1) for each in values]
        if not inner:
            raise invalid_query(f"{method} needs queries inside")
        return Filter(method=method, inner=inner)
    if method in _SINGLE | _ORDER:
        raise invalid_query(f"{method} can't stand inside another query")
    attribute = _attribute(query)
    if method in _EXIST:
        return Filter(method=method, attribute=attribute)
    if method in _RANGE and len(values) != 2:  # noqa: PLR2004
        raise invalid_query(f"{method} takes two values")
    if not values:
        raise invalid_query(f"{method} needs at least one value")
    if any("\0" in value or not _is_text(value) for value in values if isinstance(value, str)):
        raise invalid_query("a value holds a character that can't be stored")
    return Filter(method=method, attribute=attribute, values=values)


def _attribute(query: dict[str, Any], *, optional: bool = False) -> str:
    attribute = query["attribute"]
    if attribute in {None, ""} and optional:
        return ""
    if not isinstance(attribute, str) or not attribute:
        raise invalid_query(f"{query['method']} needs an attribute")
    return attribute[:256]


def _one_value(query: dict[str, Any]) -> Any:  # noqa: ANN401
    if len(query["values"]) != 1:
        raise invalid_query(f"{query['method']} takes one value")
    return query["values"][0]


def _count(method: str, value: Any, *, least: int, most: int) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid_query(f"{method} is a whole number from {least:,} to {most:,}")
    return value


def _cursor(value: Any) -> str | None:  # noqa: ANN401
    if value is None:
        return None
    if not isinstance(value, str) or not is_valid_id(value):
        raise invalid_query("a cursor is the id of an object")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
