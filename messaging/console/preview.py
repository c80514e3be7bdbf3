"""A message as the phone, the mail client or the text inbox would show it, and how many would get it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from messaging.address import normalise
from messaging.audience import resolve_audience
from messaging.channel import Channel
from messaging.console.answers import Page
from messaging.console.visit import Visit
from messaging.content import looks_like_html
from messaging.send_request import SendRequest
from messaging.sms_segments import segments
from messaging.store.expand import count_audience, estimate
from messaging.store.resolve import Resolved, resolve

COUNTED = 10_000
"""Above that an audience is not looked at one by one before it is sent to."""
_REMOTE = re.compile(r"""(?:src\s*=\s*["']?|url\(\s*["']?|background\s*=\s*["']?)https?://""", re.IGNORECASE)


def shown(channel: Channel, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the template of the channel's preview needs; `content` as it is stored, or as it was typed."""
    values: dict[str, Any] = {"channel": channel, "content": content}
    if channel is Channel.SMS:
        values["segments"] = segments(str(content.get("content") or ""))
    if channel is Channel.EMAIL:
        is_html = is_markup(content)
        values |= {"is_html": is_html, "remote": len(_REMOTE.findall(content.get("content") or "")) if is_html else 0}
    return values


def is_markup(content: Mapping[str, Any]) -> bool:
    """Whether an email's content is HTML."""
    said = content.get("html")
    if isinstance(said, bool):
        return said
    if said in {"yes", "no"}:  # as it was typed
        return bool(said == "yes")
    return looks_like_html(str(content.get("content") or ""))


def frame(content: Mapping[str, Any]) -> Page:
    """An email's body as a document of its own: it runs nothing, and loads nothing from elsewhere."""
    values = {"body": content.get("content") or "", "is_html": is_markup(content)}
    return Page("mail_frame.html", values, frame=True)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Who would get it."""

    about: int
    """Deliveries, exactly where `resolved` is there."""
    addresses: int
    """Of them, raw addresses that were not looked up."""
    copies: int
    """cc and bcc besides."""
    resolved: Resolved | None
    """None for a large audience: it is counted roughly."""


def reach(visit: Visit, connection: Connection, audience: SendRequest) -> Reach:
    """How many would get it; nothing is written. Raises `InvalidArgumentError` and `NotFoundError`."""
    channel = audience.content.channel
    addresses = {normalise(channel, address, argument="addresses") for address in audience.addresses}
    copies = [*audience.cc, *audience.bcc]
    looked_up = replace(audience, addresses=(), cc=_ids(audience.cc), bcc=_ids(audience.bcc))
    project, vault = visit.project_number, visit.desk.context.vault
    found = resolve_audience(connection, vault, project, looked_up)
    named, _ = count_audience(connection, replace(found, cc_ids=(), bcc_ids=()), limit=COUNTED)
    if named < COUNTED:
        resolved = resolve(connection, project, found, small_audience=visit.desk.settings.small_audience)
        total = resolved.total
    else:
        resolved = None
        total = estimate(connection, replace(found, cc_ids=(), bcc_ids=()))
    return Reach(about=total + len(addresses), addresses=len(addresses), copies=len(copies), resolved=resolved)


def _ids(named: Sequence[str]) -> list[str]:
    return [each for each in named if "@" not in each]
