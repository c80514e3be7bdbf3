"""Where the links of the pages lead: files and headings of this project, or the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.blocks import ROOT

_OUTSIDE = ("http://", "https://", "mailto:")
_MARKS = re.compile(r"[^\w\s-]")
_SPACES = re.compile(r"[\s-]+")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link or picture of a page that leads into this project."""

    page: str
    line: int
    target: str

    def fault(self) -> str | None:
        """Why it leads nowhere; None where it leads somewhere."""
        path, _, heading = self.target.partition("#")
        file = (ROOT / self.page).parent / path if path else ROOT / self.page
        if not file.exists():
            return f"{self.page}:{self.line}: there is no {self.target}"
        if heading and file.suffix == ".md" and heading not in headings(file.resolve().relative_to(ROOT).as_posix()):
            return f"{self.page}:{self.line}: {path or self.page} has no heading #{heading}"
        return None


def links(page: str) -> Iterator[Link]:
    """Every link and picture of the page that is not to the world outside."""
    for line, token in _inline(page):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target and not str(target).startswith(_OUTSIDE):
                yield Link(page=page, line=line, target=str(target))


def inline_code(page: str) -> Iterator[tuple[int, str]]:
    """(line, text) of what stands in backticks."""
    for line, token in _inline(page):
        yield from ((line, child.content) for child in token.children or () if child.type == "code_inline")


@cache
def headings(page: str) -> frozenset[str]:
    """The anchors of a page's headings, as MkDocs makes them."""
    tokens = _tokens(page)
    found: list[str] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(child.content for child in tokens[number + 1].children or ())
            anchor = _SPACES.sub("-", _MARKS.sub("", words).strip().lower())
            found.append(f"{anchor}_{found.count(anchor)}" if anchor in found else anchor)
    return frozenset(found)


def _inline(page: str) -> Iterator[tuple[int, Token]]:
    line = 1
    for token in _tokens(page):
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline":
            yield line, token


@cache
def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
