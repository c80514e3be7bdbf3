"""The form of a kind of provider, made from its entry in the catalogue, and what somebody typed into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messaging.catalog import Field, ProviderKind
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError
from messaging.http.parameters import Refused
from messaging.http.provider_parameters import parameters_of
from messaging.limits import Limits
from messaging.store.providers import ProviderView

_YES, _NO = "yes", "no"
_LONGEST_FILE = 64 << 10
_NUMBERS = ("priority", "weight")
_LIMITS = ("per_second", "per_minute", "concurrency")


@dataclass
class Typed:
    """What stands in the fields, by their names; no secret is ever among it."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def empty(kind: ProviderKind) -> Typed:
    """The form of a new account."""
    defaults = {each.name: _shown(each.default) for each in (*kind.credentials, *kind.options) if not each.secret}
    return Typed({**defaults, "name": kind.title, "priority": "0", "weight": "0"})


def of_account(kind: ProviderKind, account: ProviderView) -> Typed:
    """The form of an account as it is."""
    values = empty(kind).values
    values |= {name: _shown(value) for name, value in {**account.credentials, **account.options}.items()}
    values |= {"name": account.name, "priority": str(account.priority), "weight": str(account.weight)}
    for name in _LIMITS:
        value = getattr(account.limits, name)
        values[name] = "" if value is None else f"{value:g}"
    values["warm_up"] = _YES if account.limits.warm_up else ""
    return Typed(values)


@dataclass(frozen=True)
class Read:
    """A form that was sent: what it says, and what to show again where it is refused."""

    fields: Mapping[str, Any]
    """Credentials and options that are given or changed."""
    name: str | None
    priority: int
    weight: int
    limits: Limits | None
    typed: Typed

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.typed.errors


def read(visit: Visit, kind: ProviderKind, account: ProviderView | None = None) -> Read:
    """What somebody typed. An empty secret means "as it was"; so does whatever is as the account has it."""
    typed = Typed({name: visit.text(name) for name in ("name", "warm_up", *_NUMBERS, *_LIMITS)})
    before = {} if account is None else of_account(kind, account).values
    checks = {each.name: each.check for each in parameters_of(kind, creating=account is None)}
    fields: dict[str, Any] = {}
    for each in (*kind.credentials, *kind.options):
        try:
            said = _said(visit, each)
            if not each.secret:
                typed.values[each.name] = said
            if not said if each.secret or account is None else said == before.get(each.name, ""):
                continue
            fields[each.name] = checks[each.name](_typed(each, said)) if said else _emptied(each)
        except InvalidArgumentError as error:
            typed.errors[each.name] = error.problem
        except Refused as error:
            typed.errors[each.name] = str(error)
    numbers = dict.fromkeys(_NUMBERS, 0)
    limits = None
    try:
        numbers = {name: _whole(name, typed.values[name]) or 0 for name in _NUMBERS}
        limits = _limits(kind, typed.values)
    except InvalidArgumentError as error:
        typed.errors[error.argument.rpartition(".")[2]] = error.problem
    return Read(
        fields=fields,
        name=typed.values["name"] or None,
        priority=numbers["priority"],
        weight=numbers["weight"],
        limits=limits,
        typed=typed,
    )


def _said(visit: Visit, each: Field) -> str:
    """The text of a field, or of the file sent with it."""
    sent = visit.files.get(f"{each.name}_file")
    if sent is None or not sent.filename:
        return visit.text(each.name)
    text = sent.file.read(_LONGEST_FILE + 1)
    if len(text) > _LONGEST_FILE:
        raise InvalidArgumentError(each.name, f"the file is larger than {_LONGEST_FILE >> 10} KiB: it is another one")
    try:
        return str(text.decode("utf-8-sig")).strip()
    except UnicodeDecodeError:
        raise InvalidArgumentError(each.name, "the file is no text: it is another one") from None


def _typed(each: Field, said: str) -> object:
    if each.type is bool:
        if said not in {_YES, _NO}:
            raise InvalidArgumentError(each.name, "choose yes or no")
        return said == _YES
    return _whole(each.name, said) if each.type is int else said


def _emptied(each: Field) -> object:
    """What an account has where somebody empties a field."""
    if each.default is None and each.type is not str:
        raise InvalidArgumentError(each.name, "can't be emptied; choose a value")
    return each.default if each.default is not None else ""


def _whole(name: str, said: str) -> int | None:
    try:
        return int(said) if said else None
    except ValueError:
        raise InvalidArgumentError(name, "is a whole number") from None


def _limits(kind: ProviderKind, values: Mapping[str, str]) -> Limits:
    try:
        per_second = float(values["per_second"]) if values["per_second"] else None
    except ValueError:
        raise InvalidArgumentError("per_second", "is a number") from None
    return Limits(
        per_second=per_second,
        per_minute=_whole("per_minute", values["per_minute"]),
        concurrency=_whole("concurrency", values["concurrency"]),
        warm_up=values["warm_up"] == _YES,
    ).of_channel(kind.channel)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return _YES if value else _NO
    return "" if value is None else str(value)
