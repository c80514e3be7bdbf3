"""Stored files, as chunks in PostgreSQL so that a worker on another machine can read them.

A file lies in a bucket, or in none when it came along with a message as its attachment. An id is unique in its bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from messaging.attachments import FileReference
from messaging.errors import ConflictError, FileError, InvalidArgumentError, NotFoundError
from messaging.file_types import PUSH_IMAGES
from messaging.ids import is_valid_id, new_id
from messaging.message import Attachment
from messaging.store import buckets, file_chunks, file_uses, lists
from messaging.store.buckets import LARGEST_FILE_BYTES as LARGEST_BYTES
from messaging.store.buckets import Bucket
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes

_COLUMNS = (
    "id AS number, public_id, (SELECT b.public_id FROM buckets b WHERE b.id = files.bucket_id) AS bucket, name,"
    " content_type, size_bytes, sha256, md5, permissions, chunks_total, chunks_uploaded, created_at, updated_at"
)
_ONE = "project_id = :project AND coalesce(bucket_id, 0) = :bucket AND public_id = :id"


@dataclass(frozen=True, kw_only=True)
class FileView:
    """A stored file without its bytes."""

    number: int
    id: str
    bucket_id: str
    """Empty for a file in no bucket."""
    name: str
    content_type: str
    size_bytes: int
    sha256: bytes
    """Empty until the file is complete."""
    md5: bytes
    """The same; also empty for a file in no bucket."""
    permissions: tuple[str, ...]
    chunks_total: int
    """Pieces its uploader sends."""
    chunks_uploaded: int
    """Pieces that came, counted without a gap from the first."""
    created_at: datetime
    updated_at: datetime

    @property
    def is_complete(self) -> bool:
        """Whether every piece has come."""
        return self.chunks_uploaded == self.chunks_total


@dataclass(frozen=True, kw_only=True)
class FilePage:
    """A page of files, and how many there are."""

    files: list[FileView]
    total: int


# -- files that came along with a message ----------------------------------------------------------


def store(connection: Connection, project_id: int, name: str, content_type: str, data: bytes) -> str:
    """The public id of the file after storing it in no bucket; raises `InvalidArgumentError` above 25 MB."""
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
    file_chunks.write(connection, number, data)
    return public_id


def keep(connection: Connection, project_id: int, attachments: Iterable[Attachment]) -> list[str]:
    """Public ids of the files of a message's attachments: stored now, or stored before and only looked up.

    Raises `NotFoundError` for a reference to a file that does not exist.
    """
    return [
        held(connection, project_id, attachment).id
        if isinstance(attachment, FileReference)
        else store(connection, project_id, attachment.filename, attachment.content_type, attachment.content)
        for attachment in attachments
    ]


def view(connection: Connection, project_id: int, public_id: str) -> FileView:
    """The file of that id in no bucket, without its bytes; raises `NotFoundError`."""
    return _one(connection, project_id, 0, public_id)


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the file of that id in no bucket; raises `NotFoundError`."""
    gone = connection.execute(
        text(f"DELETE FROM files WHERE {_ONE} RETURNING id"), {"project": project_id, "bucket": 0, "id": public_id}
    ).one_or_none()
    if gone is None:
        raise NotFoundError("file", public_id)


# -- files that a message refers to ----------------------------------------------------------------


def reference(connection: Connection, project_id: int, named: str, *, argument: str = "attachments") -> FileReference:
    """The complete file that `bucket:file` names; it can't be deleted until the transaction ends.

    Raises `InvalidArgumentError` (of `argument`) if it names none at all, `NotFoundError` (bucket, file).
    """
    return _reference(_named(connection, project_id, named, argument))


def image_reference(connection: Connection, project_id: int, named: str) -> FileReference:
    """The same for the image of a push message; raises `FileError` too, for what is no PNG or JPEG."""
    found = _named(connection, project_id, named, "image")
    if found.content_type not in PUSH_IMAGES:
        raise FileError(
            "storage_file_type_unsupported",
            f"The file '{found.id}' is {found.content_type}; the image of a push message is a PNG or JPEG.",
        )
    return _reference(found)


def held(connection: Connection, project_id: int, wanted: FileReference) -> FileView:
    """The complete file, which can't be deleted until the transaction ends; raises `NotFoundError`."""
    return _referred(connection, project_id, wanted, " FOR KEY SHARE")


