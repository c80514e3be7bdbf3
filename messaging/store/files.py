"""Stored files: attachments, as chunks in PostgreSQL so that a worker on another machine can read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.attachments import FileReference
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.ids import new_id
from messaging.message import Attachment

CHUNK_BYTES = 256 * 1024
LARGEST_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class FileView:
    """A stored file without its bytes."""

    id: str
    name: str
    content_type: str
    size_bytes: int
    sha256: bytes
    created_at: datetime


def store(connection: Connection, project_id: int, name: str, content_type: str, data: bytes) -> str:
    """The public id of the file after storing it; raises `InvalidArgumentError` above 25 MB."""
    if len(data) > LARGEST_BYTES:
        raise InvalidArgumentError(
            "attachments", f"'{name}' has {len(data):,} bytes; a file has at most {LARGEST_BYTES:,}"
        )
    public_id = new_id()
    number: int = connection.execute(
        text(
            "INSERT INTO files (project_id, public_id, name, content_type, size_bytes, sha256)"
            " VALUES (:project, :id, :name, :type, :size, :sha256) RETURNING id"
        ),
        {
            "project": project_id,
            "id": public_id,
            "name": name,
            "type": content_type,
            "size": len(data),
            "sha256": hashlib.sha256(data).digest(),
        },
    ).scalar_one()
    chunks = [
        {"file": number, "number": index, "data": data[start : start + CHUNK_BYTES]}
        for index, start in enumerate(range(0, len(data), CHUNK_BYTES))
    ]
    if chunks:
        connection.execute(
            text("INSERT INTO file_chunks (file_id, number, data) VALUES (:file, :number, :data)"), chunks
        )
    return public_id


def keep(connection: Connection, project_id: int, attachments: Iterable[Attachment]) -> list[str]:
    """Public ids of the files of a message's attachments: stored now, or stored before and only looked up.

    Raises `NotFoundError` for a reference to a file that does not exist.
    """
    return [
        view(connection, project_id, attachment.file_id).id
        if isinstance(attachment, FileReference)
        else store(connection, project_id, attachment.filename, attachment.content_type, attachment.content)
        for attachment in attachments
    ]


def view(connection: Connection, project_id: int, public_id: str) -> FileView:
    """The file without its bytes; raises `NotFoundError`."""
    row = connection.execute(
        text(
            "SELECT public_id, name, content_type, size_bytes, sha256, created_at FROM files"
            " WHERE project_id = :project AND public_id = :id"
        ),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("file", public_id)
    return FileView(
        id=row.public_id,
        name=row.name,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created_at=row.created_at,
    )


def load(connection: Connection, project_id: int, public_id: str) -> Attachment:
    """The file with its bytes; raises `NotFoundError`."""
    found = view(connection, project_id, public_id)
    chunks = connection.execute(
        text(
            "SELECT c.data FROM file_chunks c JOIN files f ON f.id = c.file_id"
            " WHERE f.project_id = :project AND f.public_id = :id ORDER BY c.number"
        ),
        {"project": project_id, "id": public_id},
    ).scalars()
    return Attachment(filename=found.name, content_type=found.content_type, content=b"".join(chunks))


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the file; raises `NotFoundError`."""
    gone = connection.execute(
        text("DELETE FROM files WHERE project_id = :project AND public_id = :id RETURNING id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("file", public_id)
