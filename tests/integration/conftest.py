"""The road against the embedded servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.road import Road


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """An empty project, with the stages of the road at hand."""
    made = Road(postgres_url, valkey_url)
    yield made
    made.close()