def load(connection: Connection, project_id: int, public_id: str, *, bucket_id: str = "") -> Attachment:
    """The file with its bytes; raises `NotFoundError` (bucket, file)."""
    found = _referred(connection, project_id, FileReference(file_id=public_id, bucket_id=bucket_id))
    content = file_chunks.read(connection, found.number, count=-(-LARGEST_BYTES // file_chunks.CHUNK_BYTES))
    return Attachment(filename=found.name, content_type=found.content_type, content=content)


# -- files of a bucket -----------------------------------------------------------------------------


def get(connection: Connection, bucket: Bucket, public_id: str, *, locked: bool = False) -> FileView:
    """A file of the bucket, complete or not; raises `NotFoundError`."""
    return _one(connection, bucket.project_id, bucket.number, public_id, " FOR UPDATE" if locked else "")


def update(
    connection: Connection,
    bucket: Bucket,
    public_id: str,
    *,
    name: str | None = None,
    permissions: Sequence[str] | None = None,
) -> FileView:
    """The file after the change; raises `NotFoundError`, or `ConflictError` while it is being uploaded."""
    found = get(connection, bucket, public_id, locked=True)
    if not found.is_complete:
        raise ConflictError(f"The file '{public_id}' is still being uploaded. Change it when all of it has come.")
    connection.execute(
        text(
            "UPDATE files SET name = coalesce(:name, name),"
            " permissions = coalesce(CAST(:permissions AS text[]), permissions), updated_at = now() WHERE id = :number"
        ),
        {"name": name, "permissions": None if permissions is None else list(permissions), "number": found.number},
    )
    return get(connection, bucket, public_id)


def remove(connection: Connection, bucket: Bucket, public_id: str) -> None:
    """Delete a file of the bucket; raises `NotFoundError`, or `ConflictError` while an unfinished message uses it."""
    found = get(connection, bucket, public_id, locked=True)
    file_uses.refuse_used(connection, bucket.project_id, bucket.id, public_id)
    connection.execute(text("DELETE FROM files WHERE id = :number"), {"number": found.number})


_LIST = ListOf(
    what="File",
    columns=_COLUMNS,
    source="files",
    where=(
        "project_id = :project AND coalesce(bucket_id, 0) = :bucket"
        " AND (CAST(:grants AS text[]) IS NULL OR permissions && CAST(:grants AS text[]))"
    ),
    number="id",
    public_id="public_id",
    search="concat_ws(' ', public_id, name)",
    attributes={
        **common_attributes(),
        "name": Attribute("name"),
        "signature": Attribute("coalesce(encode(md5, 'hex'), '')"),
        "mimeType": Attribute("content_type"),
        "sizeOriginal": Attribute("size_bytes", Kind.NUMBER),
        "chunksTotal": Attribute("chunks_total", Kind.NUMBER),
        "chunksUploaded": Attribute("chunks_uploaded", Kind.NUMBER),
    },
)


def listed(connection: Connection, bucket: Bucket, wanted: Wanted, *, grants: Sequence[str] | None = None) -> FilePage:
    """The bucket's files, as `wanted` filters and orders them; with `grants` only those that carry one of these.

    Raises `QueryError` or `CursorError`.
    """
    parameters = {
        "project": bucket.project_id,
        "bucket": bucket.number,
        "grants": None if grants is None else list(grants),
    }
    found = lists.page(connection, _LIST, wanted, parameters)
    return FilePage(files=[_view(row) for row in found.rows], total=found.total)


def _named(connection: Connection, project_id: int, named: str, argument: str) -> FileView:
    bucket_id, _, file_id = named.partition(":")
    if not is_valid_id(bucket_id) or not is_valid_id(file_id):
        raise InvalidArgumentError(argument, f"'{named[:80]}' is no `bucket:file`, the ids of a bucket and of a file")
    return held(connection, project_id, FileReference(file_id=file_id, bucket_id=bucket_id))


def _reference(found: FileView) -> FileReference:
    return FileReference(
        file_id=found.id, bucket_id=found.bucket_id, filename=found.name, content_type=found.content_type
    )


def _referred(connection: Connection, project_id: int, wanted: FileReference, lock: str = "") -> FileView:
    bucket = buckets.get(connection, project_id, wanted.bucket_id).number if wanted.bucket_id else 0
    found = _one(connection, project_id, bucket, wanted.file_id, lock)
    if not found.is_complete:
        raise NotFoundError("file", found.id)
    return found


def _one(connection: Connection, project_id: int, bucket: int, public_id: str, lock: str = "") -> FileView:
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM files WHERE {_ONE}{lock}"),
            {"project": project_id, "bucket": bucket, "id": public_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFoundError("file", public_id)
    return _view(row)


def _view(row: RowMapping) -> FileView:
    return FileView(
        number=row["number"],
        id=row["public_id"],
        bucket_id=row["bucket"] or "",
        name=row["name"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        sha256=bytes(row["sha256"]),
        md5=bytes(row["md5"] or b""),
        permissions=tuple(row["permissions"]),
        chunks_total=row["chunks_total"],
        chunks_uploaded=row["chunks_uploaded"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
