"""Buckets: named places for files, with their limits and permissions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from messaging.errors import ConflictError, NotFoundError
from messaging.ids import check_id
from messaging.store import file_uses, lists
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes

LARGEST_FILE_BYTES = 25 * 1024 * 1024
"""Of one file in any bucket."""
LONGEST_NAME = 128

_COLUMNS = (
    "id AS number, project_id, public_id, name, description, permissions, file_security, enabled, maximum_file_size,"
    " allowed_file_extensions, created_at, updated_at"
)


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket as stored."""

    number: int
    project_id: int
    id: str
    name: str
    description: str
    permissions: tuple[str, ...]
    """Such as `read("any")`."""
    file_security: bool
    """Whether the permissions of single files count too."""
    enabled: bool
    maximum_file_size: int
    allowed_file_extensions: tuple[str, ...]
    """Lower case, without the dot; none: every extension."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class BucketPage:
    """A page of buckets, and how many there are."""

    buckets: list[Bucket]
    total: int


@dataclass(frozen=True, kw_only=True)
class BucketSettings:
    """What can be set of a bucket; None leaves it as it is, or as a new one is."""

    name: str | None = None
    description: str | None = None
    permissions: Sequence[str] | None = None
    file_security: bool | None = None
    enabled: bool | None = None
    maximum_file_size: int | None = None
    allowed_file_extensions: Sequence[str] | None = None


def create(connection: Connection, project_id: int, bucket_id: str, wanted: BucketSettings) -> Bucket:
    """A new bucket, closed to everybody without a key unless told otherwise; raises `ConflictError`."""
    row = (
        connection.execute(
            text(
                "INSERT INTO buckets (project_id, public_id, name, description, permissions, file_security, enabled,"
                " maximum_file_size, allowed_file_extensions)"
                " VALUES (:project, :id, coalesce(:name, ''), coalesce(:description, ''),"
                " coalesce(CAST(:permissions AS text[]), '{}'), coalesce(:file_security, false),"
                " coalesce(:enabled, true), coalesce(:maximum_file_size, :largest),"
                " coalesce(CAST(:allowed_file_extensions AS text[]), '{}'))"
                f" ON CONFLICT (project_id, public_id) DO NOTHING RETURNING {_COLUMNS}"
            ),
            _values(wanted)
            | {"project": project_id, "id": check_id("bucket_id", bucket_id), "largest": LARGEST_FILE_BYTES},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise ConflictError(f"The bucket '{bucket_id}' exists already. Choose another id, or update that bucket.")
    return _bucket(row)


def get(connection: Connection, project_id: int, public_id: str) -> Bucket:
    """The bucket; raises `NotFoundError`."""
    return _found(
        connection,
        f"SELECT {_COLUMNS} FROM buckets WHERE project_id = :project AND public_id = :id",
        project_id,
        public_id,
    )


def update(connection: Connection, project_id: int, public_id: str, wanted: BucketSettings) -> Bucket:
    """The bucket after the change, which concerns files stored from now on; raises `NotFoundError`."""
    return _found(
        connection,
        "UPDATE buckets SET name = coalesce(:name, name), description = coalesce(:description, description),"
        " permissions = coalesce(CAST(:permissions AS text[]), permissions),"
        " file_security = coalesce(:file_security, file_security), enabled = coalesce(:enabled, enabled),"
        " maximum_file_size = coalesce(:maximum_file_size, maximum_file_size),"
        " allowed_file_extensions = coalesce(CAST(:allowed_file_extensions AS text[]), allowed_file_extensions),"
        f" updated_at = now() WHERE project_id = :project AND public_id = :id RETURNING {_COLUMNS}",
        project_id,
        public_id,
        **_values(wanted),
    )


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the bucket with its files.

    Raises `NotFoundError`, or `ConflictError` while an unfinished message uses one of them.
    """
    bucket = _found(
        connection,
        f"SELECT {_COLUMNS} FROM buckets WHERE project_id = :project AND public_id = :id FOR UPDATE",
        project_id,
        public_id,
    )
    files = {"project": project_id, "bucket": bucket.number}
    # whoever attaches one of them to a message holds its row: wait, and then look at messages
    connection.execute(
        text("SELECT id FROM files WHERE project_id = :project AND coalesce(bucket_id, 0) = :bucket FOR UPDATE"), files
    )
    file_uses.refuse_used(connection, project_id, bucket.id)
    connection.execute(
        text("DELETE FROM files WHERE project_id = :project AND coalesce(bucket_id, 0) = :bucket"), files
    )
    connection.execute(text("DELETE FROM buckets WHERE id = :bucket"), files)


_LIST = ListOf(
    what="Bucket",
    columns=_COLUMNS,
    source="buckets",
    where="project_id = :project",
    number="id",
    public_id="public_id",
    search="concat_ws(' ', public_id, name, description)",
    attributes={
        **common_attributes(),
        "name": Attribute("name"),
        "description": Attribute("description"),
        "enabled": Attribute("enabled", Kind.BOOLEAN),
        "fileSecurity": Attribute("file_security", Kind.BOOLEAN),
        "maximumFileSize": Attribute("maximum_file_size", Kind.NUMBER),
        # the same for every bucket of ours
        "encryption": Attribute("false", Kind.BOOLEAN),
        "antivirus": Attribute("false", Kind.BOOLEAN),
        "transformations": Attribute("false", Kind.BOOLEAN),
    },
)


def listed(connection: Connection, project_id: int, wanted: Wanted) -> BucketPage:
    """Buckets as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    found = lists.page(connection, _LIST, wanted, {"project": project_id})
    return BucketPage(buckets=[_bucket(row) for row in found.rows], total=found.total)


def sizes(connection: Connection, project_id: int, numbers: Collection[int]) -> dict[int, int]:
    """Bytes that the files of each bucket have together, by the bucket's number."""
    rows = connection.execute(
        text(
            "SELECT coalesce(bucket_id, 0) AS bucket, sum(size_bytes)::bigint AS size FROM files"
            " WHERE project_id = :project AND coalesce(bucket_id, 0) = ANY(CAST(:buckets AS bigint[]))"
            " AND chunks_uploaded = chunks_total GROUP BY 1"
        ),
        {"project": project_id, "buckets": list(numbers)},
    )
    return dict.fromkeys(numbers, 0) | {row.bucket: row.size for row in rows}


def _values(wanted: BucketSettings) -> dict[str, Any]:
    extensions = wanted.allowed_file_extensions
    return {
        "name": wanted.name,
        "description": wanted.description,
        "permissions": None if wanted.permissions is None else list(wanted.permissions),
        "file_security": wanted.file_security,
        "enabled": wanted.enabled,
        "maximum_file_size": wanted.maximum_file_size,
        "allowed_file_extensions": None if extensions is None else [one.lower() for one in extensions],
    }


def _found(connection: Connection, sql: str, project_id: int, public_id: str, **values: Any) -> Bucket:  # noqa: ANN401
    row = connection.execute(text(sql), values | {"project": project_id, "id": public_id}).mappings().one_or_none()
    if row is None:
        raise NotFoundError("bucket", public_id)
    return _bucket(row)


def _bucket(row: RowMapping) -> Bucket:
    return Bucket(
        number=row["number"],
        project_id=row["project_id"],
        id=row["public_id"],
        name=row["name"],
        description=row["description"],
        permissions=tuple(row["permissions"]),
        file_security=row["file_security"],
        enabled=row["enabled"],
        maximum_file_size=row["maximum_file_size"],
        allowed_file_extensions=tuple(row["allowed_file_extensions"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
