"""The parameters of a provider kind, made from its entry in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from messaging.catalog import Field, Format, ProviderKind
from messaging.http import parameters as p
from messaging.http.body import strict_loads
from messaging.http.operations import Call
from messaging.http.parameters import Check, Parameter, Refused

MASK = "********"
"""What an answer shows for a secret that is set.

The SDKs need an object of credentials and an operator must see which are set; a secret itself never leaves. A program
that reads a provider and writes it back sends this, which therefore means "as it was".
"""
_LONGEST = 16_384
"""Of a text the catalogue sets no limit for: a key file has three thousand characters."""

_SERVER = (
    r"(?:(?:ssl|tls|smtps?)://)?(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}|[^\s:/\[\];]{1,253})"
    r"(?::([0-9]{1,5}))?/?"
)
_SERVER_ENTRY = re.compile(_SERVER)
_HIGHEST_PORT = 65_535
# https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id, and a short code or a messaging service
_SENDER = re.compile(r"MG[0-9a-fA-F]{32}|[0-9]{3,8}|(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}", re.ASCII)


def parameters_of(kind: ProviderKind, *, creating: bool) -> tuple[Parameter, ...]:
    """A parameter for each credential and option of `kind`; when one is changed, an empty text means "not given"."""
    return tuple(_parameter(field, creating=creating) for field in (*kind.credentials, *kind.options))


def given_fields(call: Call, kind: ProviderKind) -> dict[str, Any]:
    """Credentials and options that the caller gave a value for."""
    return dict(_given(call, kind))


def _given(call: Call, kind: ProviderKind) -> Iterator[tuple[str, Any]]:
    for field in (*kind.credentials, *kind.options):
        value = call[field.name]
        if not call.is_given(field.name) or value == "" or (field.secret and value == MASK):
            continue
        yield field.name, value


def _parameter(field: Field, *, creating: bool) -> Parameter:
    if field.type is bool:
        return p.boolean(field.name, help=field.help)
    if field.type is int:
        return p.integer(field.name, least=field.least or 0, most=field.most or 2**31 - 1, help=field.help)
    if field.type is dict:
        return Parameter(name=field.name, check=_object, schema={"type": ["object", "string"]}, help=field.help)
    if field.choices:
        words = field.choices if creating else ("", *field.choices)
        return p.one_of(field.name, words, help=field.help)
    plain = p.text(
        field.name,
        required=creating and field.first,
        shortest=1 if creating and field.default != "" else 0,
        longest=field.longest or _LONGEST,
        help=field.help,
    )
    check = _format(field)
    if check is None:
        return plain
    return replace(plain, check=lambda value: check(found) if (found := plain.check(value)) else found)


def _format(field: Field) -> Check | None:
    match field.format:
        case Format.EMAIL:
            return p.email(field.name).check
        case Format.SENDER:
            return _sender
        case Format.HOSTS:
            return _hosts
        case None:
            return None


def _sender(value: str) -> str:
    if _SENDER.fullmatch(value):
        return value
    try:
        return str(p.phone("from").check(value))
    except Refused:
        raise Refused(
            "Value must be a phone number with a '+' and its country code, a short code, a messaging service (MG…),"
            " or a name of at most 11 letters and digits"
        ) from None


def _hosts(value: str) -> str:
    entries = [entry.strip() for entry in value.split(";") if entry.strip()]
    for entry in entries:
        found = _SERVER_ENTRY.fullmatch(entry)
        if found is None or not 1 <= int(found[1] or 1) <= _HIGHEST_PORT:
            raise Refused(
                "Value must be a host name, or several with semicolons between them: `mx.example.org`,"
                " `mx1.example.org:25;tls://mx2.example.org:587`"
            )
    if not entries:
        raise Refused("Value must name a host")
    return value


def _object(value: Any) -> Any:  # noqa: ANN401  from a wire
    """An object, or its JSON text; the mask and an empty text stay as they are."""
    if value in ("", MASK):
        return value
    if isinstance(value, str):
        try:
            value = strict_loads(value)
        except (ValueError, RecursionError):
            raise Refused("Value must be a valid object, or its JSON text") from None
    return p.mapping("").check(value)
