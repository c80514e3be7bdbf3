"""`messaging provider …`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from messaging.catalog import KINDS, ProviderKind, kind_of
from messaging.channel import Channel
from messaging.cli import completion
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import After, DataDir, Json, Limit, ProviderId
from messaging.cli.output import note, print_fields, print_json, print_table
from messaging.errors import InvalidArgumentError
from messaging.limits import Limits

if TYPE_CHECKING:
    from messaging.store.providers import ProviderView

app = typer.Typer(no_args_is_help=True)

Kind = Annotated[
    str,
    typer.Argument(help="Kind of provider; `messaging provider kinds` lists them.", autocompletion=completion.kinds),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A credential or option.", show_default=False)
]
SetFile = Annotated[
    list[str] | None,
    typer.Option("--set-file", metavar="NAME=FILE", help="One whose value is a file's text.", show_default=False),
]
SetEnv = Annotated[
    list[str] | None,
    typer.Option("--set-env", metavar="NAME=VARIABLE", help="One from the environment.", show_default=False),
]
Priority = Annotated[int | None, typer.Option("--priority", help="Lower is tried first.", show_default=False)]
Weight = Annotated[
    int | None,
    typer.Option("--weight", help="Share of the traffic among accounts of the same priority.", show_default=False),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", help="Messages a second, over all workers; 0: what its kind allows.", show_default=False),
]
RatePerMinute = Annotated[
    int | None,
    typer.Option("--rate-per-minute", help="Messages a minute, over all workers; 0: any.", show_default=False),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", help="Requests in flight, over all workers; 0: any.", show_default=False),
]
WarmUp = Annotated[
    bool | None,
    typer.Option("--warm-up/--no-warm-up", help="Start slowly with a new email account.", show_default=False),
]
Name = Annotated[str | None, typer.Option("--name", help="Name for people.", show_default=False)]


@app.command()
def kinds(*, json: Json = False) -> None:
    """List the kinds of provider, with the credentials and options of each."""
    if json:
        print_json([_kind(kind) for kind in KINDS.values()])
        return
    rows = (
        (
            kind.name,
            kind.channel,
            kind.has_adapter,
            " ".join(field.name + ("" if field.required else "?") for field in (*kind.credentials, *kind.options)),
        )
        for kind in KINDS.values()
    )
    print_table(("KIND", "CHANNEL", "CAN SEND", "CREDENTIALS AND OPTIONS (? = may be left out)"), rows, empty="")


@app.command()
def add(  # noqa: PLR0913  each is an option of the command
    kind: Kind,
    *,
    provider_id: Annotated[str | None, typer.Option("--id", help="Id; made up when left out.")] = None,
    name: Name = None,
    values: Set = None,
    files: SetFile = None,
    variables: SetEnv = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Don't use it yet.")] = False,
    priority: Priority = None,
    weight: Weight = None,
    rate: Rate = None,
    rate_per_minute: RatePerMinute = None,
    concurrency: Concurrency = None,
    warm_up: WarmUp = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Add a provider; it is enabled when nothing required is missing."""
    fields = _fields(kind_of(kind), values, files, variables)
    limits = _limits(Limits(), rate, rate_per_minute, concurrency, warm_up=warm_up)
    with connect(data_dir) as messaging:
        provider = messaging.providers.create(
            kind,
            provider_id=provider_id,
            name=name,
            enabled=False if disabled else None,
            priority=priority or 0,
            weight=weight or 0,
            limits=limits,
            **fields,
        )
        noted(messaging, "provider.create", provider.id, kind=provider.kind, enabled=provider.enabled)
    _show(provider, json=json)
    if provider.unavailable is not None:
        note(f"It is disabled: {provider.unavailable}")
    elif provider.missing:
        note(f"It is disabled: {', '.join(provider.missing)} missing. Add with `messaging provider update`.")


