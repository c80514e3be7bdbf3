"""Buckets over HTTP."""

from __future__ import annotations

import re
from typing import Any

from messaging.http import parameters as p
from messaging.http import permissions
from messaging.http.json_text import timestamp
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.parameters import Refused
from messaging.http.queries import parse_queries
from messaging.store import buckets
from messaging.store.buckets import Bucket, BucketSettings

operations = Operations("storage")

BUCKET_ID = p.uid("bucketId", required=True)

_MOST_EXTENSIONS = 100
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)
_AS_IT_IS = "For the SDKs; files are kept as they come, and the answer says so."


def _extension(value: Any) -> str:  # noqa: ANN401  from a wire
    if not isinstance(value, str) or not _EXTENSION.fullmatch(value):
        raise Refused("Value must be 1 to 64 letters and digits, without the dot")
    return value.lower()


def _strip_metadata(value: Any) -> bool:  # noqa: ANN401  from a wire
    if value is not False:
        raise Refused("Value must be false: pictures keep their metadata. Remove it before sending them")
    return False


_NAME = p.text("name", longest=buckets.LONGEST_NAME, required=True)
_SETTINGS = (
    p.boolean("fileSecurity", help="Whether permissions of single files count too. New buckets: false."),
    p.boolean("enabled", help="false: only API keys reach its files. New buckets: true."),
    p.integer("maximumFileSize", least=1, most=buckets.LARGEST_FILE_BYTES, help="In bytes. New buckets: the most."),
    p.array(
        "allowedFileExtensions",
        _extension,
        {"type": "string", "pattern": f"^{_EXTENSION.pattern}$"},
        most=_MOST_EXTENSIONS,
        help="Without the dot; none: every one.",
    ),
    p.text("description", shortest=0, longest=2048),
    p.one_of("compression", ("none", "gzip", "zstd"), help=_AS_IT_IS),
    p.boolean("encryption", help=_AS_IT_IS),
    p.boolean("antivirus", help=_AS_IT_IS),
    p.boolean("transformations", help=_AS_IT_IS),
    p.Parameter(name="stripMetadata", check=_strip_metadata, schema={"type": "boolean", "const": False}),
)


@operations.add("GET", "/storage/buckets", SEARCH, TOTAL, scopes=("buckets.read",), model="bucketList", listed=True)
def list_buckets(call: Call) -> dict[str, Any]:
    """Buckets, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = buckets.listed(call.connection, call.project_id, wanted)
    sizes = buckets.sizes(call.connection, call.project_id, [bucket.number for bucket in found.buckets])
    return {"total": found.total, "buckets": [rendered(bucket, sizes[bucket.number]) for bucket in found.buckets]}


@operations.add(
    "POST",
    "/storage/buckets",
    p.custom_id("bucketId"),
    _NAME,
    permissions.of_bucket(),
    *_SETTINGS,
    scopes=("buckets.write",),
    status=201,
    model="bucket",
    taken="storage_bucket_already_exists",
)
def create_bucket(call: Call) -> dict[str, Any]:
    """Create a bucket; without permissions only API keys reach its files."""
    return rendered(buckets.create(call.connection, call.project_id, call["bucketId"], _settings(call)), 0)


@operations.add("GET", "/storage/buckets/{bucketId}", BUCKET_ID, scopes=("buckets.read",), model="bucket")
def get_bucket(call: Call) -> dict[str, Any]:
    """A bucket, with the size of its files."""
    return _whole(call, buckets.get(call.connection, call.project_id, call["bucketId"]))


@operations.add(
    "PUT",
    "/storage/buckets/{bucketId}",
    BUCKET_ID,
    _NAME,
    permissions.of_bucket(),
    *_SETTINGS,
    scopes=("buckets.write",),
    model="bucket",
)
def update_bucket(call: Call) -> dict[str, Any]:
    """Change a bucket; what is not given stays. Limits hold for files stored from now on."""
    return _whole(call, buckets.update(call.connection, call.project_id, call["bucketId"], _settings(call)))


@operations.add(
    "DELETE",
    "/storage/buckets/{bucketId}",
    BUCKET_ID,
    scopes=("buckets.write",),
    status=204,
    taken="storage_file_in_use",
    errors=(409,),
)
def delete_bucket(call: Call) -> None:
    """Delete a bucket with its files; refused while an unfinished message uses one of them."""
    buckets.delete(call.connection, call.project_id, call["bucketId"])


def _settings(call: Call) -> BucketSettings:
    return BucketSettings(
        name=call["name"],
        description=call["description"],
        permissions=call["permissions"],
        file_security=call["fileSecurity"],
        enabled=call["enabled"],
        maximum_file_size=call["maximumFileSize"],
        allowed_file_extensions=call["allowedFileExtensions"],
    )


def _whole(call: Call, bucket: Bucket) -> dict[str, Any]:
    size = buckets.sizes(call.connection, call.project_id, [bucket.number])[bucket.number]
    return rendered(bucket, size)


def rendered(bucket: Bucket, size_bytes: int) -> dict[str, Any]:
    """A bucket as the SDKs read it, with the size of its files."""
    return {
        "$id": bucket.id,
        "$createdAt": timestamp(bucket.created_at),
        "$updatedAt": timestamp(bucket.updated_at),
        "$permissions": list(bucket.permissions),
        "fileSecurity": bucket.file_security,
        "name": bucket.name,
        "description": bucket.description,
        "enabled": bucket.enabled,
        "maximumFileSize": bucket.maximum_file_size,
        "allowedFileExtensions": list(bucket.allowed_file_extensions),
        "compression": "none",
        "encryption": False,
        "antivirus": False,
        "transformations": False,
        "stripMetadata": False,
        "totalSize": size_bytes,
    }
