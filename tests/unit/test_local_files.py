"""The files of a data directory: private, whole, and kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from messaging.local.children import rotate
from messaging.local.private_files import kept_secret, write_private
from messaging.local.runtime import Runtime, read_runtime


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, also where it replaces a file that was open to others."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert _mode(path) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_text(tmp_path: Path) -> None:
    """Text that cannot be written leaves the file as it was, and no half of a new one beside it."""
    path = tmp_path / "file"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second call reads what the first one made; two files differ."""
    first = kept_secret(tmp_path / "secret.key")
    assert len(first) >= 32
    assert kept_secret(tmp_path / "secret.key") == first
    assert kept_secret(tmp_path / "other.key") != first
    assert _mode(tmp_path / "secret.key") == 0o600


def test_the_runtime_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """`runtime.json` holds every field, mode 0600."""
    runtime = Runtime(
        endpoint="http://127.0.0.1:8000/v1",
        project="default",
        api_key="key",
        console="http://127.0.0.1:8000/console",
        flower="http://127.0.0.1:5555",
        database_url="postgresql://127.0.0.1/heliograph",
        broker_url="redis://127.0.0.1/0",
        sandbox=None,
        processes={"api": 1},
    )
    runtime.write(tmp_path)
    assert read_runtime(tmp_path) == runtime
    assert _mode(tmp_path / "runtime.json") == 0o600


def test_a_large_log_moves_aside_and_three_are_kept(tmp_path: Path) -> None:
    """A log above the limit becomes `.1`, older ones move up, the oldest goes."""
    log = tmp_path / "push.log"
    for number in range(5):
        log.write_text(f"{number}" * 20)
        rotate(log, limit_bytes=10)
    assert not log.exists()
    kept = {path.name: path.read_text()[0] for path in tmp_path.iterdir()}
    assert kept == {"push.log.1": "4", "push.log.2": "3", "push.log.3": "2"}


def test_a_small_log_is_appended_to(tmp_path: Path) -> None:
    """A log below the limit stays where it is."""
    log = tmp_path / "push.log"
    log.write_text("short")
    rotate(log, limit_bytes=10)
    assert log.read_text() == "short"
