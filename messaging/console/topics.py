"""Topics: the list, one of them with its growth, and changing them."""

from __future__ import annotations

from urllib.parse import urlencode

from messaging.channel import Channel
from messaging.console import growth_picture, import_work, imports
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.forms import Errors, errors_of, refused
from messaging.console.pages import Pages
from messaging.console.users import NOBODY
from messaging.console.visit import Visit
from messaging.errors import MessagingError, NotFoundError
from messaging.store import received, subscriber_pages, topics
from messaging.store.console_imports import ImportKind
from messaging.store.lists import Wanted
from messaging.store.operators import OperatorRole
from messaging.store.subscriber_pages import COUNTED

pages = Pages()
_LIMIT = 50
_SUBSCRIBERS = 50
_DAYS = 30


@pages.get("/p/{project}/topics")
def listed(visit: Visit) -> Answer:
    """Topics, the newest first."""
    return Page("topics.html", _list(visit) | {"errors": {}, "typed": {}})


@pages.post("/p/{project}/topics", action="topic.create")
def create(visit: Visit) -> Answer:
    """A new topic."""
    typed = {name: visit.text(name) for name in ("id", "name", "description", "open")}
    try:
        made = visit.messaging.topics.create(
            typed["id"] or None,
            name=typed["name"],
            description=typed["description"],
            subscribe=("users",) if typed["open"] else (),
        )
    except MessagingError as error:
        return refused("topics.html", _list(visit) | {"typed": typed}, errors_of(error))
    return Done(f"{visit.home}/topics/{made.id}", f"The topic {made.name} is there.", made.id)


@pages.get("/p/{project}/topics/{topic}")
def show(visit: Visit) -> Answer:
    """One topic and its subscribers."""
    return Page("topic.html", _details(visit))


@pages.get("/p/{project}/topics/{topic}/growth")
def growth(visit: Visit) -> Answer:
    """How many there are, and who joined when. It reads every subscription, so the page asks for it afterwards."""
    topic_id = visit.places["topic"]
    with visit.begin() as connection:
        limit_time(connection)
        view = topics.get(connection, visit.project_number, topic_id)
    picture = growth_picture.drawn(visit.messaging.topics.growth(topic_id, days=_DAYS))
    values = {"topic": view, "picture": picture, "days": _DAYS}
    return Page("topic_growth.html" if visit.is_partial else "topic_growth_page.html", values)


@pages.get("/p/{project}/topics/{topic}/edit", role=OperatorRole.OPERATOR)
def edit(visit: Visit) -> Answer:
    """The form of a topic."""
    with visit.begin() as connection:
        view = topics.get(connection, visit.project_number, visit.places["topic"])
    typed = {"name": view.name, "description": view.description, "open": "yes" if view.subscribe else ""}
    return Page("topic_edit.html", {"topic": view, "typed": typed, "errors": {}})


@pages.post("/p/{project}/topics/{topic}/edit", action="topic.update")
def update(visit: Visit) -> Answer:
    """Change a topic."""
    topic_id = visit.places["topic"]
    view = visit.messaging.topics.get(topic_id)
    typed = {name: visit.text(name) for name in ("name", "description", "open")}
    # roles other than the one of the form are left as they are
    subscribe = (view.subscribe or ("users",)) if typed["open"] else ()
    try:
        visit.messaging.topics.update(
            topic_id, name=typed["name"], description=typed["description"], subscribe=subscribe
        )
    except NotFoundError:
        raise
    except MessagingError as error:
        return refused("topic_edit.html", {"topic": view, "typed": typed}, errors_of(error))
    return Done(f"{visit.home}/topics/{topic_id}", "The topic is changed.", topic_id)


@pages.post("/p/{project}/topics/{topic}/delete", action="topic.delete")
def delete(visit: Visit) -> Answer:
    """One topic less, with its subscriptions."""
    visit.messaging.topics.delete(visit.places["topic"])
    return Done(f"{visit.home}/topics", "The topic is gone; its people stay.", visit.places["topic"])


