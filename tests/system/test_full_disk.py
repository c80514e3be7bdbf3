"""PostgreSQL's disk is full for a while: on a small file system of its own, filled by somebody else."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from messaging.local.postgres_home import account_for
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import FAST, Stack, until
from tests.acceptance.sums import sums

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

_SIZE = "400m"
_FULL_S = 8.0
_PIECE = bytes(64 * 1024)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system in memory; only root may mount one."""
    place = Path(tempfile.mkdtemp(prefix="heliograph-disk-"))
    place.chmod(0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0711", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        place.rmdir()
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


@pytest.fixture
def stack(disk: Path) -> Iterator[Stack]:
    """A stack whose PostgreSQL lies there."""
    home = Path(tempfile.mkdtemp(prefix="heliograph-"))
    home.chmod(0o711)
    data = disk / "data"
    account = account_for(data)
    assert account.uid is not None
    (home / "data").mkdir(mode=0o711)
    (home / "data" / "postgres").symlink_to(data)
    started = Stack(home / "data", FAST)
    try:
        started.start("--sandbox")
        with started.client() as client:
            configure(client, started.sandbox)
        yield started
    finally:
        started.close()
        shutil.rmtree(home, ignore_errors=True)


def fill(ballast: Path) -> None:
    """Take all that is left."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while file.write(_PIECE):
                pass
        except OSError:
            pass


def test_a_full_disk_costs_time_only(stack: Stack, disk: Path) -> None:
    """The API says yes to nothing it can't keep; when there is room again, everything that was said yes to goes out."""
    tokens = apns_tokens(2000)
    answered: list[str] = []
    refused = 0
    with stack.client() as client:
        push_topic(client, apns=tokens)
        targets = {token: client.targets.create(token, provider_id="apns").id for token in apns_tokens(800)}
    headers = {"x-appwrite-project": stack.runtime.project, "x-appwrite-key": stack.runtime.api_key}
    reached: list[str] = []
    ballast = disk / "ballast"
    with httpx.Client(base_url=stack.runtime.endpoint, trust_env=False, timeout=60) as api:

        def ask(token: str) -> int:
            body = {"messageId": "unique()", "title": "Hello", "body": "x" * 3000, "targets": [targets[token]]}
            answer = api.post("/messaging/messages/push", json=body, headers=headers)
            if answer.status_code == HTTPStatus.CREATED:
                answered.append(answer.json()["$id"])
                reached.append(token)
            return answer.status_code

        waiting = iter(targets)
        for _ in range(20):
            assert ask(next(waiting)) == HTTPStatus.CREATED
        fill(ballast)
        since = time.monotonic()
        while time.monotonic() - since < _FULL_S or not refused:
            fill(ballast)  # what PostgreSQL gave back
            status = ask(next(waiting))
            assert status in {HTTPStatus.CREATED, HTTPStatus.SERVICE_UNAVAILABLE}
            refused += status == HTTPStatus.SERVICE_UNAVAILABLE
            time.sleep(0.05)
        ballast.unlink()
        until(lambda: ask(next(waiting)) == HTTPStatus.CREATED, lambda: stack.tail("up", "api"), within_s=60)

    def all_finished() -> bool:
        try:
            with stack.client() as client:
                return all(client.get(each).state.is_finished for each in answered)
        except Exception:  # noqa: BLE001  PostgreSQL may still be on its way back
            return False

    until(all_finished, lambda: stack.tail("up", "push-high", "beat"), within_s=90)
    with stack.client() as client:
        sums(client, stack.sandbox["control"], answered, reached, "apns").assert_exact()
