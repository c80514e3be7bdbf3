"""Targets: addresses, whose they are, and what they got."""

from __future__ import annotations

from urllib.parse import urlencode

from messaging.channel import Channel
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.forms import errors_of, refused
from messaging.console.pages import Pages
from messaging.console.users import NOBODY
from messaging.console.visit import Visit
from messaging.errors import MessagingError, NotFoundError
from messaging.store import people, received, suppressions, target_search, targets
from messaging.store.operators import OperatorRole

pages = Pages()
_LIMIT = 50
_RECEIVED = 15


@pages.get("/p/{project}/targets")
def listed(visit: Visit) -> Answer:
    """The newest first, those of a channel by address, or those that were searched for."""
    return Page("targets.html", _list(visit) | {"errors": {}, "typed": {}})


@pages.post("/p/{project}/targets/find", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """Targets by whole address, their id or their user's. By POST, as for users."""
    with visit.begin() as connection:
        limit_time(connection)
        held = received.addresses(connection, visit.project_number, visit.text("named"))
    ids = ",".join(each.id for each in held[:_LIMIT])
    return Done(f"{visit.home}/targets?{urlencode({'ids': ids or NOBODY})}")


@pages.post("/p/{project}/targets", action="target.create")
def create(visit: Visit) -> Answer:
    """A new target."""
    typed = {name: visit.text(name) for name in ("channel", "identifier", "user", "provider", "label")}
    try:
        made = visit.messaging.targets.create(
            typed["identifier"],
            channel=typed["channel"],
            user_id=typed["user"] or None,
            provider_id=typed["provider"] or None,
            name=typed["label"] or None,
        )
    except MessagingError as error:
        return refused("targets.html", _list(visit) | {"typed": typed}, errors_of(error))
    return Done(f"{visit.home}/targets/{made.id}", "The target is there.", made.id)


@pages.get("/p/{project}/targets/{target}")
def show(visit: Visit) -> Answer:
    """One target: whose it is, its topics, and what it got of late."""
    with visit.begin() as connection:
        limit_time(connection)
        number = targets.find(connection, visit.project_number, visit.places["target"])
        view = targets.get(connection, visit.project_number, visit.places["target"])
        values = {
            "target": view,
            "topics": people.topics_of(connection, [number]),
            "received": received.received(connection, visit.project_number, [number], limit=_RECEIVED),
            "suppression": suppressions.find(
                connection,
                visit.desk.context.vault,
                visit.project_number,
                channel=view.channel,
                address=view.identifier,
            ),
        }
    return Page("target.html", values)


@pages.get("/p/{project}/targets/{target}/edit", role=OperatorRole.OPERATOR)
def edit(visit: Visit) -> Answer:
    """The form of a target."""
    view = visit.messaging.targets.get(visit.places["target"])
    typed = {"identifier": view.identifier, "provider": view.provider_id or "", "label": view.name}
    return Page("target_edit.html", _form(visit) | {"target": view, "typed": typed, "errors": {}})


@pages.post("/p/{project}/targets/{target}/edit", action="target.update")
def update(visit: Visit) -> Answer:
    """Change a target; another address brings a dead one back to life."""
    view = visit.messaging.targets.get(visit.places["target"])
    typed = {name: visit.text(name) for name in ("identifier", "provider", "label")}
    try:
        visit.messaging.targets.update(
            view.id,
            identifier=typed["identifier"] if typed["identifier"] != view.identifier else None,
            provider_id=typed["provider"] or None,
            name=typed["label"],
        )
    except NotFoundError as error:
        if error.kind == "target":
            raise
        return refused("target_edit.html", _form(visit) | {"target": view, "typed": typed}, errors_of(error))
    except MessagingError as error:
        return refused("target_edit.html", _form(visit) | {"target": view, "typed": typed}, errors_of(error))
    return Done(f"{visit.home}/targets/{view.id}", "The target is changed.", view.id)


@pages.post("/p/{project}/targets/{target}/delete", action="target.delete")
def delete(visit: Visit) -> Answer:
    """One target less, with its subscriptions."""
    view = visit.messaging.targets.get(visit.places["target"])
    visit.messaging.targets.delete(view.id)
    back = f"{visit.home}/users/{view.user_id}" if view.user_id else f"{visit.home}/targets"
    return Done(back, "The target is gone, with its subscriptions.", view.id)


def _list(visit: Visit) -> dict[str, object]:
    ids, said = visit.query.get("ids", ""), visit.query.get("channel", "")
    channel = Channel(said) if said in set(Channel) else None
    with visit.begin() as connection:
        limit_time(connection)
        if ids:
            found = target_search.targets_of_ids(connection, visit.project_number, ids.split(",")[:_LIMIT])
        else:
            after = visit.query.get("after", "")
            found = target_search.list_targets(
                connection, visit.project_number, channel=channel, after=after, limit=_LIMIT + 1
            )
    return _form(visit) | {
        "targets": found[:_LIMIT],
        "more": not ids and len(found) > _LIMIT,
        "searched": bool(ids),
        "channel": channel,
    }


def _form(visit: Visit) -> dict[str, object]:
    return {"channels": list(Channel), "providers": visit.messaging.providers.list(limit=500)}
