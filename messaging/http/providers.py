"""Providers over HTTP: one pair of operations for every kind in the catalogue. Secrets go in and never come out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging.catalog import KINDS, ProviderKind, kind_of
from messaging.errors import InvalidArgumentError
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.operations import Call, Operations
from messaging.http.provider_limits import LIMITS, limits_of, rendered_limits
from messaging.http.provider_parameters import MASK, given_fields, parameters_of
from messaging.http.queries import LONGEST_SEARCH, parse_queries
from messaging.store import provider_fields, providers
from messaging.store.providers import ProviderView

operations = Operations("messaging")

_ENABLED = p.boolean("enabled", help="Whether messages may go through it.")
_PRIORITY = p.integer("priority", least=-1_000_000, most=1_000_000, help="Lower is tried first; 0 if not given.")
_WEIGHT = p.integer(
    "weight",
    least=0,
    most=providers.HEAVIEST,
    help="Its share of the traffic among accounts of the same priority; 0 if not given.",
)
_SEARCH = p.text("search", shortest=0, longest=LONGEST_SEARCH)
_TOTAL = p.flag_in_query("total", default=True, help="false: do not count, `total` is 0")


@operations.add(
    "GET", "/messaging/providers", _SEARCH, _TOTAL, scopes=("providers.read",), model="providerList", listed=True
)
def list_providers(call: Call) -> dict[str, Any]:
    """Providers, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = providers.listed(call.connection, call.vault, call.project_id, wanted)
    return {"total": found.total, "providers": [rendered(provider) for provider in found.providers]}


@operations.add(
    "GET",
    "/messaging/providers/{providerId}",
    p.uid("providerId", required=True),
    scopes=("providers.read",),
    model="provider",
)
def get_provider(call: Call) -> dict[str, Any]:
    """A provider, its secrets masked."""
    return rendered(providers.get(call.connection, call.vault, call.project_id, call["providerId"]))


@operations.add(
    "DELETE",
    "/messaging/providers/{providerId}",
    p.uid("providerId", required=True),
    scopes=("providers.write",),
    status=204,
)
def delete_provider(call: Call) -> None:
    """Delete a provider; its targets fall back to the first of their channel."""
    providers.delete(call.connection, call.project_id, call["providerId"])


def _declare(kind: ProviderKind) -> None:
    """Add the operations that create and change a provider of `kind`."""

    def create(call: Call) -> dict[str, Any]:
        return _create(call, kind)

    def update(call: Call) -> dict[str, Any]:
        return _update(call, kind)

    create.__name__, create.__doc__ = f"create_{kind.name}_provider", f"Create a provider of {kind.title}."
    update.__name__, update.__doc__ = (
        f"update_{kind.name}_provider",
        f"Change a provider of {kind.title}; what is not given, or empty, stays.",
    )
    operations.add(
        "POST",
        f"/messaging/providers/{kind.name}",
        p.custom_id("providerId"),
        p.text("name", longest=providers.LONGEST_NAME, required=True),
        *parameters_of(kind, creating=True),
        _ENABLED,
        _PRIORITY,
        _WEIGHT,
        LIMITS,
        scopes=("providers.write",),
        status=201,
        model="provider",
        taken="provider_already_exists",
    )(create)
    operations.add(
        "PATCH",
        f"/messaging/providers/{kind.name}/{{providerId}}",
        p.uid("providerId", required=True),
        p.text("name", shortest=0, longest=providers.LONGEST_NAME),
        *parameters_of(kind, creating=False),
        _ENABLED,
        _PRIORITY,
        _WEIGHT,
        LIMITS,
        scopes=("providers.write",),
        model="provider",
    )(update)


for _kind in KINDS.values():
    _declare(_kind)


def _create(call: Call, kind: ProviderKind) -> dict[str, Any]:
    credentials, options = provider_fields.split(kind, given_fields(call, kind))
    # an incomplete provider is made all the same, and waits for the rest (as Appwrite has it)
    complete = kind.has_adapter and not provider_fields.missing(kind, credentials, options)
    made = providers.create(
        call.connection,
        call.vault,
        call.project_id,
        kind=kind.name,
        credentials=credentials,
        options=options,
        name=call["name"],
        provider_id=call["providerId"],
        enabled=bool(call["enabled"]) and complete,
        priority=call["priority"] or 0,
        weight=call["weight"] or 0,
        limits=limits_of(call, kind),
    )
    return rendered(made)


def _update(call: Call, kind: ProviderKind) -> dict[str, Any]:
    before = providers.get(call.connection, call.vault, call.project_id, call["providerId"])
    if before.kind != kind.name:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "provider_incorrect_type",
            f"The provider '{before.id}' is one of {before.kind}, not of {kind.name}."
            f" Use PATCH /messaging/providers/{before.kind}/{before.id}.",
        )
    credentials, options = provider_fields.split(kind, given_fields(call, kind))
    try:
        changed = providers.update(
            call.connection,
            call.vault,
            call.project_id,
            before.id,
            name=call["name"] or None,
            credentials=credentials,
            options=options,
            enabled=call["enabled"],
            priority=call["priority"],
            weight=call["weight"],
            limits=limits_of(call, kind),
        )
    except InvalidArgumentError as error:
        if error.argument != "enabled":
            raise
        raise ApiError(HTTPStatus.BAD_REQUEST, "provider_missing_credentials", error.problem) from None
    return rendered(changed)


def rendered(provider: ProviderView) -> dict[str, Any]:
    """A provider as the SDKs read it: secrets masked, and ours beside their fields."""
    kind = kind_of(provider.kind)
    secret = {field.name for field in kind.credentials if field.secret}
    shown = provider_fields.with_defaults(kind.credentials, provider.credentials)
    credentials = {name: value for name, value in shown.items() if name not in secret}
    return {
        "$id": provider.id,
        "$createdAt": timestamp(provider.created_at),
        "$updatedAt": timestamp(provider.updated_at),
        "name": provider.name,
        "provider": provider.kind,
        "enabled": provider.enabled,
        "type": provider.channel,
        "credentials": credentials | dict.fromkeys(provider.secrets_set, MASK),
        "options": provider_fields.with_defaults(kind.options, provider.options),
        "missing": list(provider.missing),
        "unavailable": provider.unavailable,
        "priority": provider.priority,
        "weight": provider.weight,
        "limits": rendered_limits(provider.limits),
        "stoppedAt": optional_timestamp(provider.stopped_at),
        "stoppedReason": provider.stopped_reason,
        "stoppedUntil": optional_timestamp(provider.stopped_until),
    }
