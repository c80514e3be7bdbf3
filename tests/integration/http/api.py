"""The HTTP API on a real socket: uvicorn in a thread, the embedded database and broker behind it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from sqlalchemy import Engine

from messaging.console.app import create_app
from messaging.http.slow_clients import PatientProtocol
from messaging.settings import Settings
from messaging.store import api_keys, projects
from messaging.store.engine import open_engine
from messaging.vault import Vault

SECRET = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 120.0
"""How long a test waits for an answer that is certain to come, on however busy a machine."""


def query(method: str, attribute: str | None = None, *values: Any) -> str:
    """One of `queries[]`, as the SDKs write it; `and` and `or` take other queries as values."""
    if method in {"and", "or"}:
        values = tuple(json.loads(value) for value in values)
    said: dict[str, Any] = {"method": method}
    if attribute is not None:
        said["attribute"] = attribute
    if values:
        said["values"] = list(values)
    return json.dumps(said)


@dataclass
class Api:
    """A running API, and a client that speaks with an API key of its project."""

    url: str
    """Ends in /v1."""
    project: str
    key: str
    engine: Engine
    vault: Vault
    settings: Settings
    client: httpx.Client = field(repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        queries: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        key: bool = True,
        **params: str,
    ) -> httpx.Response:
        """One request; a body is sent as JSON, DELETE with `{}` as the SDKs do."""
        if body is None and method == "DELETE":
            body = {}
        sent = {"x-appwrite-project": self.project}
        if key:
            sent["x-appwrite-key"] = self.key
        sent |= dict(headers or {})
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        asked: list[tuple[str, str | int | float | bool | None]] = list(params.items())
        asked += [(f"queries[{number}]", text) for number, text in enumerate(queries)]
        return self.client.request(method, self.url + path, content=content, params=asked, headers=sent)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of an answer that must be a success; None for an empty one."""
        answer = self.call(method, path, body, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """(status, type) of an answer that must be an error with a body the SDKs can parse."""
        answer = self.call(method, path, body, **more)
        assert answer.is_error, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"].startswith("application/json")
        error = answer.json()
        assert error["code"] == answer.status_code
        assert error["message"]
        assert error["version"]
        return answer.status_code, str(error["type"])

    def new_key(self, *scopes: str) -> str:
        """The secret of another key of the project."""
        with self.engine.begin() as connection:
            return api_keys.create(connection, projects.find(connection, self.project), name="t", scopes=scopes)[1]


def listener() -> socket.socket:
    """A socket on a free port of loopback, held from now on: nobody else can take the port before a server listens."""
    # with its protocol named: else asyncio leaves Nagle's algorithm on, and each answer waits for a delayed ACK
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.bind(("127.0.0.1", 0))
    return held


@contextmanager
def running_api(database_url: str, broker_url: str, **settings: Any) -> Iterator[Api]:
    """The API on a free port, with a project `default` and a key for it."""
    chosen = Settings.load({}, database_url=database_url, broker_url=broker_url, secret_key=SECRET, **settings)
    engine = open_engine(chosen, role="test")
    with engine.begin() as connection:
        project = projects.ensure(connection, "default")
        _, key = api_keys.create(connection, project, name="tests")
    listening = listener()
    port = listening.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(chosen),
            log_level="warning",
            access_log=False,
            http=PatientProtocol,
            ws="none",
            timeout_keep_alive=600,  # else a client may ask at the moment when its idle connection is closed
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],), name="api")
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not server.started:
            assert thread.is_alive(), "the API did not start"
            assert time.monotonic() < deadline, "the API did not start in time"
            time.sleep(0.01)
        with httpx.Client(timeout=PATIENCE_S) as client:
            yield Api(
                url=f"http://127.0.0.1:{port}/v1",
                project="default",
                key=key,
                engine=engine,
                vault=Vault(SECRET),
                settings=chosen,
                client=client,
            )
    finally:  # the thread would keep the tests from ending
        server.should_exit = True
        thread.join(PATIENCE_S)
        listening.close()
        engine.dispose()
