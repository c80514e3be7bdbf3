"""Files of buckets over HTTP."""

from __future__ import annotations

from typing import Any

from messaging.http import file_bytes, permissions
from messaging.http import parameters as p
from messaging.http.buckets import BUCKET_ID
from messaging.http.errors import ApiError, invalid, missing
from messaging.http.file_range import sent_part
from messaging.http.json_text import timestamp
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Access, Answer, Call, Operations
from messaging.http.permissions import Action, require
from messaging.http.queries import parse_queries
from messaging.ids import is_valid_id
from messaging.store import buckets, file_uploads, files
from messaging.store.buckets import Bucket
from messaging.store.file_uploads import LONGEST_NAME, NewFile, Piece
from messaging.store.files import FileView

operations = Operations("storage")

FILE_ID = p.uid("fileId", required=True)
_TOKEN = p.text("token", shortest=0, longest=128, help="Of a link made by this server; it needs nothing else.")


def _folder(value: Any) -> str:  # noqa: ANN401  from a wire
    if value != "":
        raise p.Refused("Folders are not kept. Leave it out; the id and the bucket tell files apart")
    return ""


@operations.add(
    "GET",
    "/storage/buckets/{bucketId}/files",
    BUCKET_ID,
    SEARCH,
    TOTAL,
    scopes=("files.read",),
    access=Access.ANYONE,
    model="fileList",
    listed=True,
)
def list_files(call: Call) -> dict[str, Any]:
    """Files of a bucket that the caller may read, 25 at a time."""
    bucket = _bucket(call)
    require(call, Action.READ, bucket)
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    readable = permissions.grants(Action.READ, call.caller)
    all_of_them = call.caller.is_key or bool(set(readable) & set(bucket.permissions))
    found = files.listed(call.connection, bucket, wanted, grants=None if all_of_them else readable)
    return {"total": found.total, "files": [rendered(file) for file in found.files]}


@operations.add(
    "POST",
    "/storage/buckets/{bucketId}/files",
    BUCKET_ID,
    p.custom_id("fileId"),
    permissions.of_file(),
    p.Parameter(name="folder", check=_folder, schema={"type": "string", "const": ""}),
    scopes=("files.write",),
    access=Access.EITHER,
    status=201,
    model="file",
    taken="storage_file_already_exists",
    multipart=True,
    keyed=False,  # the file's id tells a repeated request; the key would not look at its bytes
)
def create_file(call: Call) -> dict[str, Any]:
    """Store a file, at most 25 MB; above 5 MiB in pieces, each with `content-range` and `x-appwrite-id`."""
    bucket = _bucket(call)
    require(call, Action.CREATE, bucket)
    upload = call.upload
    if upload is None:
        raise missing("file")
    new = NewFile(
        id=_upload_id(call) or call["fileId"],
        name=upload.filename,
        permissions=permissions.given_by(call.caller, call["permissions"]),
    )
    header = call.headers.get("content-range")
    if header is None:
        return rendered(file_uploads.store(call.connection, bucket, new, upload.content))
    part, total = sent_part(header)
    if part.size != len(upload.content):
        raise ApiError(
            400,
            "storage_invalid_content_range",
            f"The header content-range speaks of {part.size:,} bytes; the part `file` has {len(upload.content):,}.",
        )
    piece = Piece(start=part.start, total=total, data=upload.content)
    return rendered(file_uploads.add_piece(call.connection, bucket, new, piece))


@operations.add(
    "GET",
    "/storage/buckets/{bucketId}/files/{fileId}",
    BUCKET_ID,
    FILE_ID,
    scopes=("files.read",),
    access=Access.ANYONE,
    model="file",
)
def get_file(call: Call) -> dict[str, Any]:
    """What is known of a file; while it is being sent, how many pieces came without a gap."""
    return rendered(_file(call, Action.READ)[1])