@app.command("list")
def list_(*, limit: Limit = 100, after: After = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the providers."""
    with connect(data_dir) as messaging:
        found = messaging.providers.list(limit=limit, after=after)
    if json:
        print_json(found)
        return
    rows = (
        (
            *(p.id, p.kind, p.channel, p.name, p.enabled, p.priority, p.weight),
            *(_said(p.limits), p.stopped_reason, p.stopped_until),
        )
        for p in found
    )
    print_table(
        (
            *("ID", "KIND", "CHANNEL", "NAME", "ENABLED", "PRIORITY", "WEIGHT"),
            *("LIMITS", "STOPPED BECAUSE", "STOPPED UNTIL"),
        ),
        rows,
        empty="No providers. Add one with `messaging provider add`.",
    )


@app.command()
def show(provider_id: ProviderId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a provider, without its secrets."""
    with connect(data_dir) as messaging:
        _show(messaging.providers.get(provider_id), json=json)


@app.command()
def enable(provider_id: ProviderId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Enable a provider, and start it again where it was stopped."""
    with connect(data_dir) as messaging:
        provider = messaging.providers.enable(provider_id)
        noted(messaging, "provider.enable", provider.id)
    _show(provider, json=json)


@app.command()
def disable(provider_id: ProviderId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Disable a provider: nothing new goes through it."""
    with connect(data_dir) as messaging:
        provider = messaging.providers.disable(provider_id)
        noted(messaging, "provider.disable", provider.id)
    _show(provider, json=json)


@app.command()
def update(  # noqa: PLR0913  each is an option of the command
    provider_id: ProviderId,
    *,
    name: Name = None,
    values: Set = None,
    files: SetFile = None,
    variables: SetEnv = None,
    priority: Priority = None,
    weight: Weight = None,
    rate: Rate = None,
    rate_per_minute: RatePerMinute = None,
    concurrency: Concurrency = None,
    warm_up: WarmUp = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change a provider: what is named is replaced, the rest stays."""
    with connect(data_dir) as messaging:
        before = messaging.providers.get(provider_id)
        fields = _fields(kind_of(before.kind), values, files, variables)
        limits = _limits(before.limits, rate, rate_per_minute, concurrency, warm_up=warm_up)
        after = messaging.providers.update(
            provider_id,
            name=name,
            priority=priority,
            weight=weight,
            limits=limits if limits != before.limits else None,
            **fields,
        )
        noted(messaging, "provider.update", provider_id, changed=", ".join(fields))  # names, and never values
    _show(after, json=json)


@app.command()
def delete(provider_id: ProviderId, *, data_dir: DataDir = None) -> None:
    """Remove a provider; its targets fall back to the first of the channel."""
    with connect(data_dir) as messaging:
        messaging.providers.delete(provider_id)
        noted(messaging, "provider.delete", provider_id)
    note(f"Provider {provider_id} is gone.")


def _limits(
    before: Limits,
    rate: float | None,
    rate_per_minute: int | None,
    concurrency: int | None,
    *,
    warm_up: bool | None,
) -> Limits:
    """The limits after the options that were given; 0 lifts one."""
    given = {"per_second": rate, "per_minute": rate_per_minute, "concurrency": concurrency}
    named: dict[str, Any] = {name: value or None for name, value in given.items() if value is not None}
    if warm_up is not None:
        named["warm_up"] = warm_up
    return replace(before, **named)


def _said(limits: Limits) -> str:
    """Limits as one reads them."""
    said = (
        (limits.per_second, "{:g} a second"),
        (limits.per_minute, "{:,} a minute"),
        (limits.concurrency, "{:,} at once"),
        (limits.warm_up, "warms up"),
    )
    return ", ".join(words.format(value) for value, words in said if value)


def _fields(
    kind: ProviderKind, values: Sequence[str] | None, files: Sequence[str] | None, variables: Sequence[str] | None
) -> dict[str, Any]:
    given: dict[str, str] = {}
    for option, pairs in (("--set", values), ("--set-file", files), ("--set-env", variables)):
        for pair in pairs or ():
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise InvalidArgumentError(option, f"'{name}' is no NAME=VALUE")
            if option == "--set-file":
                value = Path(value).read_text(encoding="utf-8")
            elif option == "--set-env":
                if value not in os.environ:
                    raise InvalidArgumentError(option, f"the environment has no variable {value}")
                value = os.environ[value]
            given[name] = value
    return {name: _typed(kind, name, value) for name, value in given.items()}


def _typed(kind: ProviderKind, name: str, value: str) -> object:
    field = kind.field(name)
    if field is None or field.type in {str, dict}:
        return value
    if field.type is bool:
        words: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.casefold() not in words:
            raise InvalidArgumentError(name, "is true or false")
        return words[value.casefold()]
    try:
        return int(value)
    except ValueError:
        raise InvalidArgumentError(name, "is a whole number") from None


def _show(provider: ProviderView, *, json: bool) -> None:
    if json:
        print_json(provider)
        return
    print_fields(
        {
            "id": provider.id,
            "kind": provider.kind,
            "channel": Channel(provider.channel),
            "name": provider.name,
            "enabled": provider.enabled,
            "priority": provider.priority,
            "weight": provider.weight,
            "limits": _said(provider.limits) or "those of its kind",
            **provider.credentials,
            **dict.fromkeys(provider.secrets_set, "(set)"),
            **provider.options,
            **({"missing": provider.missing} if provider.missing else {}),
            **({"unavailable": provider.unavailable} if provider.unavailable else {}),
            **({"stopped because": provider.stopped_reason} if provider.stopped_reason else {}),
            **({"stopped until": provider.stopped_until} if provider.stopped_until else {}),
        }
    )


def _kind(kind: ProviderKind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "channel": kind.channel,
        "title": kind.title,
        "documentation": kind.documentation,
        "has_adapter": kind.has_adapter,
        "fields": [
            {
                "name": field.name,
                "type": field.type.__name__,
                "required": field.required,
                "secret": field.secret,
                "default": field.default,
                "help": field.help,
            }
            for field in (*kind.credentials, *kind.options)
        ],
    }
