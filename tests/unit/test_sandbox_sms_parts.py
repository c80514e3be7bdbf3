"""Parts of a text message, against the oracle's cases."""

import json
from pathlib import Path

from messaging.local.sandbox.sms_parts import count_parts


def test_parts_are_counted_as_twilios_calculator_does(shared_dir: Path) -> None:
    """Every case of the sms-segments-calculator comes out alike."""
    cases = json.loads((shared_dir / "contracts/vectors/sms_segments.json").read_text())["cases"]
    wrong = {case["name"]: count_parts(case["text"]) for case in cases if count_parts(case["text"]) != case["segments"]}
    assert len(cases) > 20
    assert not wrong
