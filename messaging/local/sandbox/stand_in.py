"""What a module of `web/` says about its provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from messaging.local.sandbox.answers import Answer, MagicAddress
    from messaging.local.sandbox.exchange import Handler
    from messaging.local.sandbox.faults import Fault
    from messaging.local.sandbox.magic import Judge
    from messaging.local.sandbox.record import Record
    from messaging.local.sandbox.webhooks import Webhooks


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One provider's stand-in."""

    build: Callable[[Judge, Record, Webhooks], Handler]
    """The handler of its requests; their paths begin after `/<kind>`."""
    magic: Sequence[MagicAddress]
    """Addresses that always get the same class of answer."""
    faults: Mapping[Fault, Answer]
    """How it misbehaves on demand."""
    fields: Callable[[], dict[str, Any]]
    """Credentials and options it takes, made anew, by their names in the catalogue."""
    view: Callable[[Mapping[str, Any]], dict[str, Any]]
    """A recorded payload as its reader would see it: `channel`, and `title`, `body`, `subject`, `text`, `html`,
    `from`, `to`, `attachments` as the channel has them."""
    webhook_key: Callable[[Mapping[str, Any]], str] = field(default=lambda _: "")
    """What it signs its receipts with, of the fields it was set up with."""


def email_view(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The view of a payload that is a mail under the names of the view."""
    names = ("from", "to", "subject", "text", "html", "attachments")
    return {"channel": "email"} | {name: payload.get(name) for name in names}
