"""Whether a program printed what a page says it prints: numbers, ids and times may differ."""

from __future__ import annotations

import re

_ANY = "…"
_SHORTEST_ID = 16
_VARIES = re.compile(
    r"…"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"  # a uuid
    r"|\b(?=[0-9a-z]*[0-9])[0-9a-f]{16,}\b"  # an id of ours
    r"|\d[\d.,:TZ+-]*"  # numbers and times
)


def missing(page_says: str, printed: str) -> str | None:
    """The first line of what the page says that was not printed after the line before it; None where all were."""
    left = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in page_says.splitlines():
        wanted = " ".join(line.split())
        if wanted in {"", _ANY}:
            continue
        pattern = re.compile(_pattern(wanted))
        if not any(pattern.fullmatch(found) for found in left):
            return wanted
    return None


def _pattern(line: str) -> str:
    """Of a line whose words have one space between them; an `…` that is a word stands for any number of words."""
    pattern, gap = "", ""  # nothing stands before the first word, and an `…` there brings its own space
    for word in line.split(" "):
        if word == _ANY:
            pattern += r"(?: .*)?" if pattern else r"(?:.* )?"
            continue
        pattern += gap + _word(word)
        gap = " "
    return pattern


def _word(word: str) -> str:
    parts, at = [], 0
    for match in _VARIES.finditer(word):
        parts.append(re.escape(word[at : match.start()]))
        if match.group() == _ANY:
            parts.append(".*")
        elif match.group()[0].isdigit() and len(match.group()) < _SHORTEST_ID:
            parts.append(r"\d[\d.,:TZ+-]*")
        else:
            parts.append(r"[\w.-]+")
        at = match.end()
    return "".join((*parts, re.escape(word[at:])))
