"""Addresses, checked and normalised per channel, so that one address is one target."""

from __future__ import annotations

import json
import re

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError

LONGEST_TOKEN = 4096
"""APNs tokens may grow and FCM's have no documented limit; APNs bodies and FCM requests stop at 4 KiB."""

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
# What needs no library: saves two thirds of the time a list of a million takes. The top-level domain is one that is
# neither a special-use name (RFC 6761: test, invalid, …) nor international (xn--).
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[a-z0-9]{1,63}\.){1,4}(?:com|org|net|edu|info|de|fr|uk|io|eu)",
    re.ASCII | re.IGNORECASE,
)
_SURELY_SHORT = 64
_LONGEST_E164 = 16
"""`+` and 15 digits (ITU-T E.164 §6.2); libphonenumber knows of longer ones."""
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){4,}", re.ASCII)


def normalise(channel: Channel, address: str, *, provider_kind: str | None = None, argument: str = "identifier") -> str:
    """The one spelling under which `address` is stored and compared.

    Raises `InvalidArgumentError` naming `argument`. The error never repeats a push token.
    """
    if not isinstance(address, str):
        raise InvalidArgumentError(argument, f"an address is text, not {type(address).__name__}")
    if channel is Channel.EMAIL:
        return normalise_email(address, argument=argument)
    if channel is Channel.SMS:
        return normalise_phone(address, argument=argument)
    return normalise_token(address, provider_kind=provider_kind, argument=argument)


def normalise_email(address: str, *, argument: str = "email") -> str:
    """`address` with its domain in lower case; the local part keeps its case (RFC 5321 §2.4).

    International domains keep their Unicode spelling, so that `bücher.example` and
    `xn--bcher-kva.example` are one address. No DNS is asked.
    """
    if _PLAIN_EMAIL.fullmatch(address) and len(address) <= _SURELY_SHORT:
        local, _, domain = address.rpartition("@")
        return f"{local}@{domain.lower()}"
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415  imports idna's tables

    try:
        return validate_email(
            address.strip(), check_deliverability=False, test_environment=True, allow_domain_literal=True
        ).normalized
    except EmailNotValidError as error:
        raise InvalidArgumentError(argument, f"'{_shortened(address)}' is no email address: {error}") from None


def normalise_phone(number: str, *, argument: str = "phone") -> str:
    """`number` in E.164, e.g. `+493012345678`; it must carry its country code and be possible there.

    Possible, not assigned: a numbering plan's newest ranges are not in any table (libphonenumber's FAQ). Refused as
    well: what can be dialled within its own area only, an extension (a text would go to the exchange), and more than
    the 15 digits of E.164.
    """
    import phonenumbers  # noqa: PLC0415  takes a tenth of a second to import

    try:
        parsed = phonenumbers.parse(number.strip(), None)
    except phonenumbers.NumberParseException:
        parsed = None
    possible = phonenumbers.ValidationResult.IS_POSSIBLE
    if parsed is not None and not parsed.extension and phonenumbers.is_possible_number_with_reason(parsed) == possible:
        normal = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        if len(normal) <= _LONGEST_E164:
            return normal
    raise InvalidArgumentError(
        argument,
        f"'{_shortened(number)}' is no possible phone number; write it with its country code, e.g. +4930123456",
    )


def normalise_token(token: str, *, provider_kind: str | None = None, argument: str = "identifier") -> str:
    """A push token: not empty, at most 4,096 characters, no whitespace; as its provider kind has them."""
    if not token:
        raise InvalidArgumentError(argument, "a push token is not empty")
    kind = KINDS.get(provider_kind or "")
    if kind is not None and kind.address_format == "subscription":
        token = _subscription(token, argument)
    if len(token) > LONGEST_TOKEN:
        raise InvalidArgumentError(argument, f"a push token has at most {LONGEST_TOKEN} characters, not {len(token)}")
    if _UNPRINTABLE.search(token):
        raise InvalidArgumentError(argument, "a push token has no whitespace and no control characters")
    if kind is not None and kind.address_format == "hex":
        if not _HEX.fullmatch(token):
            raise InvalidArgumentError(argument, f"a device token of {kind.title} is hexadecimal, two digits a byte")
        return token.lower()
    return token


def _subscription(text: str, argument: str) -> str:
    """A browser's push subscription in one spelling, so that one is one target: compact JSON, without its end."""
    try:
        said = json.loads(text)
        found = {"endpoint": said["endpoint"], "keys": {name: said["keys"][name] for name in ("p256dh", "auth")}}
        right = all(isinstance(value, str) and value for value in (found["endpoint"], *found["keys"].values()))
    except (ValueError, TypeError, KeyError, RecursionError):
        right = False
    if not right:
        raise InvalidArgumentError(
            argument,
            'a browser\'s address is its PushSubscription as JSON: {"endpoint": …, "keys": {"p256dh": …, "auth": …}}',
        )
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _shortened(address: str) -> str:
    return address if len(address) <= 80 else address[:77] + "…"  # noqa: PLR2004  one line of a terminal
