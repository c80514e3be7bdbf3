"""Subscribers out of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.store.bulk_rows import BulkRow

CHANNEL_OF_COLUMN = {"email": Channel.EMAIL, "phone": Channel.SMS, "token": Channel.PUSH}
_OTHER = ("user_id", "name", "provider")


def read_rows(lines: Iterable[str]) -> tuple[Channel | None, Iterator[BulkRow]]:
    """(channel, rows) of a CSV file with a header; the channel is None where rows name targets.

    Columns: one of `email`, `phone`, `token` or `target_id`, and any of `user_id`, `name`, `provider`.
    Raises `InvalidArgumentError` for a header that says something else; a row that can't be read carries
    its problem.
    """
    reader = csv.reader(lines)
    try:
        header = [column.strip().lstrip("\ufeff").casefold() for column in next(reader)]
    except StopIteration:
        raise InvalidArgumentError("csv", "the file is empty") from None
    addresses = [column for column in header if column in CHANNEL_OF_COLUMN or column == "target_id"]
    unknown = [column for column in header if column not in {*CHANNEL_OF_COLUMN, *_OTHER, "target_id"}]
    if unknown or len(addresses) != 1 or len(set(header)) != len(header):
        raise InvalidArgumentError(
            "csv",
            "the first line names one column email, phone, token or target_id, and any of user_id, name and"
            f" provider, each once; it says {', '.join(header) or 'nothing'}",
        )
    return CHANNEL_OF_COLUMN.get(addresses[0]), _rows(reader, header, addresses[0])


def _rows(reader: Iterator[Sequence[str]], header: Sequence[str], address: str) -> Iterator[BulkRow]:
    place = {column: header.index(column) for column in header}
    at = place[address]
    user, name, provider = (place.get(column) for column in _OTHER)
    for number, cells in enumerate(_readable(reader), start=2):
        if isinstance(cells, str):
            yield BulkRow(line=number, problem=cells)
            continue
        if not any(cells):
            continue
        if len(cells) != len(header):
            yield BulkRow(line=number, problem=f"it has {len(cells)} columns, the first line has {len(header)}")
            continue
        value = cells[at].strip()
        yield BulkRow(
            line=number,
            address=value if address != "target_id" else None,
            target_id=value or "-" if address == "target_id" else None,
            user_id=None if user is None else cells[user].strip() or None,
            name="" if name is None else cells[name].strip(),
            provider_id=None if provider is None else cells[provider].strip() or None,
        )


def _readable(reader: Iterator[Sequence[str]]) -> Iterator[Sequence[str] | str]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield str(error)
