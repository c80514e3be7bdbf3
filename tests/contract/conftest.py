"""The sandbox the contract is tried against, and each adapter in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from tests.contract.subject import Subject
from tests.contract.subjects import SUBJECTS
from tests.integration import push_sandbox
from tests.integration.http2_peer import Certificate, make_certificate


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A sandbox in a process of its own."""
    with push_sandbox.sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What our own servers show."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each adapter."""
    return SUBJECTS[request.param]
