"""A file's bytes as an answer: its type, its name, a range of it, and nothing that could run in our origin."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from sqlalchemy import Connection

from messaging import file_links
from messaging.errors import FileError, NotFoundError
from messaging.file_types import UNKNOWN
from messaging.http.file_range import Part, wanted_part
from messaging.http.operations import Answer, Call, Stream
from messaging.http.page_safety import FILE_POLICY
from messaging.store import file_chunks
from messaging.store.file_chunks import READ_BYTES, READ_CHUNKS
from messaging.store.files import FileView

_JSON = "application/json"
"""A type that the SDKs take for an answer of the API: they would parse the file instead of handing it over."""
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_SAFE = (
    # a page, an SVG or a script that somebody stored is a document of no origin, and nothing in it runs or loads
    ("Content-Security-Policy", FILE_POLICY),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Cache-Control", "private, no-cache"),
)


def download(call: Call, file: FileView) -> Answer:
    """The file to be saved."""
    return _answer(call, file, "attachment", UNKNOWN if file.content_type == _JSON else file.content_type)


def view(call: Call, file: FileView) -> Answer:
    """The file to be shown."""
    return _answer(
        call, file, "inline", "text/plain; charset=utf-8" if file.content_type == _JSON else file.content_type
    )


def preview(call: Call, file: FileView) -> Answer:
    """The picture; raises `FileError` for anything else."""
    if file.content_type not in _PICTURES:
        raise FileError(
            "storage_file_type_unsupported",
            f"The file '{file.id}' is {file.content_type}; only pictures have a preview. Ask for its view.",
        )
    return view(call, file)


def is_linked(call: Call) -> bool:
    """Whether the call carries a token of ours for the file it asks for."""
    return file_links.opens(call.vault, call["token"], call.caller.project, call["bucketId"], call["fileId"])


def complete(file: FileView) -> FileView:
    """The file; raises `NotFoundError` while pieces of it are missing."""
    if not file.is_complete:
        raise NotFoundError("file", file.id)
    return file


def disposition(how: str, name: str) -> str:
    """`Content-Disposition` for a file called `name`, in any letters (RFC 6266 §4.3, RFC 8187)."""
    plain = "".join(letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in name)
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def _answer(call: Call, file: FileView, how: str, content_type: str) -> Answer:
    etag = f'"{file.sha256.hex()}"'
    headers = [
        *_SAFE,
        ("Content-Disposition", disposition(how, file.name)),
        ("Accept-Ranges", "bytes"),
        ("ETag", etag),
    ]
    if _is_known(call.headers.get("if-none-match", ""), etag):
        return Answer(content=b"", content_type=content_type, status=HTTPStatus.NOT_MODIFIED, headers=headers)
    asked = call.headers.get("range")
    if call.headers.get("if-range", etag) != etag:
        asked = None  # the reader has the beginning of another file (RFC 9110 §13.1.5)
    part = wanted_part(asked, file.size_bytes)
    status = HTTPStatus.OK
    if part is None:
        part = Part(0, file.size_bytes)
    else:
        status = HTTPStatus.PARTIAL_CONTENT
        headers.append(("Content-Range", f"bytes {part.start}-{part.end - 1}/{file.size_bytes}"))
    return Answer(stream=_stream(file, part), content_type=content_type, status=status, headers=headers)


def _is_known(header: str, etag: str) -> bool:
    """Whether an `If-None-Match` names the file."""
    return header.strip() == "*" or etag in {each.strip().removeprefix("W/") for each in header.split(",")}


def _stream(file: FileView, part: Part) -> Stream:
    first = part.start // READ_BYTES
    pieces = -(-part.end // READ_BYTES) - first

    def read(connection: Connection, number: int) -> bytes:
        begins = (first + number) * READ_BYTES
        data = file_chunks.read(connection, file.number, first=(first + number) * READ_CHUNKS)
        expected = min(READ_BYTES, file.size_bytes - begins)
        if len(data) != expected:
            raise NotFoundError("file", file.id)  # deleted while it was being read
        return data[max(0, part.start - begins) : part.end - begins]

    return Stream(size=part.size, pieces=pieces, read=read)
