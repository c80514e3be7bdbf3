"""Links lead somewhere, and every page can be found."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.generate.offline import faults
from tests.docs.blocks import DOCS, ROOT, pages
from tests.docs.links import Link, headings, links

SITE = ROOT / "mkdocs.yml"


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_leads_to_a_file_and_its_heading(page: str) -> None:
    """Links to other places are not followed: nothing here needs the network."""
    lost = [fault for link in links(page) if (fault := link.fault())]
    assert not lost, "\n".join(lost)


def test_a_link_that_leads_nowhere_is_found() -> None:
    """The check above can fail."""
    assert Link(page="README.md", line=1, target="docs/nowhere.md").fault() is not None
    assert Link(page="README.md", line=1, target="#nothing").fault() is not None
    assert "what-is-promised-and-what-is-not" in headings("docs/explanation/delivery-guarantee.md")


def test_every_page_is_in_the_navigation_once() -> None:
    """A page that nobody can reach is not read; one named twice is found in the wrong place."""
    named = list(_named(_site()["nav"]))
    here = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(name for name in named if name not in BESIDE) == here
    assert all((ROOT / name).is_file() for name in BESIDE)


BESIDE = {"CHANGELOG.md", "benchmarks/README.md"}
"""Pages that lie elsewhere and are put beside the others when the site is built."""


def test_the_site_needs_nothing_from_elsewhere() -> None:
    """No fonts, no scripts, no styles of other hosts."""
    site = _site()
    assert site["theme"]["font"] is False
    assert "http" not in str(site.get("extra_javascript", "")) + str(site.get("extra_css", ""))
    assert site["strict"] is True


def _site() -> Any:
    read_yaml: Any = importlib.import_module("yaml").safe_load
    return read_yaml(Path(SITE).read_text(encoding="utf-8"))


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for inner in nav.values():
            yield from _named(inner)
    else:
        for inner in nav:
            yield from _named(inner)


def test_a_page_that_loads_something_from_elsewhere_is_found(tmp_path: Path) -> None:
    """`make docs` looks at the built site with this; a link to another place loads nothing."""
    (tmp_path / "well.html").write_text('<a href="https://example.org">there</a><script src="own.js"></script>')
    assert list(faults(tmp_path)) == []
    (tmp_path / "page.html").write_text('<script src="https://cdn.example.org/a.js"></script>')
    (found,) = faults(tmp_path)
    assert "cdn.example.org" in found
