"""A page of a list: filters, order, cursor and total, put together from attributes that are declared once.

Names never come from a caller: an attribute is looked up in the list's own table, and values are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from messaging.errors import MessagingError

MOST_COUNTED = 5000
"""A total is counted up to here (as Appwrite does), so that a long list costs no more than a short one."""
DEFAULT_LIMIT = 25


class Kind(StrEnum):
    """What an attribute holds."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    BOOLEAN = "boolean"
    WORDS = "words"
    """A list of texts."""


_CAST = {
    Kind.TEXT: "text",
    Kind.NUMBER: "float8",
    Kind.TIME: "timestamptz",
    Kind.BOOLEAN: "boolean",
    Kind.WORDS: "text",
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a list: our SQL for it, and what it holds."""

    sql: str
    kind: Kind = Kind.TEXT


def common_attributes(alias: str = "") -> dict[str, Attribute]:
    """What every list can be asked by: id, times and order of creation; `alias` is its table's in SQL, with the dot."""
    return {
        "$id": Attribute(f"{alias}public_id"),
        "$createdAt": Attribute(f"{alias}created_at", Kind.TIME),
        "$updatedAt": Attribute(f"{alias}updated_at", Kind.TIME),
        "$sequence": Attribute(f"{alias}id", Kind.NUMBER),
    }


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """A list that can be asked for: where its rows come from and by what they are found."""

    what: str
    """One of them, in words: `Message`."""
    columns: str
    source: str
    """FROM clause; `where` limits it to what the caller may see."""
    where: str
    number: str
    """SQL of the unique number that gives the rows their own order."""
    public_id: str
    attributes: Mapping[str, Attribute]
    search: str | None = None
    """SQL of the text a search looks in."""
    cursor: Callable[[str], Any] = str
    """What `public_id` is compared with for the id a cursor names; a `ValueError` means there is no such row."""
    counted: int = MOST_COUNTED
    """A total is counted up to here."""


class QueryError(MessagingError, ValueError):
    """A query that this list can't answer; the message says what it can."""


class CursorError(MessagingError, LookupError):
    """The object a cursor names does not exist."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One condition; `and` and `or` hold others in `inner`."""

    method: str
    attribute: str = ""
    values: Sequence[Any] = ()
    inner: Sequence[Filter] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which part of a list is asked for."""

    filters: Sequence[Filter] = ()
    order: Sequence[tuple[str, bool]] = ()
    """(attribute, descending), most significant first; without an attribute the rows' own order."""
    shuffled: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: str | None = None
    before: str | None = None
    search: str | None = None
    total: bool = True


@dataclass(frozen=True, kw_only=True)
class Page:
    """What was found: the rows, and how many there are in all (0 where nobody asked)."""

    rows: Sequence[RowMapping]
    total: int


def page(connection: Connection, listed: ListOf, wanted: Wanted, parameters: Mapping[str, Any]) -> Page:
    """The page; `parameters` are those of the list's `where`. Raises `QueryError`, `CursorError`."""
    built = _Built(listed, dict(parameters))
    conditions = [listed.where, *(built.condition(each) for each in wanted.filters)]
    if wanted.search:
        conditions.append(built.search(wanted.search))
    matching = " AND ".join(f"({condition})" for condition in conditions)
    total = 0
    if wanted.total:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM {listed.source} WHERE {matching} LIMIT {listed.counted}) x"
        total = connection.execute(text(counted), built.parameters).scalar_one()
    order = _order(listed, wanted)
    backwards = wanted.before is not None
    if wanted.after is not None or wanted.before is not None:
        matching += f" AND ({built.beyond(connection, order, wanted)})"
    ordered = ", ".join(f"{sql} {'DESC' if descending is not backwards else 'ASC'}" for sql, descending in order)
    if wanted.shuffled:
        ordered = "random()"
    rows = connection.execute(
        text(
            f"SELECT {listed.columns} FROM {listed.source} WHERE {matching} ORDER BY {ordered}"
            " LIMIT :page_limit OFFSET :page_offset"
        ),
        built.parameters | {"page_limit": wanted.limit, "page_offset": wanted.offset},
    )
    found = list(rows.mappings())
    return Page(rows=found[::-1] if backwards else found, total=total)


def _order(listed: ListOf, wanted: Wanted) -> list[tuple[str, bool]]:
    order = [
        (listed.number if name == "" else _attribute(listed, name).sql, descending) for name, descending in wanted.order
    ]
    if not any(sql == listed.number for sql, _ in order):
        order.append((listed.number, order[-1][1] if order else False))  # ties, and a list nobody ordered
    return order


def _attribute(listed: ListOf, name: str) -> Attribute:
    found = listed.attributes.get(name)
    if found is None:
        raise QueryError(f"Attribute not found in schema: {name}. There are {', '.join(sorted(listed.attributes))}.")
    return found


