"""Files are read and rendered; nothing is connected to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.helm import Helm


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    """Helm, where there is a build of its engine for this processor."""
    pytest.importorskip("helm_python", reason="there is no build of Helm's engine for this processor")
    with Helm() as found:
        yield found
