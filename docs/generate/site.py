"""What MkDocs calls while it builds the site: pages that lie elsewhere in the project are put beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_PAGES = ("CHANGELOG.md", "benchmarks/README.md")


# MkDocs is installed by `make docs` only, so its classes have no names here.


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401
    """The files of the site, with the changes, the benchmarks and their pictures."""
    from mkdocs.structure.files import File  # noqa: PLC0415  only `make docs` installs it

    charts = (path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "benchmarks" / "charts").glob("*.svg")))
    for name in (*_PAGES, *charts):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401  (as above)
    """The page with links as they are once everything lies below one folder."""
    name = page.file.src_uri
    if name == "CHANGELOG.md":
        return markdown.replace("](docs/", "](")
    if name == "benchmarks/README.md":
        return markdown.replace("](../docs/", "](../")
    return markdown.replace("](../../", "](../")