@dataclass
class _Built:
    """SQL put together so far, with its bound values."""

    listed: ListOf
    parameters: dict[str, Any]
    _bound: int = field(default=0)

    def bind(self, value: Any, kind: Kind) -> str:  # noqa: ANN401
        """A place for `value`, typed."""
        self._bound += 1
        name = f"q{self._bound}"
        self.parameters[name] = value
        return f"CAST(:{name} AS {_CAST[kind]})"

    def condition(self, wanted: Filter) -> str:
        """SQL of a filter."""
        if wanted.method in {"and", "or"}:
            joined = f" {wanted.method.upper()} ".join(f"({self.condition(each)})" for each in wanted.inner)
            return joined or "true"
        attribute = _attribute(self.listed, wanted.attribute)
        sql = attribute.sql
        if wanted.method in {"isNull", "notExists"}:
            return f"{sql} IS NULL"
        if wanted.method in {"isNotNull", "exists"}:
            return f"{sql} IS NOT NULL"
        if attribute.kind is Kind.WORDS:
            return self._words(wanted, sql)
        values = [_typed(wanted, attribute.kind, value) for value in wanted.values]
        negated = wanted.method.startswith("not")
        method = wanted.method[3].lower() + wanted.method[4:] if negated else wanted.method
        found = self._comparison(method, attribute.kind, sql, values)
        if found is None:
            raise QueryError(f"Query method {wanted.method} can't be used on {wanted.attribute}.")
        # what is not there is not equal to anything (SQL would say: unknown)
        return f"NOT coalesce(({found}), false)" if negated else found

    def _comparison(  # noqa: PLR0911  one line a method reads as the table it is
        self, method: str, kind: Kind, sql: str, values: list[Any]
    ) -> str | None:
        places = [self.bind(value, kind) for value in values]
        any_of = " OR ".join
        if method == "equal":
            return any_of(f"{sql} = {place}" for place in places)
        if method in _COMPARED and kind is not Kind.BOOLEAN:
            return any_of(f"{sql} {_COMPARED[method]} {place}" for place in places)
        if method == "between" and len(places) == 2:  # noqa: PLR2004
            return f"{sql} BETWEEN {places[0]} AND {places[1]}"
        if kind is not Kind.TEXT:
            return None
        if method == "startsWith":
            return any_of(f"starts_with({sql}, {place})" for place in places)
        if method == "endsWith":
            return any_of(f"right({sql}, length({place})) = {place}" for place in places)
        if method in {"contains", "containsAny"}:
            return any_of(f"strpos({sql}, {place}) > 0" for place in places)
        if method == "containsAll":
            return " AND ".join(f"strpos({sql}, {place}) > 0" for place in places)
        if method == "search":
            return any_of(f"strpos(lower({sql}), lower({place})) > 0" for place in places)
        return None

    def _words(self, wanted: Filter, sql: str) -> str:
        values = [_typed(wanted, Kind.WORDS, value) for value in wanted.values]
        self._bound += 1
        name = f"q{self._bound}"
        self.parameters[name] = values
        place = f"CAST(:{name} AS text[])"
        match wanted.method:
            case "contains" | "containsAny" | "equal":
                return f"{sql} && {place}"
            case "notContains" | "notEqual":
                return f"NOT {sql} && {place}"
            case "containsAll":
                return f"{sql} @> {place}"
            case _:
                raise QueryError(f"Query method {wanted.method} can't be used on {wanted.attribute}.")

    def search(self, wanted: str) -> str:
        """SQL of a search over the list's own text."""
        if self.listed.search is None:
            raise QueryError(f"{self.listed.what}s can't be searched.")
        return f"strpos(lower({self.listed.search}), lower({self.bind(wanted, Kind.TEXT)})) > 0"

    def beyond(self, connection: Connection, order: list[tuple[str, bool]], wanted: Wanted) -> str:
        """SQL for what comes after (or before) the row that the cursor names, in this order."""
        cursor = wanted.after if wanted.after is not None else wanted.before
        missing = CursorError(f"{self.listed.what} '{cursor}' for the 'cursor' value not found.")
        try:
            named = self.listed.cursor(str(cursor))
        except ValueError:
            raise missing from None
        columns = ", ".join(f"{sql} AS c{number}" for number, (sql, _) in enumerate(order))
        row = connection.execute(
            text(
                f"SELECT {columns} FROM {self.listed.source} WHERE ({self.listed.where})"
                f" AND {self.listed.public_id} = :cursor"
            ),
            self.parameters | {"cursor": named},
        ).one_or_none()
        if row is None:
            raise missing
        if any(value is None for value in row):
            raise QueryError("The cursor's row has no value in an attribute the list is ordered by.")
        terms: list[str] = []
        equal: list[str] = []
        for number, (sql, descending) in enumerate(order):
            name = f"cursor{number}"
            self.parameters[name] = row[number]
            less = descending is not (wanted.before is not None)
            terms.append(" AND ".join([*equal, f"{sql} {'<' if less else '>'} :{name}"]))
            equal.append(f"{sql} = :{name}")
        return " OR ".join(f"({term})" for term in terms)


_COMPARED = {"lessThan": "<", "lessThanEqual": "<=", "greaterThan": ">", "greaterThanEqual": ">="}


def _typed(wanted: Filter, kind: Kind, value: Any) -> Any:  # noqa: ANN401
    """`value` as its attribute's kind; raises `QueryError`."""
    match kind:
        case Kind.TEXT | Kind.WORDS if isinstance(value, str):
            return value
        case Kind.NUMBER if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:  # a whole number of more than 308 digits
                raise QueryError(f'Query value is invalid for attribute "{wanted.attribute}"') from None
        case Kind.BOOLEAN if isinstance(value, bool):
            return value
        case Kind.TIME if isinstance(value, str):
            try:  # bound as a time: PostgreSQL reads fewer spellings than Python does
                at = datetime.fromisoformat(value)
                return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
            except (ValueError, OverflowError):
                raise QueryError(f'Query value is invalid for attribute "{wanted.attribute}"') from None
    raise QueryError(f'Query value is invalid for attribute "{wanted.attribute}"')
