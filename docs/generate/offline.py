"""Whether the built site loads anything from elsewhere: `python -m docs.generate.offline build/site`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
_LINKS = frozenset({"stylesheet", "preload", "preconnect", "icon", "modulepreload", "dns-prefetch"})


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = given.get(_LOADS.get(tag, "")) or ""
        if tag == "link" and _LINKS & set((given.get("rel") or "").split()):
            loads = given.get("href") or ""
        if loads.startswith(("http:", "https:", "//")):
            self.loads.append(loads)


def faults(site: Path) -> Iterator[str]:
    """A sentence for each thing that a page of `site` loads from another host."""
    for file in sorted(site.rglob("*.html")):
        page = _Page()
        page.feed(file.read_text(encoding="utf-8"))
        yield from (f"{file}: loads {address}" for address in page.loads)


def main(arguments: list[str]) -> int:
    """0, or 1 with the faults on stderr."""
    found = list(faults(Path(arguments[0])))
    for fault in found:
        print(fault, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
