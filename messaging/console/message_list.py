"""The list of messages, and the search for who got what."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from messaging.channel import Channel
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.status import MessageState
from messaging.store import message_search, received
from messaging.store.operators import OperatorRole
from messaging.store.received import Place

pages = Pages()
_LIMIT = 25
_DIGITS = 18
"""Of a number that PostgreSQL's bigint holds for sure."""


@pages.get("/p/{project}/messages")
def listed(visit: Visit) -> Answer:
    """The newest first; by channel, state and what they say."""
    channel, state = visit.query.get("channel", ""), visit.query.get("state", "")
    said = visit.query.get("q", "").strip()
    with visit.begin() as connection:
        limit_time(connection)
        found = message_search.search(
            connection,
            visit.project_number,
            channel=Channel(channel) if channel in set(Channel) else None,
            state=MessageState(state) if state in set(MessageState) else None,
            said=said,
            before=number(visit.query.get("before", "")),
            limit=_LIMIT,
        )
    asked = {"q": said, "channel": channel, "state": state}
    values = {
        "messages": found.messages,
        "back_to": found.back_to,
        "asked": asked,
        "further": None if found.before is None else "?" + urlencode(_set(asked) | {"before": found.before}),
        "channels": list(Channel),
        "states": list(MessageState),
        "before": visit.query.get("before"),
    }
    return Page("messages.html", values)


@pages.post("/p/{project}/received", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """From an address to its targets. By POST: an address in a link would stay in histories and logs."""
    return Done(f"{visit.home}/received?{targets_named(visit)}")


@pages.get("/p/{project}/received")
def who_got_what(visit: Visit) -> Answer:
    """Everything that was sent to some targets."""
    ids = visit.query.get("targets", "")
    with visit.begin() as connection:
        limit_time(connection)
        held = received.of_ids(connection, visit.project_number, ids.split(","))
        numbers = [each.number for each in held]
        before = _place(visit.query.get("before", ""))
        found = received.received(connection, visit.project_number, numbers, before=before, limit=_LIMIT)
    after = found.before
    values = {
        "ids": ids,
        "addresses": {each.number: each for each in held},
        "deliveries": found.deliveries,
        "is_cut": found.is_cut,
        "further": None if after is None else urlencode({"targets": ids, "before": f"{after.month}.{after.message}"}),
        "before": visit.query.get("before"),
    }
    return Page("received.html", values)


def targets_named(visit: Visit) -> str:
    """The targets that the field `to` leads to, for an address; a dash, which is no id, for none."""
    with visit.begin() as connection:
        limit_time(connection)
        held = received.addresses(connection, visit.project_number, visit.text("to"))
    return urlencode({"targets": ",".join(each.id for each in held) or "-"})


def number(said: str) -> int | None:
    """A number out of an address; None for anything else."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _DIGITS else None


def _place(said: str) -> Place | None:
    month, _, message = said.partition(".")
    found = number(message)
    try:
        return None if found is None else Place(date.fromisoformat(month), found)
    except ValueError:
        return None


def _set(asked: dict[str, str]) -> dict[str, str | int]:
    return {name: value for name, value in asked.items() if value}
