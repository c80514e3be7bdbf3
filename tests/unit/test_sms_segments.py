"""Segment counting, against the outputs of an independent calculator."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.sms_segments import Encoding, segments

GSM_PLAIN = "abcXYZ019 @é\n"
GSM_PAIRS = "^{}[]~\\|€"
ANY = GSM_PLAIN + GSM_PAIRS + "ç`я😀"


def test_every_case_of_the_calculator_gives_its_encoding_and_count(shared_dir: Path) -> None:
    """The 26 outputs of sms-segments-calculator are ours too."""
    cases = json.loads((shared_dir / "contracts/vectors/sms_segments.json").read_text())["cases"]
    assert len(cases) == 26
    for case in cases:
        found = segments(case["text"])
        assert (found.encoding, found.parts) == (case["encoding"], case["segments"]), case["name"]
        assert found.units * (7 if found.encoding is Encoding.GSM_7 else 16) == case["message_bits"], case["name"]


@given(st.text(alphabet=GSM_PLAIN, max_size=700))
def test_plain_characters_fill_parts_of_153_septets(text: str) -> None:
    """Without pairs nothing is wasted at the end of a part."""
    parts = segments(text).parts
    assert parts == (1 if len(text) <= 160 else -(-len(text) // 153))


@given(st.text(alphabet=GSM_PLAIN + GSM_PAIRS, max_size=700))
def test_a_pair_wastes_at_most_one_septet_a_part(text: str) -> None:
    """ESC pairs are kept together, so a part holds 152 septets at least."""
    found = segments(text)
    if found.units > 160:
        assert -(-found.units // 153) <= found.parts <= -(-found.units // 152)


@pytest.mark.parametrize("character", ["ç", "`", "\u2019", "я", "😀"])
def test_one_character_outside_the_alphabet_moves_the_whole_text_to_ucs2(character: str) -> None:
    """A single foreign character halves the room, and is named."""
    assert segments("a" * 80).parts == 1
    found = segments("a" * 80 + character)
    assert (found.encoding, found.parts, found.forcing) == (Encoding.UCS_2, 2, (character,))


def test_the_characters_that_force_ucs2_are_named_once_and_in_order() -> None:
    """Those GSM-7 has are not among them, and they alone are to blame."""
    found = segments("Ça va, Zoë? ¿Qué? \u2019ë€\u2019")
    assert found.forcing == ("ë", "\u2019")
    assert segments("Ça va, Zoe? ¿Qué? 'e€'").forcing == ()


@pytest.mark.parametrize(
    ("text", "parts", "characters", "left"),
    [
        ("", 1, 0, 160),
        ("a" * 160, 1, 160, 0),
        ("a" * 161, 2, 161, 145),
        ("€" * 80, 1, 80, 0),
        ("a" * 152 + "€" + "a" * 7, 2, 160, 144),
        ("я", 1, 1, 69),
        ("я" * 71, 2, 71, 63),
        ("😀" * 35, 1, 35, 0),
    ],
)
def test_what_is_left_is_room_in_the_last_part(text: str, parts: int, characters: int, left: int) -> None:
    """In septets or UTF-16 units; a pair that does not fit at the end of a part begins the next."""
    found = segments(text)
    assert (found.parts, found.characters, found.left) == (parts, characters, left)


@given(text=st.text(alphabet=ANY, min_size=1, max_size=300))
def test_as_many_plain_characters_as_are_left_cost_no_part_and_one_more_does(text: str) -> None:
    """Which is what the number is for."""
    found = segments(text)
    assert segments(text + "a" * found.left).parts == found.parts
    assert segments(text + "a" * (found.left + 1)).parts == found.parts + 1
