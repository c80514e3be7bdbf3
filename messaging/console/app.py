"""The API and the console as one application."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from messaging.console import (
    account,
    audit,
    compose,
    drafts,
    export,
    imports,
    inbox,
    keys,
    message,
    message_list,
    operators,
    overview,
    projects,
    provider_care,
    providers,
    quarantine,
    recipients,
    static,
    suppressions,
    targets,
    topics,
    users,
)
from messaging.console.desk import Desk
from messaging.console.pages import Pages
from messaging.http import app as http
from messaging.http.context import Context
from messaging.http.page_safety import PageSafety
from messaging.settings import Settings

PAGES: tuple[Pages, ...] = (
    account.pages,
    overview.pages,
    message_list.pages,
    compose.pages,
    drafts.pages,
    message.pages,
    recipients.pages,
    export.pages,
    operators.pages,
    projects.pages,
    audit.pages,
    providers.pages,
    provider_care.pages,
    topics.pages,
    imports.pages,
    users.pages,
    targets.pages,
    suppressions.pages,
    keys.pages,
    quarantine.pages,
    inbox.pages,
)


def create_app(settings: Settings) -> PageSafety:
    """The application for `settings`; it opens no connection before the first request."""
    return http.create_app(settings, routes)


def routes(context: Context) -> Sequence[Route]:
    """Every page of the console, and the files that belong to them."""
    desk = Desk(context)
    return [*static.routes(), *(route for pages in PAGES for route in pages.routes(desk))]
