"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def head(title: str, made_from: str) -> str:
    """The beginning of a generated page."""
    return f"<!-- made from {made_from} by `python -m docs.generate`: change that, not this page -->\n\n# {title}\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells may hold Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """`text` in backticks; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def codes(texts: Iterable[object]) -> str:
    """Several of them."""
    return " ".join(code(text) for text in texts)


def sentence(text: str) -> str:
    """`text` with its first letter large, unless it begins with an address or a name of code."""
    first = text.split(" ", 1)[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if first.replace("-", "").isalpha() else text


def document(*parts: str) -> str:
    """The parts with an empty line between them."""
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _cell(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")
