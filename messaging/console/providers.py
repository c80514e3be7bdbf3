"""Providers: the list with their health, new ones, and changing them."""

from __future__ import annotations

from messaging.catalog import KINDS, ProviderKind, kind_of
from messaging.channel import Channel
from messaging.console import provider_forms
from messaging.console.answers import Answer, Done, Page
from messaging.console.forms import errors_of, refused
from messaging.console.pages import Pages
from messaging.console.provider_forms import Typed
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError, MessagingError, NotFoundError
from messaging.store.operators import OperatorRole
from messaging.store.providers import ProviderView

pages = Pages()
_MOST = 500
_CHECKS = 5
_LOG = 15


@pages.get("/p/{project}/providers")
def listed(visit: Visit) -> Answer:
    """Every account, with how it is."""
    found = visit.messaging.providers.list(limit=_MOST)
    return Page("providers.html", {"providers": found, "paces": visit.messaging.providers.paces(found)})


@pages.get("/p/{project}/providers/new", role=OperatorRole.ADMIN)
def choose(visit: Visit) -> Answer:
    """Which kind?"""
    _ = visit.project_number  # raises for a project that there is not
    return Page(
        "provider_kinds.html",
        {"kinds": {channel: [each for each in KINDS.values() if each.channel is channel] for channel in Channel}},
    )


@pages.get("/p/{project}/providers/new/{kind}", role=OperatorRole.ADMIN)
def new(visit: Visit) -> Answer:
    """The form of a kind."""
    _ = visit.project_number
    kind = _kind(visit)
    return Page("provider_new.html", _form(kind, provider_forms.empty(kind)) | {"id": ""})


@pages.post("/p/{project}/providers/new/{kind}", action="provider.create", role=OperatorRole.ADMIN)
def create(visit: Visit) -> Answer:
    """A new account."""
    kind = _kind(visit)
    said = provider_forms.read(visit, kind)
    shown = _form(kind, said.typed) | {"id": visit.text("id")}
    if not said.is_good:
        return refused("provider_new.html", shown, said.typed.errors)
    try:
        made = visit.messaging.providers.create(
            kind.name,
            provider_id=visit.text("id") or None,
            name=said.name,
            enabled=False if visit.text("enabled") == "no" else None,
            priority=said.priority,
            weight=said.weight,
            limits=said.limits,
            **said.fields,
        )
    except MessagingError as error:
        return refused("provider_new.html", shown, errors_of(error))
    notice = f"{made.name} is there and enabled. Check it now." if made.enabled else f"{made.name} is there, disabled."
    return Done(f"{visit.home}/providers/{made.id}", notice, made.id, {"kind": kind.name, "enabled": made.enabled})


@pages.get("/p/{project}/providers/{provider}")
def show(visit: Visit) -> Answer:
    """One account: how it is, its checks, receipts and log."""
    account = visit.messaging.providers.get(visit.places["provider"])
    return Page("provider.html", _details(visit, account))


@pages.get("/p/{project}/providers/{provider}/edit", role=OperatorRole.ADMIN)
def edit(visit: Visit) -> Answer:
    """The form of an account."""
    account = visit.messaging.providers.get(visit.places["provider"])
    kind = kind_of(account.kind)
    return Page("provider_edit.html", _form(kind, provider_forms.of_account(kind, account)) | {"provider": account})


@pages.post("/p/{project}/providers/{provider}/edit", action="provider.update", role=OperatorRole.ADMIN)
def update(visit: Visit) -> Answer:
    """Change an account."""
    account = visit.messaging.providers.get(visit.places["provider"])
    kind = kind_of(account.kind)
    said = provider_forms.read(visit, kind, account)
    shown = _form(kind, said.typed) | {"provider": account}
    if not said.is_good:
        return refused("provider_edit.html", shown, said.typed.errors)
    try:
        made = visit.messaging.providers.update(
            account.id,
            name=said.name,
            priority=said.priority,
            weight=said.weight,
            limits=said.limits,
            **said.fields,
        )
    except MessagingError as error:
        return refused("provider_edit.html", shown, errors_of(error))
    changed = ", ".join(said.fields)  # names, and never values
    return Done(_path(visit, made.id), f"{made.name} is changed.", made.id, {"changed": changed})


@pages.post("/p/{project}/providers/{provider}/enable", action="provider.enable", role=OperatorRole.ADMIN)
def enable(visit: Visit) -> Answer:
    """Use it."""
    account = visit.messaging.providers.enable(visit.places["provider"])
    return Done(_path(visit, account.id), f"{account.name} is enabled.", account.id)


@pages.post("/p/{project}/providers/{provider}/disable", action="provider.disable", role=OperatorRole.ADMIN)
def disable(visit: Visit) -> Answer:
    """Use it no more."""
    account = visit.messaging.providers.disable(visit.places["provider"])
    return Done(_path(visit, account.id), f"{account.name} is disabled: nothing new goes through it.", account.id)


@pages.post("/p/{project}/providers/{provider}/delete", action="provider.delete", role=OperatorRole.ADMIN)
def delete(visit: Visit) -> Answer:
    """One account less."""
    account = visit.messaging.providers.get(visit.places["provider"])
    visit.messaging.providers.delete(account.id)
    return Done(f"{visit.home}/providers", f"{account.name} is gone.", account.id, {"kind": account.kind})


def _details(visit: Visit, account: ProviderView) -> dict[str, object]:
    service = visit.messaging.providers
    found = service.paces([account])
    return {
        "provider": account,
        "kind": kind_of(account.kind),
        "pace": None if found is None else found.get(account.id),
        "checks": service.checks(account.id, limit=_CHECKS),
        "log": service.log(account.id, limit=_LOG),
        "receipts": service.receipts(account.id),
        "errors": {},
        "send_to": "",
    }


def shown_again(visit: Visit, error: InvalidArgumentError, *, send_to: str) -> Page:
    """The page of an account, on which the form of a check was refused."""
    account = visit.messaging.providers.get(visit.places["provider"])
    return refused("provider.html", _details(visit, account) | {"send_to": send_to}, {"send_to": error.problem})


def _kind(visit: Visit) -> ProviderKind:
    found = KINDS.get(visit.places["kind"])
    if found is None:
        raise NotFoundError("kind of provider", visit.places["kind"])
    return found


def _form(kind: ProviderKind, typed: Typed) -> dict[str, object]:
    return {"kind": kind, "typed": typed.values, "errors": typed.errors}


def _path(visit: Visit, provider_id: str) -> str:
    return f"{visit.home}/providers/{provider_id}"