@pages.post("/p/{project}/topics/{topic}/find", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """Subscribers by whole address, or the id of target or user. By POST, as for users."""
    topic_id = visit.places["topic"]
    with visit.begin() as connection:
        limit_time(connection)
        topics.find(connection, visit.project_number, topic_id)
        held = received.addresses(connection, visit.project_number, visit.text("wanted"))
    ids = ",".join(each.id for each in held[:_SUBSCRIBERS])
    return Done(f"{visit.home}/topics/{topic_id}?{urlencode({'ids': ids or NOBODY})}")


@pages.post("/p/{project}/topics/{topic}/subscribers", action="topic.subscribe")
def subscribe(visit: Visit) -> Answer:
    """Subscribe what an address, a target or a user is reached at."""
    topic_id, named = visit.places["topic"], visit.text("named")
    visit.messaging.topics.get(topic_id)
    with visit.begin() as connection:
        found = received.addresses(connection, visit.project_number, named)
    if not found:
        said = "nobody has that address or id; add the user or target first" if named else "name an address or an id"
        return _shown_again(visit, {"named": said})
    added = visit.messaging.topics.subscribe(topic_id, *(target.id for target in found))
    notice = f"{added} subscribed." if added else "They were subscribed already."
    details = {"targets": [target.id for target in found][:20], "added": added}
    return Done(f"{visit.home}/topics/{topic_id}", notice, topic_id, details)


@pages.post("/p/{project}/topics/{topic}/subscribers/{target}/delete", action="topic.unsubscribe")
def unsubscribe(visit: Visit) -> Answer:
    """End a subscription."""
    topic_id, target_id = visit.places["topic"], visit.places["target"]
    gone = visit.messaging.topics.unsubscribe(topic_id, target_id)
    notice = "The subscription is ended." if gone else "It was not subscribed."
    return Done(f"{visit.home}/topics/{topic_id}", notice, topic_id, {"target": target_id})


@pages.post("/p/{project}/topics/{topic}/imports", action="topic.import")
def import_file(visit: Visit) -> Answer:
    """Subscribe everybody in a CSV file."""
    topic_id = visit.places["topic"]
    visit.messaging.topics.get(topic_id)
    work = import_work.subscribers(visit.messaging, topic_id)
    try:
        return imports.begin(visit, ImportKind.SUBSCRIBERS, work, subject=topic_id)
    except MessagingError as error:
        said = errors_of(error)
        return _shown_again(visit, {"file": said.get("csv") or said.get("file") or str(error)})


def _list(visit: Visit) -> dict[str, object]:
    search, after = visit.query.get("search", "").strip(), visit.query.get("after")
    wanted = Wanted(limit=_LIMIT + 1, search=search or None, order=(("", True),), after=after or None, total=False)
    with visit.begin() as connection:
        limit_time(connection)
        rows = topics.rows(connection, visit.project_number, wanted)
        counted = subscriber_pages.counts(connection, [row.number for row in rows[:_LIMIT]])
    return {
        "topics": rows[:_LIMIT],
        "more": len(rows) > _LIMIT,
        "counts": counted,
        "counted": COUNTED,
        "search": search,
    }


def _details(visit: Visit) -> dict[str, object]:
    topic_id, ids = visit.places["topic"], visit.query.get("ids", "")
    said = visit.query.get("channel", "")
    channel = Channel(said) if said in set(Channel) else None
    with visit.begin() as connection:
        limit_time(connection)
        row = topics.row(connection, visit.project_number, topic_id)
        counted = subscriber_pages.counts(connection, [row.number])[row.number]
        if ids:
            named = ids.split(",")[:_SUBSCRIBERS]
            found = subscriber_pages.of_targets(connection, visit.project_number, row.number, named)
        else:
            after = visit.query.get("after", "")
            found = subscriber_pages.page(connection, row.number, channel=channel, after=after, limit=_SUBSCRIBERS + 1)
    return {
        "topic": row,
        "counts": counted,
        "counted": COUNTED,
        "subscribers": found[:_SUBSCRIBERS],
        "more": not ids and len(found) > _SUBSCRIBERS,
        "searched": bool(ids),
        "channel": channel,
        "channels": list(Channel),
        "imports": imports.newest(visit, ImportKind.SUBSCRIBERS, subject=topic_id),
        "errors": {},
        "named": visit.text("named"),
    }


def _shown_again(visit: Visit, errors: Errors) -> Page:
    return refused("topic.html", _details(visit), errors)
