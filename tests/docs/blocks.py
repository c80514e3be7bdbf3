"""The code blocks of the pages, in order, each with what the comments before it say.

A page is one session: its blocks are run in order. What a reader does not see stands in HTML comments:

    <!-- not run: REASON -->        the next block is checked, and not run
    <!-- exits 1 -->                the next block ends with that status
    <!-- until -->                  the next block is repeated until it ends well and prints what is said below it
    <!-- setup                      a block of shell that readers need not see
    messaging topic add news
    -->

A block in `text` is what the block before it prints. Numbers, ids and times may differ in it, and `…` stands for
anything. Libraries that run examples know Python and single commands, and no session of a shell, so this is our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

LANGUAGES = frozenset({"console", "csv", "env", "js", "json", "python", "sh", "text", "toml", "yaml"})
"""Those a block may be in: what is none of them can't be run or read by a test."""
RUN = frozenset({"console", "js", "python", "sh"})

_SAYS = re.compile(r"<!--\s*(not run:|exits|until|setup)(.*?)-->", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a page, or a setup that readers do not see."""

    page: str
    """The page's path from the project's folder."""
    line: int
    language: str
    text: str
    not_run: str | None = None
    """Why it is not run; None where it is."""
    exits: int = 0
    until: bool = False
    hidden: bool = False

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether a session runs it."""
        return self.not_run is None and self.language in RUN


@cache
def pages() -> tuple[str, ...]:
    """The README and every page of the documentation, by path from the project's folder."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
    return ("README.md", *found)


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, setups included, in order."""
    return tuple(_found(page, (ROOT / page).read_text(encoding="utf-8")))


def all_blocks() -> list[Block]:
    """Those of all pages."""
    return [block for page in pages() for block in blocks(page)]


def _found(page: str, markdown: str) -> Iterator[Block]:
    said: dict[str, str] = {}
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        line = (token.map or [0])[0] + 1
        if token.type == "html_block":
            for word, rest in _SAYS.findall(token.content):
                if word == "setup":
                    yield Block(page=page, line=line, language="sh", text=rest.strip() + "\n", hidden=True)
                else:
                    said[word] = " ".join(rest.split())
        elif token.type in {"fence", "code_block"}:
            yield Block(
                page=page,
                line=line,
                language=token.info.split()[0] if token.info.split() else "",
                text=token.content,
                not_run=said.get("not run:"),
                exits=int(said.get("exits", "0")),
                until="until" in said,
            )
            said = {}
