"""Imports of files: begun from a topic or the suppression list, and looked at here until they are done."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack

from messaging.console import import_work
from messaging.console.answers import Answer, Done, Download, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError
from messaging.store import console_imports
from messaging.store.console_imports import ImportKind, ImportView

pages = Pages()
_SHOWN = 100


def begin(visit: Visit, kind: ImportKind, work: import_work.Work, *, subject: str = "") -> Done:
    """Take the file of the form and import it; raises `InvalidArgumentError` for none or another file.

    Raises `ConflictError` while another is being imported.
    """
    sent = visit.files.get("file")
    if sent is None or not sent.filename:
        raise InvalidArgumentError("file", "choose a CSV file")
    import_work.checked_header(sent.file, is_subscribers=kind is ImportKind.SUBSCRIBERS)
    with ExitStack() as until_handed_over:
        file, size = import_work.copied(sent.file)
        until_handed_over.callback(file.close)
        with visit.begin() as connection:
            import_id = console_imports.begin(
                connection,
                visit.project_number,
                kind=kind,
                subject=subject,
                operator=visit.operator.email,
                size_bytes=size,
            )
        import_work.begin(visit.desk.engine, import_id, file, work)
        until_handed_over.pop_all()
    return Done(f"{visit.home}/imports/{import_id}", subject=subject, details={"import": import_id, "bytes": size})


def newest(visit: Visit, kind: ImportKind, *, subject: str = "") -> list[ImportView]:
    """The last imports of that kind into that topic."""
    with visit.begin() as connection:
        return list(console_imports.listed(connection, visit.project_number, kind=kind, subject=subject))


@pages.get("/p/{project}/imports/{import}")
def show(visit: Visit) -> Answer:
    """An import, as far as it is; for htmx, the part that moves."""
    found = _found(visit)
    values = {"found": found, "report": found.report[:_SHOWN]}
    return Page("import_progress.html" if visit.is_partial else "import.html", values)


@pages.get("/p/{project}/imports/{import}/bad-lines.csv")
def bad_lines(visit: Visit) -> Answer:
    """Lines that could not be used, as CSV."""
    found = _found(visit)
    return Download(f"bad-lines-{found.id}.csv", _csv(found))


def _found(visit: Visit) -> ImportView:
    with visit.begin() as connection:
        return console_imports.get(connection, visit.project_number, visit.places["import"])


def _csv(found: ImportView) -> Iterator[str]:
    yield "line,reason\r\n"
    for line, reason in found.report:
        written = io.StringIO()
        csv.writer(written).writerow((line, reason))
        yield written.getvalue()
