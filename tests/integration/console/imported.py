"""Importing a file in the console, and waiting until it is in."""

from __future__ import annotations

import time

from tests.integration.console.browser import Browser, in_words

_WAIT_S = 60.0


def imported(browser: Browser, path: str, content: bytes | str, **fields: str) -> str:
    """The page of the import (below /console) once it has ended."""
    answer = browser.post(path, fields, files={"file": ("people.csv", content, "text/csv")})
    assert answer.status_code == 303, in_words(answer.text)
    page = str(answer.headers["location"]).removeprefix("/console")
    deadline = time.monotonic() + _WAIT_S
    while 'hx-trigger="every 1s"' in browser.get(page, htmx=True).text:
        assert time.monotonic() < deadline, browser.read(page)
        time.sleep(0.05)
    return page
