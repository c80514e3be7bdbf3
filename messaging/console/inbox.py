"""The inbox in development: what the stand-ins for the providers received, as its readers would see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from messaging.channel import Channel
from messaging.console import sandbox_inbox
from messaging.console.answers import Answer, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import NotFoundError

pages = Pages()
_LIMIT = 20
_LOOKED_AT = 500


@pages.get("/p/{project}/inbox")
def listed(visit: Visit) -> Answer:
    """The newest first. The stand-ins know no projects: it is what all of them sent."""
    _ = visit.project_number  # raises for a project that there is not
    url = visit.desk.settings.sandbox_url
    if url is None:
        return Page("inbox_none.html")
    said, recipient = visit.query.get("channel", ""), visit.query.get("search", "").strip()
    channel = said if said in set(Channel) else ""
    offset = int(visit.query["offset"]) if visit.query.get("offset", "").isdecimal() else 0
    found = sandbox_inbox.read(url, channel=channel, recipient=recipient, limit=_LIMIT + 1, offset=offset)
    values = {
        "messages": [_seen(each) for each in found[:_LIMIT]],
        "next": offset + _LIMIT if len(found) > _LIMIT else None,
        "channel": channel,
        "channels": list(Channel),
        "search": recipient,
    }
    return Page("inbox_list.html" if visit.is_partial else "inbox.html", values)


@pages.get("/p/{project}/inbox/{mail}/frame")
def frame(visit: Visit) -> Answer:
    """The HTML of a mail, shut in: nothing in it runs, and it loads nothing."""
    _ = visit.project_number
    url = visit.desk.settings.sandbox_url
    found = [] if url is None else sandbox_inbox.read(url, channel=Channel.EMAIL, limit=_LOOKED_AT)
    for each in found:
        if _name(each) == visit.places["mail"]:
            return Page("inbox_frame.html", {"html": each.get("html") or ""}, frame=True)
    raise NotFoundError("mail", visit.places["mail"])


def _seen(each: Mapping[str, Any]) -> dict[str, Any]:
    at = each.get("at")
    return {
        **dict.fromkeys(("title", "subtitle", "body", "subject", "text", "html", "from", "to", "image", "badge")),
        "data": {},
        "attachments": [],
        **each,
        "from": _people(each.get("from")),
        "to": _people(each.get("to")),
        "name": _name(each),
        "when": datetime.fromtimestamp(at, UTC) if isinstance(at, (int, float)) else None,
    }


def _people(said: object) -> str:
    """Addresses as a mail shows them; each stand-in keeps what its provider's protocol says."""
    if isinstance(said, Mapping):
        name, email = said.get("name"), said.get("email") or ""
        return f"{name} <{email}>" if name else str(email)
    if isinstance(said, (list, tuple)):
        return ", ".join(map(_people, said))
    return "" if said is None else str(said)


def _name(each: Mapping[str, Any]) -> str:
    """What it is called in an address: the stand-ins number nothing, so it is made of what is never twice the same."""
    told = [each.get(name) for name in ("at", "protocol", "recipient", "id", "tag")]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
