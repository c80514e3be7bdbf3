"""How many parts a text takes on the air, for the `num_segments` of an answer (3GPP TS 23.038 §6.2.1)."""

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_7_EXTENDED = frozenset("^{}\\[~]|€\f")


def count_parts(text: str) -> int:
    """The number of parts; no escaped character and no surrogate pair is split between two."""
    if all(letter in _GSM_7 or letter in _GSM_7_EXTENDED for letter in text):
        widths, single, part = [2 if letter in _GSM_7_EXTENDED else 1 for letter in text], 160, 153
    else:
        widths, single, part = [len(letter.encode("utf-16-le")) // 2 for letter in text], 70, 67
    if sum(widths) <= single:
        return 1
    parts, used = 1, 0
    for width in widths:
        if used + width > part:
            parts, used = parts + 1, 0
        used += width
    return parts
