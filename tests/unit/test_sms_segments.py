"""Segment counting, against the outputs of an independent calculator."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.sms_segments import Encoding, segments

GSM_PLAIN = "abcXYZ019 @é\n"
GSM_PAIRS = "^{}[]~\\|€"


def test_every_case_of_the_calculator_gives_its_encoding_and_count(shared_dir: Path) -> None:
    """The 26 outputs of sms-segments-calculator are ours too."""
    cases = json.loads((shared_dir / "contracts/vectors/sms_segments.json").read_text())["cases"]
    assert len(cases) == 26
    for case in cases:
        found = segments(case["text"])
        assert (found.encoding, found.count) == (case["encoding"], case["segments"]), case["name"]
        assert found.units * (7 if found.encoding is Encoding.GSM_7 else 16) == case["message_bits"], case["name"]


@given(st.text(alphabet=GSM_PLAIN, max_size=700))
def test_plain_characters_fill_parts_of_153_septets(text: str) -> None:
    """Without pairs nothing is wasted at the end of a part."""
    count = segments(text).count
    assert count == (1 if len(text) <= 160 else -(-len(text) // 153))


@given(st.text(alphabet=GSM_PLAIN + GSM_PAIRS, max_size=700))
def test_a_pair_wastes_at_most_one_septet_a_part(text: str) -> None:
    """ESC pairs are kept together, so a part holds 152 septets at least."""
    found = segments(text)
    if found.units > 160:
        assert -(-found.units // 153) <= found.count <= -(-found.units // 152)


@pytest.mark.parametrize("character", ["ç", "`", "\u2019", "я", "😀"])
def test_one_character_outside_the_alphabet_moves_the_whole_text_to_ucs2(character: str) -> None:
    """A single foreign character halves the room."""
    assert segments("a" * 80).count == 1
    found = segments("a" * 80 + character)
    assert (found.encoding, found.count) == (Encoding.UCS_2, 2)
