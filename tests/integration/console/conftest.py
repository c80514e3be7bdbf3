"""One console per test module, on a database of its own, with an operator of each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.console.browser import Browser, signed_in
from tests.integration.http.api import Api, running_api
from tests.integration.road import Road


@pytest.fixture(scope="module")
def world(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """The stages of the road on the console's database; its project `default` is empty at first."""
    made = Road(postgres_url, valkey_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(world: Road, postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The running API with the console; it comes after `world`, which empties the database."""
    assert world.project_id
    with running_api(postgres_url, valkey_url) as running:
        yield running


@pytest.fixture(scope="module")
def admin(api: Api) -> Iterator[Browser]:
    """Somebody who may do everything."""
    browser = signed_in(api, "admin")
    yield browser
    browser.client.close()


@pytest.fixture(scope="module")
def operator(api: Api) -> Iterator[Browser]:
    """Somebody who may send."""
    browser = signed_in(api, "operator")
    yield browser
    browser.client.close()


@pytest.fixture(scope="module")
def viewer(api: Api) -> Iterator[Browser]:
    """Somebody who may look."""
    browser = signed_in(api, "viewer")
    yield browser
    browser.client.close()
