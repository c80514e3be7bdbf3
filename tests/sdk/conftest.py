"""An API for the SDKs to speak to, and the SDKs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.api import Api, running_api
from tests.sdk.node import Node, running_node


@pytest.fixture(scope="module")
def api(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The API on a socket, its database empty; nothing delivers."""
    with running_api(postgres_url, valkey_url) as running:
        yield running


@pytest.fixture(scope="module")
def node(api: Api) -> Iterator[Node]:
    """Node with the SDKs, speaking to that API with a server's key."""
    with running_node(api.url, api.project, api.key) as running:
        yield running
