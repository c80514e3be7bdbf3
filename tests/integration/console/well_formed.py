"""Whether a page is one that a browser, a keyboard and a screen reader can work with."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "area", "wbr", "col"})
_EMPTY_SVG = frozenset({"rect", "circle", "path", "line", "polyline", "polygon"})
_UNLABELLED = frozenset({"hidden", "submit", "button"})
_HEADINGS = ("h1", "h2", "h3", "h4")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.labelled: set[str] = set()
        self.inputs: list[tuple[str, bool]] = []
        self.headings: list[int] = []
        self.references: list[str] = []
        self.form: dict[str, str | None] | None = None
        self.has_token = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if len(given) != len(attrs):
            self.problems.append(f"<{tag}> says something twice: {attrs}")
        self._names(tag, given)
        if tag in _HEADINGS:
            self.headings.append(int(tag[1]))
        if tag == "img" and "alt" not in given:
            self.problems.append("a picture without words")
        if tag == "iframe" and not given.get("title"):
            self.problems.append("a frame without a title")
        if tag == "form":
            if self.form is not None:
                self.problems.append("a form in a form")
            self.form, self.has_token = given, False
        self._field(tag, given)
        if tag not in _VOID and tag not in _EMPTY_SVG:
            self.open.append(tag)

    def _names(self, tag: str, given: dict[str, str | None]) -> None:
        if given.get("id"):
            self.ids[str(given["id"])] += 1
        for name in ("aria-labelledby", "aria-describedby"):
            self.references += (given.get(name) or "").split()
        if tag == "label" and given.get("for"):
            self.labelled.add(str(given["for"]))

    def _field(self, tag: str, given: dict[str, str | None]) -> None:
        if tag not in {"input", "select", "textarea"}:
            return
        if given.get("name") == "csrf" and given.get("value"):
            self.has_token = True
        if given.get("type") not in _UNLABELLED:
            known = bool(given.get("aria-label")) or "label" in self.open
            self.inputs.append((given.get("id") or f"name={given.get('name')}", known))

    def handle_endtag(self, tag: str) -> None:
        if tag in _EMPTY_SVG:
            return
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> where <{self.open[-1] if self.open else 'nothing'}> is open")
            return
        self.open.pop()
        if tag == "form":
            if self.form is not None and self.form.get("method") == "post" and not self.has_token:
                self.problems.append(f"a form without its token: {self.form}")
            self.form = None


def problems(html: str) -> list[str]:
    """What is wrong with a page, or with a part of one."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    found = reader.problems + [f"<{tag}> is never closed" for tag in reader.open]
    found += [f"the id {name} is there twice" for name, count in reader.ids.items() if count > 1]
    bare = [id_ for id_, known in reader.inputs if not known and id_ not in reader.labelled]
    found += [f"the field {id_} has no label" for id_ in bare]
    if "<html" in html:
        found += [f"nothing has the id {name}" for name in reader.references if name not in reader.ids]
        if reader.headings[:1] != [1] or reader.headings.count(1) != 1:
            found.append(f"a page begins with its one heading: {reader.headings}")
        pairs = zip(reader.headings, reader.headings[1:], strict=False)
        found += [f"a heading {after} below a heading {before}" for before, after in pairs if after > before + 1]
    return found
