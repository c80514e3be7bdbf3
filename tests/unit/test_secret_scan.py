"""No secret is in a file that is published: every tracked file is scanned, and what is known to be none is listed.

detect-secrets (https://github.com/Yelp/detect-secrets) looks for keys by their shapes and for text that is too random.
Its search for words such as `password` is left out: ruff's S105 to S107 do that in our packages, and in tests a
password opens nothing. `.secrets.baseline` lists, by hash, what looks like a secret and was looked at.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from detect_secrets.core.scan import _process_line_based_plugins
from detect_secrets.settings import transient_settings

from tests.conftest import ROOT

BASELINE = ROOT / ".secrets.baseline"
_LEFT_OUT = "KeywordDetector"
_COULD_BE = re.compile(r"(?=[\w+/=.:-]*\d)[\w+/=.:-]{16}|BEGIN|://[^/\s]*@")
"""Sixteen letters and digits in a row, a key's first line, or a password in an address."""
_REFRESH = (
    f".venv/bin/python -m detect_secrets scan --disable-plugin {_LEFT_OUT}"
    " --exclude-secrets '^(password|secret|guest)$' $(git ls-files -co --exclude-standard) > .secrets.baseline"
)


def tracked() -> list[str]:
    """Every file git knows of, or would take."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is nobody to ask which files are published")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in found.split("\0") if name and (ROOT / name).is_file() and name != BASELINE.name]


def secrets_in(
    names: list[str], configuration: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> set[tuple[str, str]]:
    """(file, hash) of each thing that looks like a secret."""
    monkeypatch.chdir(ROOT)
    with transient_settings(configuration):
        return {(name, found.secret_hash) for name in names for found in _process_line_based_plugins(lines(name), name)}


def lines(name: str) -> list[tuple[int, str]]:
    """The lines of a file that could hold a secret: the library takes a tenth of a millisecond for each it looks at."""
    try:
        text = (ROOT / name).read_bytes().decode(errors="replace")
    except FileNotFoundError:  # somebody's who had it for a moment
        return []
    return list(enumerate((line for line in text.splitlines() if _COULD_BE.search(line)), start=1))


@pytest.fixture(scope="module")
def baseline() -> dict[str, object]:
    """What is known to be no secret, and how was scanned."""
    found: dict[str, object] = json.loads(BASELINE.read_text())
    return found


def test_no_tracked_file_holds_a_secret(baseline: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at what is new: take it out, or list it. The values are told by their hashes only."""
    results: dict[str, list[dict[str, str]]] = baseline["results"]  # type: ignore[assignment]
    known = {(name, each["hashed_secret"]) for name, found in results.items() for each in found}
    assert secrets_in(tracked(), baseline, monkeypatch) - known == set(), f"if none of these is one: {_REFRESH}"


def test_a_key_would_be_found(baseline: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scan can fail: keys of the kinds we hold are noticed, each by its own shape."""
    begin = "-----BEGIN {}PRIVATE" + " KEY-----"
    keys = [begin.format(""), begin.format("EC "), "AKIA" + "Q7X2M4KD8ZPLB3NT", "SK" + "0f1e2d3c" * 4]
    for number, key in enumerate(keys):
        path = tmp_path / f"{number}.py"
        path.write_text(f"key = '{key}'\n")
        assert secrets_in([str(path)], baseline, monkeypatch), key
