"""One API per test module, on a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.api import Api, running_api


@pytest.fixture(scope="module")
def api(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The running API."""
    with running_api(postgres_url, valkey_url) as running:
        yield running
