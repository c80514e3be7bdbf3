"""The bytes of files: rows of 256 KiB, so that neither side ever holds a whole file for them."""

from __future__ import annotations

from sqlalchemy import Connection, text

CHUNK_BYTES = 256 * 1024
"""Every chunk but a file's last has exactly so many bytes."""
READ_CHUNKS = 4
READ_BYTES = READ_CHUNKS * CHUNK_BYTES
"""Read at once: 1 MiB in memory."""


def write(connection: Connection, file: int, data: bytes, *, first: int = 0) -> None:
    """Store `data` as the chunks of the file of that number from chunk `first` on, over what is there."""
    chunks = [
        {"file": file, "number": first + index, "data": data[start : start + CHUNK_BYTES]}
        for index, start in enumerate(range(0, len(data), CHUNK_BYTES))
    ]
    if chunks:
        connection.execute(
            text(
                "INSERT INTO file_chunks (file_id, number, data) VALUES (:file, :number, :data)"
                " ON CONFLICT (file_id, number) DO UPDATE SET data = excluded.data"
            ),
            chunks,
        )


def read(connection: Connection, file: int, *, first: int = 0, count: int = READ_CHUNKS) -> bytes:
    """The bytes of `count` chunks from chunk `first` on; fewer at the file's end, none if it is gone."""
    rows = connection.execute(
        text(
            "SELECT data FROM file_chunks WHERE file_id = :file AND number >= :first AND number < :end ORDER BY number"
        ),
        {"file": file, "first": first, "end": first + count},
    )
    return b"".join(rows.scalars())


def numbers(connection: Connection, file: int, *, each: int) -> set[int]:
    """Which pieces of `each` chunks have come; a piece is stored whole or not at all."""
    rows = connection.execute(
        text("SELECT DISTINCT number / :each FROM file_chunks WHERE file_id = :file"), {"file": file, "each": each}
    )
    return set(rows.scalars())
