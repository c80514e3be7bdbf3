"""How many parts a text message takes: GSM-7 or UCS-2, and the segments a carrier bills.

Sources: 3GPP TS 23.038 §6.2.1 (alphabet), 3GPP TS 23.040 §9.2.3.24.1 (concatenation, 8-bit reference).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
"""Written as ESC and a second septet; a pair is never split over two parts."""

_FIRST_BEYOND_BMP = 0x10000


class Encoding(StrEnum):
    """The alphabet a message is sent in; one character outside GSM-7 moves the whole message to UCS-2."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


_LIMITS = {Encoding.GSM_7: (160, 153), Encoding.UCS_2: (70, 67)}
"""Units in a message of one part, and in each part of a longer one (the rest is its header)."""


@dataclass(frozen=True)
class Segments:
    """What a text takes on the wire."""

    encoding: Encoding
    parts: int
    """Sent and billed; an empty text takes one."""
    characters: int
    """Unicode characters of the text."""
    units: int
    """Septets (GSM-7) or UTF-16 units (UCS-2) of the text: some characters take two."""
    left: int
    """Units that still fit into the last part."""
    forcing: tuple[str, ...] = ()
    """The characters, each once and in order, that GSM-7 does not have; without them it were GSM-7."""


def segments(text: str) -> Segments:
    """The encoding and parts of `text`, as it is written (no smart encoding applied)."""
    forcing = tuple(dict.fromkeys(each for each in text if each not in _BASIC and each not in _EXTENSION))
    if forcing:
        encoding = Encoding.UCS_2
        widths = [2 if ord(character) >= _FIRST_BEYOND_BMP else 1 for character in text]
    else:
        encoding = Encoding.GSM_7
        widths = [2 if character in _EXTENSION else 1 for character in text]
    single, part = _LIMITS[encoding]
    units = sum(widths)
    if units <= single:
        return Segments(encoding, 1, len(text), units, single - units, forcing)
    parts, filled = 1, 0
    for width in widths:
        if filled + width > part:
            parts, filled = parts + 1, 0
        filled += width
    return Segments(encoding, parts, len(text), units, part - filled, forcing)