@operations.add(
    "PUT",
    "/storage/buckets/{bucketId}/files/{fileId}",
    BUCKET_ID,
    FILE_ID,
    p.text("name", longest=LONGEST_NAME),
    permissions.of_file(),
    scopes=("files.write",),
    access=Access.EITHER,
    model="file",
    taken="storage_file_incomplete",
)
def update_file(call: Call) -> dict[str, Any]:
    """Change a file's name or permissions; what is not given stays, and so do its bytes and its type."""
    bucket, file = _file(call, Action.UPDATE)
    if call.is_given("name"):
        file_uploads.check_name(bucket, call["name"])
    named = permissions.given_by(call.caller, call["permissions"]) if call.is_given("permissions") else None
    return rendered(files.update(call.connection, bucket, file.id, name=call["name"], permissions=named))


@operations.add(
    "DELETE",
    "/storage/buckets/{bucketId}/files/{fileId}",
    BUCKET_ID,
    FILE_ID,
    scopes=("files.write",),
    access=Access.EITHER,
    status=204,
    taken="storage_file_in_use",
    errors=(409,),
)
def delete_file(call: Call) -> None:
    """Delete a file; refused while an unfinished message uses it."""
    bucket, file = _file(call, Action.DELETE)
    files.remove(call.connection, bucket, file.id)


@operations.add(
    "GET",
    "/storage/buckets/{bucketId}/files/{fileId}/download",
    BUCKET_ID,
    FILE_ID,
    _TOKEN,
    scopes=("files.read",),
    access=Access.ANYONE,
    raw="*/*",
    errors=(416,),
)
def get_file_download(call: Call) -> Answer:
    """A file's bytes, or a range of them, to be saved."""
    return file_bytes.download(call, _readable(call))


@operations.add(
    "GET",
    "/storage/buckets/{bucketId}/files/{fileId}/view",
    BUCKET_ID,
    FILE_ID,
    _TOKEN,
    scopes=("files.read",),
    access=Access.ANYONE,
    raw="*/*",
    errors=(416,),
)
def get_file_view(call: Call) -> Answer:
    """A file's bytes, or a range of them, to be shown."""
    return file_bytes.view(call, _readable(call))


@operations.add(
    "GET",
    "/storage/buckets/{bucketId}/files/{fileId}/preview",
    BUCKET_ID,
    FILE_ID,
    _TOKEN,
    scopes=("files.read",),
    access=Access.ANYONE,
    raw="image/*",
    errors=(416,),
)
def get_file_preview(call: Call) -> Answer:
    """A picture as it is: width, height and the other parameters of a preview change nothing."""
    return file_bytes.preview(call, _readable(call))


def _bucket(call: Call) -> Bucket:
    return buckets.get(call.connection, call.project_id, call["bucketId"])


def _file(call: Call, action: Action) -> tuple[Bucket, FileView]:
    """The bucket and the file, if the caller may do that with it."""
    bucket = _bucket(call)
    require(call, action, bucket)
    file = files.get(call.connection, bucket, call["fileId"])
    require(call, action, bucket, file)
    return bucket, file


def _readable(call: Call) -> FileView:
    """The complete file whose bytes the caller may have: by a permission, or by a link."""
    bucket = _bucket(call)
    if call["token"] and bucket.enabled and file_bytes.is_linked(call):
        return file_bytes.complete(files.get(call.connection, bucket, call["fileId"]))
    return file_bytes.complete(_file(call, Action.READ)[1])


def _upload_id(call: Call) -> str:
    """The id that an earlier answer gave to this upload; empty in its first request."""
    named = call.headers.get("x-appwrite-id", "")
    if not named or named == p.UNIQUE:  # the Python SDK sends back what it was given
        return ""
    if not is_valid_id(named):
        raise invalid("x-appwrite-id", p.ID_TEXT)
    return named


def rendered(file: FileView) -> dict[str, Any]:
    """A file as the SDKs read it."""
    return {
        "$id": file.id,
        "bucketId": file.bucket_id,
        "$createdAt": timestamp(file.created_at),
        "$updatedAt": timestamp(file.updated_at),
        "$permissions": list(file.permissions),
        "name": file.name,
        "folder": "",
        "key": file.name,
        "signature": file.md5.hex(),
        "mimeType": file.content_type,
        "sizeOriginal": file.size_bytes,
        "sizeActual": file.size_bytes,
        "chunksTotal": file.chunks_total,
        "chunksUploaded": file.chunks_uploaded,
        "encryption": False,
        "compression": "none",
    }
