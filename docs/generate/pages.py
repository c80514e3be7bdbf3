"""Which pages are made, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import command_line, figures, http, metrics, providers, reasons, settings, statuses, tasks

ROOT = Path(__file__).resolve().parents[2]

PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": figures.page,
    "docs/reference/settings.md": settings.page,
    "docs/reference/command-line.md": command_line.page,
    "docs/reference/tasks.md": tasks.page,
    "docs/reference/http-operations.md": http.page,
    "docs/reference/metrics.md": metrics.page,
    "docs/reference/statuses.md": statuses.page,
    "docs/reference/reasons.md": reasons.page,
    "docs/reference/provider-kinds.md": providers.page,
}
"""Paths from the project's folder."""
