"""The few figures of the README, from the table that the benchmarks write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from docs.generate.markdown import table

ROOT = Path(__file__).resolve().parents[2]

BEGIN = "<!-- figures: written by `python -m docs.generate` from benchmarks/README.md -->"
END = "<!-- end of figures -->"

SHOWN: Mapping[str, str] = {
    "push over APNs, end to end": "push over APNs, each recipient recorded",
    "push to 1,000,000, from the send to the last row": "a push to a million devices, until its last row is settled",
    "SendGrid, whole road": "email through SendGrid",
    "Twilio, whole road": "text messages through Twilio",
    "one message, during a campaign, p99": "a password code while a campaign goes out, 99 of 100 within",
    "push to one user, durable when answered": "messages to one user accepted over HTTP, committed when answered",
    "push worker, most memory": "memory of a push worker",
}
"""Rows of the benchmarks' table, and what the README calls them."""


def page() -> str:
    """The README with the figures as they are; raises `LookupError` for one that the benchmarks do not have."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise LookupError(f"README.md has no lines {BEGIN!r} and {END!r} between which the figures go.")
    measured = _measured()
    rows = []
    for name, words in SHOWN.items():
        if name not in measured:
            raise LookupError(f"benchmarks/README.md has no row '{name}'.")
        rows.append((words, measured[name]))
    return f"{before}{BEGIN}\n\n{table(('what', 'measured'), rows)}\n{END}{after}"


def _measured() -> dict[str, str]:
    """What the benchmarks' tables say, by the name of the row."""
    found: dict[str, str] = {}
    for line in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) > 1:
            found.setdefault(cells[0], cells[1])
    return found
