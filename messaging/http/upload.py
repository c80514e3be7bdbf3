"""Read a `multipart/form-data` request: text fields, and one file."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from messaging.http.errors import ApiError
from messaging.http.operations import Upload

LARGEST_UPLOAD_BYTES = 6 * 1024 * 1024
"""Of one request: the SDKs send a larger file in pieces of 5 MiB."""
_MOST_FIELDS = 200


async def read_upload(request: Request) -> tuple[dict[str, Any], Upload | None]:
    """The fields and the file; raises `ApiError`. A list is sent as `name[]` fields or as JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "general_bad_request", "Send the file as multipart/form-data, in the part `file`."
        )
    said = request.headers.get("content-length", "")
    if not said.isdigit() or int(said) > LARGEST_UPLOAD_BYTES:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "storage_invalid_file_size",
            f"One request brings at most {LARGEST_UPLOAD_BYTES:,} bytes, and says how many (Content-Length)."
            " Send a larger file in pieces, as the SDKs do.",
        )
    try:
        form = await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=LARGEST_UPLOAD_BYTES)
    except MultiPartException as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "general_bad_request", f"The form can't be read: {error.message}"
        ) from None
    given: dict[str, Any] = {}
    upload: Upload | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            upload = Upload(
                filename=value.filename or "",
                content_type=value.content_type or "application/octet-stream",
                content=await value.read(),
            )
        elif "[" in name:
            given.setdefault(name.partition("[")[0], []).append(value)
        else:
            given[name] = _list_or_text(value)
    await form.close()
    return given, upload


def _list_or_text(value: str) -> Any:  # noqa: ANN401
    if not value.startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) else value
