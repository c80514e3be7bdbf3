"""Put files into a bucket: in one piece, or in pieces of 5 MiB that may come in any order and more than once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.errors import ConflictError, FileError, InvalidArgumentError
from messaging.file_types import HEAD_BYTES, UNKNOWN, extension_of, kind_of
from messaging.ids import check_id
from messaging.store import file_chunks, files
from messaging.store.buckets import Bucket
from messaging.store.file_chunks import CHUNK_BYTES, READ_BYTES, READ_CHUNKS
from messaging.store.files import FileView

PIECE_BYTES = 5 * 1024 * 1024
"""What the SDKs cut a large file into; only the last piece is smaller."""
LONGEST_NAME = 255
UNFINISHED_KEPT_DAYS = 1
"""An upload that nothing was added to for so long is given up."""

_CHUNKS_A_PIECE = PIECE_BYTES // CHUNK_BYTES


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """What is said about a file when it is sent."""

    id: str
    name: str
    permissions: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some bytes of a file: where they begin, and how many the whole file has."""

    start: int
    total: int
    data: bytes


def store(connection: Connection, bucket: Bucket, new: NewFile, data: bytes) -> FileView:
    """A file that came in one piece.

    Raises `FileError` (empty, too large, of a refused kind) and `ConflictError` (the id is taken).
    """
    _check(bucket, new, len(data))
    number = _insert(connection, bucket, new, size=len(data), pieces=1)
    if number is None:
        raise _taken(new)
    file_chunks.write(connection, number, data)
    _complete(connection, number, new.name)
    return files.get(connection, bucket, new.id)


def add_piece(connection: Connection, bucket: Bucket, new: NewFile, piece: Piece) -> FileView:
    """The file after this piece, which may have come before; the last missing one completes it.

    `chunks_uploaded` counts pieces without a gap from the first: an SDK that resumes goes on from there.
    Raises `FileError` for a piece that does not fit the bucket or those before, and `ConflictError` where a
    complete file has the id.
    """
    _check(bucket, new, piece.total)
    _check_piece(piece)
    pieces = -(-piece.total // PIECE_BYTES)
    _insert(connection, bucket, new, size=piece.total, pieces=pieces, complete=False)
    # pieces come at the same time: one by one from here
    found = files.get(connection, bucket, new.id, locked=True)
    first = piece.start // CHUNK_BYTES
    if found.is_complete:
        same = found.size_bytes == piece.total and piece.data == file_chunks.read(
            connection, found.number, first=first, count=_CHUNKS_A_PIECE
        )
        if not same:
            raise _taken(new)
        return found  # said again because its answer was lost
    if found.size_bytes != piece.total or found.permissions != tuple(new.permissions):
        raise FileError(
            "storage_invalid_content_range",
            f"The upload of '{new.id}' began with {found.size_bytes:,} bytes in all, or with other permissions."
            " Go on with the same, or delete the file and begin again.",
        )
    file_chunks.write(connection, found.number, piece.data, first=first)
    come = file_chunks.numbers(connection, found.number, each=_CHUNKS_A_PIECE)
    unbroken = next(number for number in range(pieces + 1) if number not in come)
    connection.execute(
        text("UPDATE files SET chunks_uploaded = :come, updated_at = now() WHERE id = :number"),
        {"come": unbroken, "number": found.number},
    )
    if unbroken == pieces:
        _complete(connection, found.number, found.name)
    return files.get(connection, bucket, new.id)


def forget_unfinished(connection: Connection) -> int:
    """How many uploads were given up: begun, and not gone on with for a day."""
    gone = connection.execute(
        text(
            "DELETE FROM files WHERE chunks_uploaded < chunks_total"
            " AND updated_at < now() - make_interval(days => :days)"
        ),
        {"days": UNFINISHED_KEPT_DAYS},
    )
    return gone.rowcount


def check_name(bucket: Bucket, name: str) -> str:
    """`name` for a file of the bucket; raises `InvalidArgumentError`, or `FileError` for its extension."""
    if not name or len(name) > LONGEST_NAME or name in {".", ".."}:
        raise InvalidArgumentError("name", f"a file's name has 1 to {LONGEST_NAME} characters")
    if not name.isprintable() or "/" in name or "\\" in name:
        raise InvalidArgumentError("name", "a file's name has no slashes, line breaks or other control characters")
    allowed = bucket.allowed_file_extensions
    if allowed and extension_of(name) not in allowed:
        raise FileError(
            "storage_file_type_unsupported",
            f"The bucket '{bucket.id}' takes files that end in {', '.join(f'.{one}' for one in allowed)};"
            f" '{name}' does not.",
        )
    return name


def _check(bucket: Bucket, new: NewFile, size: int) -> None:
    check_id("file_id", new.id)
    check_name(bucket, new.name)
    if size < 1:
        raise FileError("storage_file_empty", "The file is empty. Send one that has something in it.")
    if size > bucket.maximum_file_size:
        raise FileError(
            "storage_invalid_file_size",
            f"The file has {size:,} bytes; one in the bucket '{bucket.id}' has at most {bucket.maximum_file_size:,}.",
        )


def _check_piece(piece: Piece) -> None:
    if piece.start % PIECE_BYTES or not 0 <= piece.start < piece.total:
        problem = f"A piece begins at a multiple of {PIECE_BYTES:,} bytes inside the file, not at {piece.start:,}."
    elif len(piece.data) != (expected := min(PIECE_BYTES, piece.total - piece.start)):
        problem = f"The piece at {piece.start:,} has {expected:,} bytes; {len(piece.data):,} came."
    else:
        return
    raise FileError("storage_invalid_content_range", problem)


def _insert(
    connection: Connection, bucket: Bucket, new: NewFile, *, size: int, pieces: int, complete: bool = True
) -> int | None:
    """The number of the new file, or None if the id is taken."""
    number: int | None = connection.execute(
        text(
            "INSERT INTO files (project_id, bucket_id, public_id, name, content_type, size_bytes, sha256, permissions,"
            " chunks_total, chunks_uploaded)"
            " VALUES (:project, :bucket, :id, :name, :type, :size, '', :permissions, :pieces, :come)"
            " ON CONFLICT DO NOTHING RETURNING id"
        ),
        {
            "project": bucket.project_id,
            "bucket": bucket.number,
            "id": new.id,
            "name": new.name,
            "type": UNKNOWN,
            "size": size,
            "permissions": list(new.permissions),
            "pieces": pieces,
            "come": pieces if complete else 0,
        },
    ).scalar()
    return number


def _complete(connection: Connection, number: int, name: str) -> None:
    """Write down what only the whole file says: its checksums and its kind."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)  # the SDKs show an MD5
    head, first = b"", 0
    while data := file_chunks.read(connection, number, first=first):
        head = head or data[:HEAD_BYTES]
        sha256.update(data)
        md5.update(data)
        first += READ_CHUNKS
        if len(data) < READ_BYTES:
            break
    connection.execute(
        text("UPDATE files SET sha256 = :sha256, md5 = :md5, content_type = :type WHERE id = :number"),
        {"sha256": sha256.digest(), "md5": md5.digest(), "type": kind_of(name, head), "number": number},
    )


def _taken(new: NewFile) -> ConflictError:
    return ConflictError(f"The file '{new.id}' exists already in this bucket. Choose another id, or delete that file.")
