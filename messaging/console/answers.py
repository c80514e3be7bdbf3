"""What a page answers with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """A template with its values."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK
    frame: bool = False
    """A document shown inside of a page, which may hold somebody's HTML: it runs nothing and loads nothing."""


@dataclass(frozen=True, slots=True)
class Done:
    """Something was done: go to `path`, where `notice` is said first. It is written into the audit log."""

    path: str
    notice: str = ""
    subject: str = ""
    """Id of what it was done to."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For the audit log; no secrets, and no recipient's address."""
    action: str | None = None
    """What the audit log calls it where the route's own word does not fit; empty where nothing was changed."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file, sent while it is being made. Where its route has an action, it is written into the audit log before."""

    name: str
    chunks: Iterable[str]
    kind: str = "text/csv; charset=utf-8"
    subject: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


Answer = Page | Done | Download
