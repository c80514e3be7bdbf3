"""The quarantine: what ended one worker after the other and was put aside."""

from __future__ import annotations

from messaging.console.answers import Answer, Done, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit

pages = Pages()
_LIMIT = 50


@pages.get("/p/{project}/quarantine")
def listed(visit: Visit) -> Answer:
    """What was put aside, the newest first."""
    after = visit.query.get("after", "")
    found = visit.messaging.quarantine.list(limit=_LIMIT + 1, after=after or None)
    return Page("quarantine.html", {"entries": found[:_LIMIT], "more": len(found) > _LIMIT})


@pages.post("/p/{project}/quarantine/{entry}/replay", action="quarantine.replay")
def replay(visit: Visit) -> Answer:
    """Try it again."""
    entry = visit.places["entry"]
    deliveries = visit.messaging.quarantine.replay(entry)
    said = f"{deliveries:,} deliveries are queued again." if deliveries else "It is tried again."
    notice = f"{said} What still ends its worker comes back here."
    return Done(f"{visit.home}/quarantine", notice, entry, {"deliveries": deliveries})
