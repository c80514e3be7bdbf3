"""The probe for supervisors says what is, by a file or a port of this machine, and costs little."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from messaging.cli.health import UnhealthyError, look_at

_HEAVY = ("celery", "kombu", "sqlalchemy", "pydantic_settings", "httpx", "psycopg")


def written_just_now(sign: Path) -> Path:
    """A sign of life, by this process's clock."""
    sign.touch()
    now = time.time()
    os.utime(sign, (now, now))
    return sign


def test_a_file_that_was_written_just_now_is_a_sign_of_life(tmp_path: Path) -> None:
    """Nothing is said."""
    sign = written_just_now(tmp_path / "ready")
    look_at(sign, freshest_s=60)


def test_one_that_was_not_written_for_long_is_none(tmp_path: Path) -> None:
    """Unless nobody promised to write it again."""
    sign = tmp_path / "ready"
    sign.touch()
    long_ago = time.time() - 3600
    os.utime(sign, (long_ago, long_ago))
    with pytest.raises(UnhealthyError, match="stands still"):
        look_at(sign, freshest_s=60)
    look_at(sign, freshest_s=None)


def test_one_that_is_not_there_means_not_ready(tmp_path: Path) -> None:
    """And so does none at all."""
    with pytest.raises(UnhealthyError, match="not ready"):
        look_at(tmp_path / "none", freshest_s=60)
    with pytest.raises(UnhealthyError, match="MESSAGING_READY_FILE"):
        look_at(None, freshest_s=60)


def test_the_probe_imports_none_of_what_takes_long(tmp_path: Path) -> None:
    """It runs every few seconds beside each process."""
    sign = written_just_now(tmp_path / "ready")
    script = (
        "import sys\n"
        "from messaging.cli.main import main\n"
        f"sys.argv = ['messaging', 'health', '--file', {str(sign)!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
