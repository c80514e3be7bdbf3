"""Input nobody means well with, and what must hold for every answer to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from messaging.http import openapi
from messaging.http.examples import example
from messaging.http.operations import Operation
from messaging.http.parameters import Parameter
from tests.integration.http.api import PATIENCE_S, Api

SQL = "x'; DROP TABLE topics; -- \" OR 1=1 /* \\ %s %(a)s :b $1 {} ` \x1a"
TEXTS: Mapping[str, str] = {
    "sql": SQL,
    "nul": "a\0b",
    "half a pair": "a\ud800b",
    "right to left": "a\u202eb\ufeff\U0001f9e8",
    "lines": "a\r\nX-Injected: yes\r\n\r\nb",
    "long": "x" * 10_000,
}


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, which is no failure of the server and, if it is an error, one the SDKs can read."""
    assert answer.status_code < 500, f"{answer.request.method} {answer.request.url}: {answer.text[:500]}"
    assert "x-injected" not in answer.headers
    if answer.is_error and answer.request.method != "HEAD":
        refused(answer)
    return answer


def refused(answer: httpx.Response) -> str:
    """The type of an error that has the four fields."""
    assert answer.is_error, answer.text[:500]
    assert answer.headers["content-type"].startswith("application/json")
    error = json.loads(answer.content)
    assert error.keys() == {"message", "code", "type", "version"}
    assert error["code"] == answer.status_code
    assert error["message"]
    return str(error["type"])


def requests_with(operation: Operation, hostile: Any) -> Iterator[tuple[str, str, dict[str, str], Any]]:
    """(name, path, query, body): the operation's example with `hostile` as one parameter, for each in turn."""
    for one in operation.parameters:
        yield one.name, *request_with(operation, one, hostile)
    if operation.listed:
        path, query, body = request_with(operation, None, None)
        for said in (hostile, json.dumps({"method": "equal", "attribute": "$id", "values": [hostile]})):
            yield "queries", path, query | {"queries[0]": str(said).encode(errors="replace").decode()}, body
        text = str(hostile)
        yield "queries", path, query | {"queries[0]": json.dumps({"method": "equal", "attribute": text})}, body
        yield "queries", path, query | {"queries[0]": json.dumps({"method": text, "values": [text]})}, body


def request_with(
    operation: Operation, changed: Parameter | None, hostile: Any
) -> tuple[str, dict[str, str], dict[str, Any] | None]:
    """(path, query, body) of the operation's example with another value for one parameter."""
    path = operation.path
    query: dict[str, str] = {}
    body = openapi.example_body(operation) if openapi.takes_body(operation) else None
    for one in operation.parameters:
        if one.name in operation.places:
            value = hostile if one is changed else example(one.name, one.schema)
            path = path.replace(f"{{{one.name}}}", quote(str(value).encode(errors="replace"), safe="") or "%00")
        elif one is changed and body is not None:
            body[one.name] = [hostile] if one.schema.get("type") == "array" and isinstance(hostile, str) else hostile
            if one.schema.get("type") == "object" and isinstance(hostile, str):
                body[one.name] = {hostile: hostile, "a": [hostile]}
        elif one is changed:
            query[one.name] = str(hostile).encode(errors="replace").decode()
    return path, query, body


def send(api: Api, operation: Operation, path: str, query: Mapping[str, str], body: Any) -> httpx.Response:
    """The answer to such a request, checked. Half pairs go as JSON escapes, as a hostile client would send them."""
    headers = {"x-appwrite-project": api.project, "x-appwrite-key": api.key}
    content = b""
    if body is not None and operation.multipart:
        fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
        return checked(
            api.client.request(
                operation.method,
                api.url + path,
                data={name: value.encode(errors="replace").decode() for name, value in fields.items()},
                files={"file": ("a.txt", b"hello", "text/plain")},
                headers=headers,
            )
        )
    if body is not None:
        content = json.dumps(body).encode()
        headers["content-type"] = "application/json"
    return checked(
        api.client.request(operation.method, api.url + path, params=dict(query), content=content, headers=headers)
    )


def raw(api: Api, request: bytes, *, timeout_s: float = PATIENCE_S) -> tuple[int, bytes]:
    """(status, body) of the answer to these bytes, read until the answer is complete; the request need not be."""
    address = urlsplit(api.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=timeout_s) as connection:
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            assert piece, f"closed after {received!r}"
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(body) < length:
            piece = connection.recv(65536)
            assert piece, "closed in the middle of an answer"
            body += piece
        return status, body


def go_away(api: Api, said: bytes) -> None:
    """Send these bytes and close, without waiting for an answer."""
    address = urlsplit(api.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(said)


def head_of(api: Api, *lines: str, method: str = "POST", path: str = "/messaging/topics") -> bytes:
    """The head of a request with the API's key."""
    own = (f"X-Appwrite-Project: {api.project}", f"X-Appwrite-Key: {api.key}", "Host: localhost")
    return "\r\n".join([f"{method} /v1{path} HTTP/1.1", *own, *lines, "", ""]).encode("latin-1")


def peak_bytes() -> int:
    """The most memory this process had resident since `forget_peak`."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  procfs
        found = next(line for line in status if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024


def forget_peak() -> int:
    """Begin to measure anew; what is resident now."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:  # noqa: PTH123  procfs
        refs.write("5")
    return peak_bytes()
