"""One recipient of a message: what was tried, what the provider told, and how it stands."""

from __future__ import annotations

from messaging.console.answers import Answer, Page
from messaging.console.desk import limit_time
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.store import delivery_story

pages = Pages()


@pages.get("/p/{project}/messages/{message}/recipients/{delivery}")
def show(visit: Visit) -> Answer:
    """The story of one delivery."""
    message = visit.messaging.get(visit.places["message"])
    with visit.begin() as connection:
        limit_time(connection)
        story = delivery_story.story(connection, message, visit.places["delivery"])
    return Page("recipient.html", {"message": message, "story": story})
