"""Users: the list, one of them with what reaches them and what they got, and changing them."""

from __future__ import annotations

from urllib.parse import urlencode

from messaging.channel import Channel
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.forms import Errors, errors_of, refused
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import MessagingError, NotFoundError
from messaging.store import people, received, target_search
from messaging.store.operators import OperatorRole
from messaging.store.target_search import NAMES_SEARCHED

pages = Pages()
_LIMIT = 50
_RECEIVED = 15
NOBODY = "-"
"""Stands in an address where nobody was found; it is no id."""
_FIELDS = ("name", "email", "phone")


@pages.get("/p/{project}/users")
def listed(visit: Visit) -> Answer:
    """The newest first, or those that were searched for."""
    return Page("users.html", _list(visit) | {"errors": {}, "typed": {}})


@pages.post("/p/{project}/users/find", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """People by id, whole address or part of a name. By POST: an address in a link would stay in histories and logs."""
    with visit.begin() as connection:
        limit_time(connection)
        ids = target_search.find_users(connection, visit.project_number, visit.text("named"), limit=_LIMIT)
    return Done(f"{visit.home}/users?{urlencode({'ids': ','.join(ids) or NOBODY})}")


@pages.post("/p/{project}/users", action="user.create")
def create(visit: Visit) -> Answer:
    """A new user."""
    typed = {name: visit.text(name) for name in ("id", *_FIELDS)}
    try:
        made = visit.messaging.users.create(
            typed["id"] or None, name=typed["name"], email=typed["email"] or None, phone=typed["phone"] or None
        )
    except MessagingError as error:
        return refused("users.html", _list(visit) | {"typed": typed}, errors_of(error))
    return Done(f"{visit.home}/users/{made.id}", "The user is there.", made.id)


@pages.get("/p/{project}/users/{user}")
def show(visit: Visit) -> Answer:
    """One user: addresses, topics, and what they got of late."""
    return Page("user.html", _details(visit) | {"errors": {}, "typed": {}})


@pages.get("/p/{project}/users/{user}/edit", role=OperatorRole.OPERATOR)
def edit(visit: Visit) -> Answer:
    """The form of a user."""
    view = visit.messaging.users.get(visit.places["user"])
    typed = {"name": view.name, "email": view.email or "", "phone": view.phone or ""}
    return Page("user_edit.html", {"user": view, "typed": typed, "errors": {}})


@pages.post("/p/{project}/users/{user}/edit", action="user.update")
def update(visit: Visit) -> Answer:
    """Change a user; an emptied address goes, with its target."""
    view = visit.messaging.users.get(visit.places["user"])
    typed = {name: visit.text(name) for name in _FIELDS}
    try:
        visit.messaging.users.update(
            view.id, name=typed["name"], email=typed["email"] or None, phone=typed["phone"] or None
        )
    except NotFoundError:
        raise
    except MessagingError as error:
        return refused("user_edit.html", {"user": view, "typed": typed}, errors_of(error))
    return Done(f"{visit.home}/users/{view.id}", "The user is changed.", view.id)


@pages.post("/p/{project}/users/{user}/block", action="user.block")
def block(visit: Visit) -> Answer:
    """Shut a user out of the API, or let them in again."""
    user_id, blocked = visit.places["user"], visit.text("blocked") == "yes"
    visit.messaging.users.block(user_id, blocked=blocked)
    notice = "The user may not sign in any more; messages still reach them." if blocked else "The user may sign in."
    return Done(f"{visit.home}/users/{user_id}", notice, user_id, {"blocked": blocked})


@pages.get("/p/{project}/users/{user}/erase", role=OperatorRole.OPERATOR)
def ask_to_erase(visit: Visit) -> Answer:
    """What would go, before it goes."""
    return Page("user_erase.html", _details(visit) | {"errors": {}})


@pages.post("/p/{project}/users/{user}/erase", action="user.erase")
def erase(visit: Visit) -> Answer:
    """Erase a person: everything that names them."""
    user_id = visit.places["user"]
    if visit.text("sure") != user_id:
        errors = {"sure": f"write {user_id}, the id of the user, to say that you mean it"}
        return refused("user_erase.html", _details(visit), errors)
    visit.messaging.users.delete(user_id)
    notice = "The user is erased; what is left of their addresses goes within minutes."
    return Done(f"{visit.home}/users", notice, user_id)


@pages.post("/p/{project}/users/{user}/targets", action="target.create")
def add_target(visit: Visit) -> Answer:
    """A further address of a user."""
    user_id = visit.places["user"]
    visit.messaging.users.get(user_id)
    typed = {name: visit.text(name) for name in ("channel", "identifier", "provider", "label")}
    try:
        made = visit.messaging.targets.create(
            typed["identifier"],
            channel=typed["channel"],
            user_id=user_id,
            provider_id=typed["provider"] or None,
            name=typed["label"] or None,
        )
    except MessagingError as error:
        return _shown_again(visit, errors_of(error), typed)
    return Done(f"{visit.home}/users/{user_id}", "The address is added.", user_id, {"target": made.id})


def _list(visit: Visit) -> dict[str, object]:
    ids = visit.query.get("ids", "")
    with visit.begin() as connection:
        limit_time(connection)
        if ids:
            found = target_search.users_of_ids(connection, visit.project_number, ids.split(",")[:_LIMIT])
        else:
            after = visit.query.get("after", "")
            found = target_search.list_users(connection, visit.project_number, after=after, limit=_LIMIT + 1)
    return {
        "users": found[:_LIMIT],
        "more": not ids and len(found) > _LIMIT,
        "searched": bool(ids),
        "names_searched": NAMES_SEARCHED,
    }


def _details(visit: Visit) -> dict[str, object]:
    user_id = visit.places["user"]
    with visit.begin() as connection:
        limit_time(connection)
        person = people.get(connection, visit.project_number, user_id)
        got = received.received(connection, visit.project_number, list(person.targets), limit=_RECEIVED)
    return {
        "user": person.view,
        "blocked": person.blocked,
        "labels": person.labels,
        "targets": person.targets,
        "topics": person.topics,
        "received": got,
        "channels": list(Channel),
        "providers": visit.messaging.providers.list(limit=500),
    }


def _shown_again(visit: Visit, errors: Errors, typed: dict[str, str]) -> Page:
    return refused("user.html", _details(visit) | {"typed": typed}, errors)
