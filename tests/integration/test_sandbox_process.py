"""The sandbox as a process: addresses, control, restarts, and a record that outlives a kill."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.local.free_ports import free_ports
from messaging.local.sandbox.addresses import SandboxAddresses, read_addresses
from messaging.local.sandbox.credentials import twilio_credentials
from messaging.local.sandbox.server import SandboxError
from messaging.local.sandbox.threaded import sandbox_in_thread

PATIENCE_S = 120.0
"""For a process to start, to answer or to end: a busy machine may stand still for seconds."""


def command(data_dir: Path, *more: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "messaging.local.sandbox", "--data-dir", str(data_dir), *more]


@contextlib.contextmanager
def running(data_dir: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], SandboxAddresses]]:
    """A sandbox process that is ready, and its addresses."""
    file = data_dir / "sandbox" / "addresses.json"
    stale_ns = written_ns(file)  # left by a killed run
    process = subprocess.Popen(command(data_dir, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while written_ns(file) in {None, stale_ns}:
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, read_addresses(file)
    finally:
        process.kill()
        process.communicate()


def written_ns(file: Path) -> int | None:
    """When the file was written; None where there is none, also where it is just taken away."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def text(addresses: SandboxAddresses, to: str) -> httpx.Response:
    """Send one text."""
    account = twilio_credentials()
    return httpx.post(
        f"{addresses.twilio}/2010-04-01/Accounts/{account['accountSid']}/Messages.json",
        auth=(account["accountSid"], account["authToken"]),
        data={"To": to, "From": "+15005550006", "Body": "Hello"},
        timeout=PATIENCE_S,
    )


def counts(addresses: SandboxAddresses) -> dict[str, Any]:
    """The sums of Twilio."""
    found: dict[str, Any] = httpx.get(f"{addresses.control}/counts", timeout=PATIENCE_S).json()["twilio"]
    return found


def test_a_killed_sandbox_comes_back_at_the_same_place_with_its_record(tmp_path: Path) -> None:
    """After kill -9 everything that was answered is on file, and clients find the next run where the last one was."""
    with running(tmp_path) as (process, first):
        for number in range(20):
            assert text(first, f"+49151000000{number:02}").status_code == 201
        process.kill()
        process.wait()
    with running(tmp_path) as (_, other):
        assert other == first
        assert counts(other) == {
            "accepted": 20,
            "refused": 0,
            "unanswered": 0,
            "unique_recipients": 20,
            "doubled": 0,
            "surplus": 0,
        }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_next_run_has_the_same_addresses(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Exit status 0 with clients still connected; ports and authority stay."""
    with running(tmp_path) as (process, first):
        authority = Path(first.ca_file).read_bytes()
        host, _, port = first.smtp.rpartition(":")
        with socket.create_connection((host, int(port))), httpx.Client(timeout=PATIENCE_S) as client:
            client.get(f"{first.control}/health").raise_for_status()
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 0
    assert not (tmp_path / "sandbox" / "addresses.json").exists()
    with running(tmp_path) as (_, second):
        assert second == first
        assert Path(second.ca_file).read_bytes() == authority


def test_ports_may_be_given(tmp_path: Path) -> None:
    """A file of ports puts listeners where they are wanted; an unknown name is refused."""
    (port,) = free_ports(1)
    file = tmp_path / "ports.json"
    file.write_text(json.dumps({"apns": port}))
    with running(tmp_path, "--ports-file", str(file)) as (_, addresses):
        assert addresses.apns == f"https://127.0.0.1:{port}"
    file.write_text(json.dumps({"apples": port}))
    ended = subprocess.run(
        command(tmp_path, "--ports-file", str(file)), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert ended.returncode == 2
    assert "apples" in ended.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """The error says which port of which listener, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = tmp_path / "ports.json"
        file.write_text(json.dumps({"smtp": taken.getsockname()[1]}))
        ended = subprocess.run(
            command(tmp_path, "--ports-file", str(file)),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert ended.returncode == 2
    assert "for smtp can't be had" in ended.stderr
    assert issubclass(SandboxError, RuntimeError)


def test_the_control_address_shows_what_arrived(tmp_path: Path) -> None:
    """Health, record, counts, inbox and magic table, and refusals in plain words."""
    with (
        sandbox_in_thread(tmp_path) as addresses,
        httpx.Client(base_url=addresses.control, timeout=PATIENCE_S) as control,
    ):
        health = control.get("/health").json()
        assert (health["status"], health["addresses"]["apns"]) == ("pass", addresses.apns)
        before = time.time()
        for number in range(5):
            assert text(addresses, f"+49151000000{number:02}").status_code == 201
        text(addresses, "+15005550001")
        text(addresses, "+4915100000000")
        lines = [json.loads(line) for line in control.get("/record", params={"since": before}).text.splitlines()]
        assert [line["outcome"] for line in lines] == ["accepted"] * 5 + ["refused", "accepted"]
        assert control.get("/record", params={"since": time.time() + 1}).text == ""
        assert control.get("/record", params={"protocol": "fcm"}).text == ""
        sums = counts(addresses)
        assert (sums["accepted"], sums["refused"], sums["unique_recipients"], sums["doubled"]) == (6, 1, 5, 1)
        messages = control.get("/inbox", params={"limit": 2, "offset": 1}).json()["messages"]
        assert [(message["recipient"], message["text"]) for message in messages] == [
            ("+4915100000004", "Hello"),
            ("+4915100000003", "Hello"),
        ]
        assert control.get("/magic").json()["apns"]
        for path, params in (("/record", {"since": "soon"}), ("/inbox", {"protocol": "fax"})):
            refused = control.get(path, params=params)
            assert refused.status_code == 400
            assert "use" in refused.json()["error"]
        for path, body in (
            ("/faults", {"protocol": "fax"}),
            ("/keys/apns", {"team_id": "T"}),
            ("/keys/fcm", {"client_email": "a@b", "public_key_pem": "x"}),
        ):
            assert control.post(path, json=body).status_code == 400
        assert control.post("/faults", content=b"{").json()["error"].startswith("the body is no JSON")
