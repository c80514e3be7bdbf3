"""Every code block of every page is run by a test or says why not, and each can be read for what it is."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import json
import subprocess
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from messaging.settings import Settings
from tests.docs.blocks import LANGUAGES, Block, all_blocks, blocks, pages
from tests.docs.commands import fault, typed
from tests.docs.links import inline_code

NEEDED = {
    "MESSAGING_DATABASE_URL": "postgresql://localhost/messaging",
    "MESSAGING_BROKER_URL": "redis://localhost:6379/0",
    "MESSAGING_SECRET_KEY": "k" * 32,
}
"""What no installation can do without, where a block shows other settings."""


def in_language(*languages: str) -> list[Block]:
    """The blocks of all pages in one of these languages."""
    return [block for block in all_blocks() if block.language in languages]


def faults(found: Mapping[str, str]) -> str:
    """A readable list."""
    return "\n".join(f"{place}: {what}" for place, what in found.items())


def test_there_are_pages_and_blocks_to_look_at() -> None:
    """A reader of blocks that finds none would let everything pass."""
    assert len(pages()) > 30
    assert len(in_language("sh", "console")) > 20
    assert len(in_language("python")) > 10


def test_every_block_is_in_a_language_that_a_test_can_run_or_read() -> None:
    """A block without a language is one that nobody looks at."""
    unknown = {
        block.place: f"'{block.language}' is none of {', '.join(sorted(LANGUAGES))}; pictures and output are `text`"
        for block in all_blocks()
        if block.language not in LANGUAGES
    }
    assert not unknown, faults(unknown)


def test_what_is_not_run_says_why() -> None:
    """In a comment before it that readers of the page's source see."""
    silent = {block.place: "say why: <!-- not run: … -->" for block in all_blocks() if block.not_run == ""}
    assert not silent, faults(silent)


def test_every_text_is_the_output_of_the_block_before_it() -> None:
    """Or says that it is something else."""
    lonely: dict[str, str] = {}
    for page in pages():
        before: Block | None = None
        for block in blocks(page):
            if block.language == "text" and block.not_run is None and not (before is not None and before.is_run):
                lonely[block.place] = "no block before it is run: say what it is, <!-- not run: a picture -->"
            before = block
    assert not lonely, faults(lonely)


def test_every_shell_block_is_shell() -> None:
    """As bash reads it, without running it."""
    wrong: dict[str, str] = {}
    for block in in_language("sh"):
        read = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        if read.returncode:
            wrong[block.place] = read.stderr.strip()
    assert not wrong, faults(wrong)


def test_every_command_of_ours_exists_with_the_options_it_is_given() -> None:
    """In blocks, and where the prose names one."""
    wrong: dict[str, str] = {}
    for block in in_language("sh", "console"):
        text = block.text if block.language == "sh" else block.text.replace("$ ", "")
        for words in typed(text):
            wrong |= {block.place: said} if (said := fault(words)) else {}
    for page in pages():
        for line, code in inline_code(page):
            for words in typed(code) if code.startswith("messaging ") else ():
                wrong |= {f"{page}:{line}": said} if (said := fault(words)) else {}
    assert not wrong, faults(wrong)


def test_a_command_that_does_not_exist_is_found() -> None:
    """The check above can fail."""
    (words,) = typed("NAME=1; messaging provider paint --blue < file")
    assert fault(words) == "`messaging provider` has no command `paint`"
    assert fault(["send", "sms", "Hello", "--too", "user:ada"]) == "`messaging send sms` has no option `--too`"
    assert fault(["send", "sms", "Hello", "--to", "user:ada"]) is None


def test_every_python_block_is_python() -> None:
    """As Python compiles it."""
    for block in in_language("python"):
        compile("\n" * block.line + block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_what_python_blocks_import_exists() -> None:
    """Names of ours are looked up, other packages are looked for."""
    wrong: dict[str, str] = {}
    for block in in_language("python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                wrong |= _missing(block, node.module, [each.name for each in node.names])
            elif isinstance(node, ast.Import):
                for each in node.names:
                    wrong |= _missing(block, each.name, [])
    assert not wrong, faults(wrong)


def _missing(block: Block, module: str, names: list[str]) -> dict[str, str]:
    if module.partition(".")[0] not in {"messaging", "workers"}:
        found = importlib.util.find_spec(module.partition(".")[0])
        return {} if found is not None else {block.place: f"there is no module {module}"}
    loaded = importlib.import_module(module)
    lost = [name for name in names if not hasattr(loaded, name)]
    return {block.place: f"{module} has no {', '.join(lost)}"} if lost else {}


def test_every_json_block_is_json() -> None:
    """One document each."""
    for block in in_language("json"):
        json.loads(block.text)


def test_every_toml_and_yaml_block_can_be_read() -> None:
    """YAML may hold several documents."""
    read_yaml: Any = importlib.import_module("yaml").safe_load_all
    for block in in_language("toml", "yaml"):
        if block.language == "toml":
            tomllib.loads(block.text)
        else:
            list(read_yaml(block.text))


def test_every_csv_block_is_a_table() -> None:
    """Each line has as many cells as the first."""
    for block in in_language("csv"):
        widths = {len(row) for row in csv.reader(block.text.splitlines())}
        assert len(widths) == 1, block.place


@pytest.mark.parametrize("block", in_language("env"), ids=lambda block: block.place)
def test_every_block_of_settings_is_accepted(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that starts with them accepts them."""
    lines = [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    for name, value in (NEEDED | given).items():
        monkeypatch.setenv(name, value)
    Settings.load()
