"""Header compression that stays cheap when every request has its own path.

An HPACK encoder adds what it has not seen to a table of 4 KB, so a token per request drives the
constant headers out of it. Here what differs per request, and what is secret, is written as a
literal that is never indexed; then the table stops changing after the first request and the
encoded form of each constant header can be kept. Apple asks for the same division ("Sending
notification requests to APNs", section on HPACK): `:path` and `authorization` without indexing.
Literals are not Huffman-coded: in Python that costs more than the bytes it saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hpack.hpack import encode_integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpack import HeaderTuple

NEVER_INDEXED = frozenset({"authorization", "apns-id", "apns-expiration", "apns-collapse-id", "content-length"})

_PATH = b"\x14"  # never indexed (RFC 7541 section 6.2.3), name 4 of the static table
_NEVER_NEW_NAME = b"\x10"
_SIZE_UPDATE = 0x20
_KEPT_LENGTH = 1024
"""A longer block is not one that comes again and again; the server decides how many there are."""
_KEPT = 512  # literals and fields kept; more distinct ones than that are not constant headers


class HeaderEncoder(Encoder):
    """An HPACK encoder for the requests of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[tuple[str, str], bytes] = {}
        self._names: dict[str, bytes] = {}

    @property
    def header_table_size(self) -> int:
        """Bytes the peer keeps for our header table; what was encoded for the old size is forgotten."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._fields.clear()
        self.header_table.maxsize = value
        if self.header_table.resized:
            self.table_size_changes.append(value)

    def request_block(self, pseudo: Sequence[tuple[str, str]], path: str, headers: Iterable[tuple[str, str]]) -> bytes:
        """The encoded header block; must be sent before the next one is made (the table is shared state)."""
        parts = []
        if self.header_table.resized:
            parts.append(self._encode_table_size_change())
            self.header_table.resized = False
        fields = self._fields
        parts.extend(fields.get(field) or self._indexed(field) for field in pseudo)
        value = path.encode("ascii")
        parts.append(_PATH + _length(value) + value)
        for field in headers:
            if field[0] in NEVER_INDEXED:
                value = field[1].encode("latin-1")
                parts.append((self._names.get(field[0]) or self._name(field[0])) + _length(value) + value)
            else:
                parts.append(fields.get(field) or self._indexed(field))
        return b"".join(parts)

    def _indexed(self, field: tuple[str, str]) -> bytes:
        entries = self.header_table.dynamic_entries
        before = entries[0] if entries else None
        encoded = self.add((field[0].encode("ascii"), field[1].encode("latin-1")), sensitive=False, huffman=False)
        if (entries[0] if entries else None) is not before:
            self._fields.clear()  # an entry came in at the front: every index moved
        elif len(self._fields) < _KEPT:
            self._fields[field] = encoded
        return encoded

    def _name(self, name: str) -> bytes:
        raw = name.encode("ascii")
        encoded = _NEVER_NEW_NAME + _length(raw) + raw
        self._names[name] = encoded
        return encoded

    def encode(self, headers: Iterable[object], huffman: bool = True) -> bytes:  # noqa: FBT001, FBT002 - hpack's signature
        """What h2 calls: hands through a block made by `request_block`, passed as a header without a name."""
        made = list(headers)
        last = made[-1]
        if isinstance(last, tuple) and last[0] == b"":
            return bytes(last[1])
        return super().encode(made, huffman)  # type: ignore[arg-type]


class HeaderDecoder(Decoder):
    """An HPACK decoder that remembers blocks which leave the table alone: most answers are the same bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[bytes, list[HeaderTuple]] = {}

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:  # noqa: FBT001, FBT002 - hpack's signature
        """The header fields of one block, as h2 wants them (raw)."""
        kept = self._kept.get(data)
        if kept is not None:
            return kept
        plain = self._plain(data) if raw else None
        if plain is not None:
            return plain
        table = self.header_table
        before = (table.maxsize, table.dynamic_entries[0] if table.dynamic_entries else None)
        headers = list(super().decode(data, raw))
        newest = table.dynamic_entries[0] if table.dynamic_entries else None
        if newest is not before[1] or table.maxsize != before[0]:
            self._kept.clear()
        elif raw and data and len(data) <= _KEPT_LENGTH and data[0] & 0xE0 != _SIZE_UPDATE and len(self._kept) < _KEPT:
            self._kept[bytes(data)] = headers
        return headers

    def _plain(self, data: bytes) -> list[HeaderTuple] | None:
        """The fields of a block that neither changes the table nor is Huffman-coded; None for any other.

        Answers with an id of their own are never the same bytes, and many servers write them so.
        """
        fields: list[HeaderTuple] = []
        at, end, room = 0, len(data), self.max_header_list_size
        get = self.header_table.get_by_index
        try:
            while at < end:
                first = data[at]
                at += 1
                if first & 0x80:  # an indexed field (RFC 7541, 6.1)
                    if first == 0xFF:  # noqa: PLR2004  the number goes on
                        return None
                    name, value = get(first & 0x7F)
                elif first & 0x60 or first & 0x0F == 0x0F:  # noqa: PLR2004  into the table, its size, a number that goes on
                    return None
                else:  # a literal that is not indexed, or never (6.2.2, 6.2.3)
                    if first & 0x0F:
                        name = get(first & 0x0F)[0]
                    else:
                        size = data[at]
                        if size >= 0x7F:  # noqa: PLR2004  Huffman-coded, or long
                            return None
                        name = data[at + 1 : at + 1 + size]
                        at += 1 + size
                    size = data[at]
                    if size >= 0x7F:  # noqa: PLR2004  as above
                        return None
                    value = data[at + 1 : at + 1 + size]
                    at += 1 + size
                room -= len(name) + len(value) + 32
                fields.append((name, value))  # type: ignore[arg-type]  # a plain pair is read as well
        except (IndexError, HPACKError):
            return None  # whatever is wrong with it, the decoder says so
        return fields if at == end and room >= 0 else None


_LENGTHS = tuple(bytes(encode_integer(n, 7)) for n in range(4096))


def _length(value: bytes) -> bytes:
    size = len(value)
    return _LENGTHS[size] if size < len(_LENGTHS) else bytes(encode_integer(size, 7))
