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
    from collections.abc import Iterable

    from hpack import HeaderTuple

NEVER_INDEXED = frozenset({"authorization", "apns-id", "apns-expiration", "apns-collapse-id", "content-length"})

_PATH = b"\x14"  # never indexed (RFC 7541 section 6.2.3), name 4 of the static table
_NEVER_NEW_NAME = b"\x10"
_SIZE_UPDATE = 0x20
_KEPT_LENGTH = 1024
"""A longer block is not one that comes again and again; the server decides how many there are."""
_KEPT_SHARED = 64
_KEPT = 512  # literals and fields kept; more distinct ones than that are not constant headers


def check_field(name: str, value: str) -> None:
    """Raise `ValueError` for a header that no peer would take."""
    if not (name.isascii() and value.isprintable() and (value.isascii() or _is_latin_1(value))):
        msg = f"The header '{name}' holds a character no header can carry; use printable latin-1."
        raise ValueError(msg)


class Fields:
    """Header fields that many requests share: checked here, and encoded once for each connection.

    Raises `ValueError` for one that no peer would take.
    """

    __slots__ = ("pairs",)

    def __init__(self, *pairs: tuple[str, str]) -> None:
        for name, value in pairs:
            check_field(name, value)
        self.pairs = pairs


NO_FIELDS = Fields()


class HeaderEncoder(Encoder):
    """An HPACK encoder for the requests of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[tuple[str, str], bytes] = {}
        self._names: dict[str, bytes] = {}
        self._shared: dict[Fields, bytes] = {}

    @property
    def header_table_size(self) -> int:
        """Bytes the peer keeps for our header table; what was encoded for the old size is forgotten."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._forget()
        self.header_table.maxsize = value
        if self.header_table.resized:
            self.table_size_changes.append(value)

    def request_block(
        self, pseudo: Fields, path: str, headers: Iterable[tuple[str, str]], shared: Fields = NO_FIELDS
    ) -> bytes:
        """The encoded header block; must be sent before the next one is made (the table is shared state)."""
        kept = self._shared
        parts = [] if not self.header_table.resized else [self._size_change()]
        parts.append(kept.get(pseudo) or self._encode_shared(pseudo))
        value = path.encode("ascii")
        parts.append(_PATH + _length(value) + value)
        if shared.pairs:
            parts.append(kept.get(shared) or self._encode_shared(shared))
        parts.extend(self._encoded(field) for field in headers)
        return b"".join(parts)

    def _size_change(self) -> bytes:
        self.header_table.resized = False
        return self._encode_table_size_change()

    def _encode_shared(self, fields: Fields) -> bytes:
        newest = self._newest()
        encoded = b"".join([self._encoded(field) for field in fields.pairs])
        if self._newest() is newest:  # else some were put into the table, and are shorter from now on
            if len(self._shared) >= _KEPT_SHARED:
                self._shared.clear()
            self._shared[fields] = encoded
        return encoded

    def _encoded(self, field: tuple[str, str]) -> bytes:
        if field[0] in NEVER_INDEXED:
            value = field[1].encode("latin-1")
            return (self._names.get(field[0]) or self._name(field[0])) + _length(value) + value
        return self._fields.get(field) or self._indexed(field)

    def _newest(self) -> object:
        entries = self.header_table.dynamic_entries
        return entries[0] if entries else None

    def _forget(self) -> None:
        self._fields.clear()
        self._shared.clear()

    def _indexed(self, field: tuple[str, str]) -> bytes:
        before = self._newest()
        encoded = self.add((field[0].encode("ascii"), field[1].encode("latin-1")), sensitive=False, huffman=False)
        if self._newest() is not before:
            self._forget()  # an entry came in at the front: every index moved
        elif len(self._fields) < _KEPT:
            self._fields[field] = encoded
        return encoded

    def _name(self, name: str) -> bytes:
        raw = name.encode("ascii")
        encoded = _NEVER_NEW_NAME + _length(raw) + raw
        self._names[name] = encoded
        return encoded


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


def _is_latin_1(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


_LENGTHS = tuple(bytes(encode_integer(n, 7)) for n in range(4096))


def _length(value: bytes) -> bytes:
    size = len(value)
    return _LENGTHS[size] if size < len(_LENGTHS) else bytes(encode_integer(size, 7))
