"""A page in Debian's Chromium, on an origin of its own, with the web SDK in it: tests hand it lines of JavaScript."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.node import packages, unwrapped
from tests.system.programs import end, program

_TASK_S = 300.0
"""A page that got no task gives up, so it is asked to wait for longer than any test takes between two."""
_ANSWER_S = 150.0
"""The first answer comes when the browser has started, which takes a busy machine its time."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers have little of it
    "--no-proxy-server",  # whatever the environment says, every host is this machine
)

_PAGE = """<!doctype html>
<html lang="en">
<title>A shop</title>
<link rel="icon" href="data:,">
<script src="/sdk.js"></script>
<script type="module">
const AsyncFunction = (async () => {}).constructor;
const answer = async ({ snippet, given }) => {
    const client = new Appwrite.Client().setEndpoint(given.endpoint).setProject(given.project);
    const scope = {
        ...Appwrite, client, account: new Appwrite.Account(client), messaging: new Appwrite.Messaging(client), ...given,
    };
    try {
        return { value: await new AsyncFunction(...Object.keys(scope), snippet)(...Object.values(scope)) };
    } catch ({ name, message, code, type }) {
        return { error: { name, message, code, type } };
    }
};
for (;;) {
    const task = await (await fetch('/task', { method: 'POST' })).json();
    if (task.reload) {
        location.reload();
        break;
    }
    await fetch('/answer', { method: 'POST', body: JSON.stringify(await answer(task)) });
}
</script>
"""


@dataclass
class Page:
    """The open page."""

    endpoint: str
    project: str
    _tasks: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    _answers: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)

    def run(self, snippet: str, **given: Any) -> Any:
        """What the body of an async function returns in the page; raises `JsError`.

        `client`, `account` and `messaging` are new each time, as in a page just opened; cookies and storage are kept.
        """
        self._tasks.put({"snippet": snippet, "given": {"endpoint": self.endpoint, "project": self.project, **given}})
        try:
            return unwrapped(self._answers.get(timeout=_ANSWER_S))
        except queue.Empty:
            pytest.fail(f"the page does not answer to: {snippet}")

    def reload(self) -> None:
        """Load the page again, as a visitor who comes back."""
        self._tasks.put({"reload": True})

    def next_task(self) -> dict[str, Any]:
        """The next thing for the page to do."""
        return self._tasks.get(timeout=_TASK_S)

    def answered(self, answer: dict[str, Any]) -> None:
        """Take what the page says."""
        self._answers.put(answer)


def _handler(page: Page, sdk: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/sdk.js":
                self._send(sdk, "text/javascript")
            else:
                self._send(_PAGE.encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            if self.path == "/answer":
                page.answered(json.loads(body))
                self._send(b"{}", "application/json")
                return
            try:
                task = page.next_task()
            except queue.Empty:
                return
            self._send(json.dumps(task).encode(), "application/json")

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
            """Say nothing."""

    return Handler


@contextmanager
def open_page(endpoint: str, project: str, home: Path, *, host: str) -> Iterator[Page]:
    """A page on `http://host:port` in a Chromium that has never been used; any host leads to this machine."""
    page = Page(endpoint, project)
    home.mkdir(exist_ok=True)
    sdk = (packages() / "appwrite" / "dist" / "iife" / "sdk.js").read_bytes()
    with _serving(page, sdk) as port, (home / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(
            [
                program("chromium"),
                *_FLAGS,
                f"--user-data-dir={home / 'profile'}",
                f"--host-resolver-rules=MAP {host} 127.0.0.1",
                f"http://{host}:{port}/",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield page
        finally:
            end(browser)


@contextmanager
def _serving(page: Page, sdk: bytes) -> Iterator[int]:
    """The port where the page is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(page, sdk))
    server.daemon_threads = True  # one waits for the next task when the browser ends
    thread = threading.Thread(target=server.serve_forever, name="page")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
