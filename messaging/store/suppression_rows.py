"""Addresses to be suppressed, one a row: out of a CSV file, and checked before they reach the database."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.store.csv_rows import CHANNEL_OF_COLUMN
from messaging.store.suppressions import Scope, address_hash, check_reason
from messaging.vault import Vault

ADDRESS, SCOPE, REASON = "address", "scope", "reason"
_CHANNEL_COLUMNS = frozenset({"channel", "providertype"})
"""One of them goes with a column `address`; `providerType` is the word of the HTTP API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRow:
    """One address, as it was written; what is empty was not said."""

    line: int
    """Where it stands in its file, for the report."""
    address: str = ""
    channel: str = ""
    scope: str = ""
    reason: str = ""
    problem: str | None = None
    """Why its reader could not read it; such a row is invalid for this reason."""


class Entry(NamedTuple):
    """A checked row."""

    channel: Channel
    address_hash: bytes
    scope: Scope
    reason: str


def checked(row: SuppressionRow, vault: Vault, *, scope: Scope, reason: str) -> Entry:
    """The row as it goes to the database; `scope` and `reason` are those of a row that says none.

    Raises `InvalidArgumentError` with the reason for the report.
    """
    if row.problem is not None:
        raise InvalidArgumentError("row", row.problem)
    try:
        channel = Channel(row.channel)
    except ValueError:
        raise InvalidArgumentError("channel", f"is one of {', '.join(Channel)}") from None
    try:
        scope = Scope(row.scope) if row.scope else scope
    except ValueError:
        raise InvalidArgumentError("scope", f"is one of {', '.join(Scope)}, or empty") from None
    if not row.address:
        raise InvalidArgumentError("address", "is missing or empty")
    digest = address_hash(vault, channel, row.address)
    return Entry(channel, digest, scope, check_reason(row.reason) if row.reason else reason)


def read_rows(lines: Iterable[str]) -> Iterator[SuppressionRow]:
    """Rows of a CSV file with a header.

    Columns: one of `email`, `phone` and `token`, or `address` with its `channel` (or `providerType`); and any of
    `scope` and `reason`. Raises `InvalidArgumentError` for a header that says something else; a row that can't be
    read carries its problem.
    """
    reader = csv.reader(lines)
    try:
        header = [column.strip().lstrip("\ufeff").casefold() for column in next(reader)]
    except StopIteration:
        raise InvalidArgumentError("csv", "the file is empty") from None
    except csv.Error as error:
        raise InvalidArgumentError("csv", f"the first line can't be read: {error}") from None
    addresses = [column for column in header if column in CHANNEL_OF_COLUMN or column == ADDRESS]
    channels = [column for column in header if column in _CHANNEL_COLUMNS]
    known = {*addresses, *channels, SCOPE, REASON}
    complete = len(addresses) == 1 and len(channels) == (1 if addresses == [ADDRESS] else 0)
    if not complete or not known.issuperset(header) or len(set(header)) != len(header):
        raise InvalidArgumentError(
            "csv",
            "the first line names one column email, phone or token, or the two columns address and channel; and any"
            f" of scope and reason, each once; it says {', '.join(header)[:200] or 'nothing'}",
        )
    names = ["channel" if column in _CHANNEL_COLUMNS else column for column in header]
    names = [ADDRESS if column == addresses[0] else column for column in names]
    return _rows(reader, names, CHANNEL_OF_COLUMN.get(addresses[0]))


class _Reader(Protocol):
    """What `csv.reader` makes; its class has no public name."""

    @property
    def line_num(self) -> int: ...

    def __next__(self) -> list[str]: ...


def _rows(reader: _Reader, names: list[str], channel: Channel | None) -> Iterator[SuppressionRow]:
    common = {} if channel is None else {"channel": str(channel)}
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield SuppressionRow(line=reader.line_num, problem=str(error))
            continue
        if not any(cells):
            continue
        if len(cells) != len(names):
            problem = f"it has {len(cells)} columns, the first line has {len(names)}"
            yield SuppressionRow(line=reader.line_num, problem=problem)
            continue
        said = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        yield SuppressionRow(line=reader.line_num, **common, **said)
