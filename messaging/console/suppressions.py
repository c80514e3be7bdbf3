"""The suppression list: who must not be written to, and why."""

from __future__ import annotations

from messaging.channel import Channel
from messaging.console import import_work, imports
from messaging.console.answers import Answer, Done, Page
from messaging.console.desk import limit_time
from messaging.console.forms import Errors, errors_of, refused
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError, MessagingError
from messaging.store import suppressions
from messaging.store.console_imports import ImportKind
from messaging.store.lists import Filter, Wanted
from messaging.store.operators import OperatorRole
from messaging.store.suppression_import import IMPORTED
from messaging.store.suppressions import BY_HAND, Scope, SuppressionView

pages = Pages()
_LIMIT = 50


@pages.get("/p/{project}/suppressions")
def listed(visit: Visit) -> Answer:
    """The newest entries first, or the entry of an address."""
    return Page("suppressions.html", _list(visit) | {"errors": {}, "typed": {}})


@pages.post("/p/{project}/suppressions/find", action="", role=OperatorRole.VIEWER)
def find(visit: Visit) -> Answer:
    """The entry of an address. By POST: an address in a link would stay in histories and logs."""
    typed = {name: visit.text(name) for name in ("channel", "address")}
    try:
        found = visit.messaging.suppressions.find(typed["channel"], typed["address"])
    except InvalidArgumentError as error:
        return _shown_again(visit, errors_of(error), {"find": typed})
    return Page(
        "suppressions.html", _list(visit) | {"errors": {}, "typed": {"find": typed}, "asked": True, "found": found}
    )


@pages.post("/p/{project}/suppressions", action="suppression.add")
def add(visit: Visit) -> Answer:
    """Put an address on the list."""
    typed = {name: visit.text(name) for name in ("channel", "address", "scope", "reason")}
    try:
        made = visit.messaging.suppressions.add(
            typed["channel"], typed["address"], scope=typed["scope"], reason=typed["reason"] or BY_HAND
        )
    except MessagingError as error:
        return _shown_again(visit, errors_of(error), {"add": typed})
    details = {"channel": made.channel, "scope": made.scope}
    return Done(f"{visit.home}/suppressions", "The address is on the list.", made.id, details)


@pages.post("/p/{project}/suppressions/{suppression}/lift", action="suppression.lift")
def lift(visit: Visit) -> Answer:
    """Take an entry off the list."""
    visit.messaging.suppressions.lift(visit.places["suppression"])
    notice = "The address may be written to again."
    return Done(f"{visit.home}/suppressions", notice, visit.places["suppression"])


@pages.post("/p/{project}/suppressions/imports", action="suppression.import")
def import_file(visit: Visit) -> Answer:
    """Put everybody in a CSV file on the list."""
    typed = {name: visit.text(name) for name in ("scope", "reason")}
    try:
        if typed["scope"] not in set(Scope):
            raise InvalidArgumentError("scope", f"is one of {', '.join(Scope)}")
        reason = suppressions.check_reason(typed["reason"] or IMPORTED)
        work = import_work.suppressions(visit.messaging, scope=Scope(typed["scope"]), reason=reason)
        return imports.begin(visit, ImportKind.SUPPRESSIONS, work)
    except MessagingError as error:
        said = errors_of(error)
        return _shown_again(visit, {"file" if name in {"csv", ""} else name: each for name, each in said.items()}, {})


def _list(visit: Visit) -> dict[str, object]:
    channel, scope = visit.query.get("channel", ""), visit.query.get("scope", "")
    filters = [
        Filter(method="equal", attribute=name, values=[value])
        for name, value, known in (("channel", channel, set(Channel)), ("scope", scope, set(Scope)))
        if value in known
    ]
    wanted = Wanted(
        filters=filters,
        order=[("$createdAt", True)],
        limit=_LIMIT + 1,
        after=visit.query.get("after") or None,
        total=False,
    )
    with visit.begin() as connection:
        limit_time(connection)
        entries: list[SuppressionView] = suppressions.listed(connection, visit.project_number, wanted).suppressions
    return {
        "entries": entries[:_LIMIT],
        "more": len(entries) > _LIMIT,
        "channel": channel,
        "scope": scope,
        "channels": list(Channel),
        "scopes": list(Scope),
        "imports": imports.newest(visit, ImportKind.SUPPRESSIONS),
        "asked": False,
        "found": None,
    }


def _shown_again(visit: Visit, errors: Errors, typed: dict[str, dict[str, str]]) -> Page:
    return refused("suppressions.html", _list(visit) | {"typed": typed}, errors)
