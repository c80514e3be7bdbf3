"""What the tests of buckets and files share: sending forms, pictures, and somebody who has signed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.integration.http.api import Api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)
PIECE = 5 * 1024 * 1024


def bucket(api: Api, bucket_id: str, **settings: Any) -> str:
    """The id of a new bucket."""
    return str(api.ok("POST", "/storage/buckets", {"bucketId": bucket_id, "name": bucket_id, **settings})["$id"])


def send(
    api: Api,
    bucket_id: str,
    file_id: str,
    data: bytes,
    *,
    name: str = "a.txt",
    permissions: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    key: bool = True,
    **fields: str,
) -> httpx.Response:
    """The answer to one request with a file, as a form."""
    sent = {"x-appwrite-project": api.project} | ({"x-appwrite-key": api.key} if key else {}) | dict(headers or {})
    said: dict[str, Any] = {"fileId": file_id, **fields}
    if permissions is not None:
        said["permissions[]"] = list(permissions)
    return api.client.post(
        f"{api.url}/storage/buckets/{bucket_id}/files", data=said, files={"file": (name, data)}, headers=sent
    )


def stored(api: Api, bucket_id: str, file_id: str, data: bytes, **more: Any) -> dict[str, Any]:
    """The file that an answer describes, which must be a success."""
    answer = send(api, bucket_id, file_id, data, **more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """(status, type) of an answer that must be an error."""
    assert answer.is_error, answer.text[:200]
    error = answer.json()
    assert error["code"] == answer.status_code
    return answer.status_code, str(error["type"])


def piece(start: int, data: bytes, total: int) -> tuple[bytes, dict[str, str]]:
    """The bytes of the piece that begins at `start`, and the header that says so."""
    end = min(start + PIECE, total)
    return data[start:end], {"content-range": f"bytes {start}-{end - 1}/{total}"}


def signed_in(api: Api, user_id: str) -> dict[str, str]:
    """Headers of a new user's session."""
    api.ok("POST", "/users", {"userId": user_id})
    session = api.ok("POST", f"/users/{user_id}/sessions")
    return {"x-appwrite-session": session["secret"]}
