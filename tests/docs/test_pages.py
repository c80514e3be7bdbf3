"""Every page does what it says: its blocks are run in order against a stack with the providers' stand-ins."""

from __future__ import annotations

import pytest

from tests.docs.blocks import blocks, pages
from tests.docs.session import Session

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.mark.parametrize("page", [page for page in pages() if any(block.is_run for block in blocks(page))])
def test_a_page_does_what_it_says(page: str, session: Session) -> None:
    """Each block ends as the page says, and prints what stands below it."""
    session.run(blocks(page))
