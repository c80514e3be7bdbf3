"""Read a `multipart/form-data` request: text fields, and one file."""

from __future__ import annotations

import json
from email.message import Message
from http import HTTPStatus
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from messaging.http.errors import ApiError
from messaging.http.operations import Upload

LARGEST_UPLOAD_BYTES = 6 * 1024 * 1024
"""Of one request: the SDKs send a larger file in pieces of 5 MiB."""
_MOST_FIELDS = 200
_LONGEST_FIELD_BYTES = 64 * 1024
"""Of a field that is no file."""


async def read_upload(request: Request) -> tuple[dict[str, Any], Upload | None]:
    """The fields and the file; raises `ApiError`. A list is sent as `name[]` fields or as JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "general_bad_request", "Send the file as multipart/form-data, in the part `file`."
        )
    charset = Message()
    charset["content-type"] = request.headers["content-type"]
    if str(charset.get_param("charset", "utf-8")).lower() not in {"utf-8", "utf8"}:
        raise ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", "Send the form in UTF-8.")
    said = request.headers.get("content-length", "")
    if not (said.isascii() and said.isdigit()) or int(said) > LARGEST_UPLOAD_BYTES:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "storage_invalid_file_size",
            f"One request brings at most {LARGEST_UPLOAD_BYTES:,} bytes, and says how many (Content-Length)."
            " Send a larger file in pieces, as the SDKs do.",
        )
    given: dict[str, Any] = {}
    upload: Upload | None = None
    try:
        async with request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD_BYTES) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    upload = await _file(name, value)
                elif "[" in name:
                    _append(given, name.partition("[")[0], value)
                else:
                    given[name] = _list_or_text(value)
    except HTTPException as error:  # what Starlette makes of a form it can't read
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "general_bad_request", f"The form can't be read: {error.detail}"
        ) from None
    except ClientDisconnect:
        raise ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", "The request ended in its middle.") from None
    return given, upload


async def _file(part: str, value: UploadFile) -> Upload:
    if part != "file":
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "storage_invalid_file",
            f"The file is in the part '{part[:40]}' of the form; send it in the part `file`.",
        )
    return Upload(
        filename=value.filename or "",
        content_type=value.content_type or "application/octet-stream",
        content=await value.read(),
    )


def _append(given: dict[str, Any], name: str, value: str) -> None:
    listed = given.setdefault(name, [])
    if not isinstance(listed, list):
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "general_bad_request", f"The form has '{name[:40]}' both as a text and as a list."
        )
    listed.append(value)


def _list_or_text(value: str) -> Any:  # noqa: ANN401
    if not value.startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) else value
