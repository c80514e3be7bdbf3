"""A kind of provider is known to its own modules and the catalogue; everything else reads the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.catalog import KINDS, ProviderKind

ROOT = Path(__file__).resolve().parent.parent.parent
_CATALOGUE = "messaging/catalog.py"
_STAND_INS = "messaging/local/"
"""The sandbox plays the providers, and the demo sets them up."""

_NOT_THE_KIND = re.compile(
    r"\bapns-[a-z]+"  # headers of the protocol, which FCM passes on to Apple and HTTP/2 keeps out of HPACK's table
    r"|\bapns=(?=_apns\()"  # FCM's own name for the part of a message that is for Apple's devices
    r"|\bwebpush=(?=fcm\.)"  # and for browsers
    r"|\bfcm\.googleapis\.com\b"  # the push service of one browser maker, too
    r"|\bwww\.twilio\.com\b"  # where SendGrid's documentation is
)
_NAMES_OF_OTHER_THINGS = {
    "appwrite",  # also the API we keep, in its headers
    "resend",  # also a verb
}


def sources() -> Iterator[Path]:
    """Every file of the two packages that a person reads."""
    for package in ("messaging", "workers"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".html", ".md", ".txt", ".mako", ".sql", ".js"}:
                yield path


def is_own_place(kind: ProviderKind, place: str) -> bool:
    """Whether a file may name the kind: its module (or one of several kinds), those that begin like it, the stand-ins.

    `webhook_push` is served by `webhook.py`, and `webhook_codes.py` is its own as well.
    """
    return place == _CATALOGUE or place.startswith((_STAND_INS, f"workers/providers/{kind.module}"))


def mentions(name: str) -> Iterator[tuple[str, int, str]]:
    """File, number and text of each line outside the kind's own places that has `name` as a word."""
    word = re.compile(rf"\b{name}\b")
    for path in sources():
        place = path.relative_to(ROOT).as_posix()
        if is_own_place(KINDS[name], place):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if word.search(_NOT_THE_KIND.sub("", line)):
                yield place, number, line.strip()


@pytest.mark.parametrize("name", sorted(KINDS.keys() - _NAMES_OF_OTHER_THINGS))
def test_a_kinds_name_appears_in_its_own_modules_only(name: str) -> None:
    """Else adding a provider would be more than a module and an entry of the catalogue."""
    offenders = [f"{place}:{number}: {line}" for place, number, line in mentions(name)]
    assert not offenders, "\n".join([f"'{name}' is named outside its own modules:", *offenders])


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_kind_has_its_module_exactly_if_it_can_send(kind: ProviderKind) -> None:
    """Under its name, or that of a module for several; without one it says why it can't be enabled."""
    assert (ROOT / "workers" / "providers" / f"{kind.module}.py").is_file() is kind.has_adapter
    assert (kind.unavailable is None) is kind.has_adapter
