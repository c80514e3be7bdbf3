"""Ports of the stack: free ones, and the same ones after a restart."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from messaging.errors import SettingsError
from messaging.local import free_ports as free_ports_module
from messaging.local.free_ports import free_ports, is_free, remembered_ports
from tests.conftest import ROOT


def test_free_ports_differ() -> None:
    """As many as asked for, no two alike."""
    assert len(set(free_ports(20))) == 20


def test_free_ports_are_none_a_connection_could_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives connections that go out a port of its range: it could be gone before a server starts."""
    monkeypatch.delenv("LOCAL_PORTS", raising=False)
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first <= 15_000:
        pytest.skip(f"connections get ports from {first} on: there is no room below")
    assert all(15_000 <= port < first for port in free_ports(20))


def test_ports_lie_in_the_range_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is tried, however many are taken, and none outside; what is no range is told."""
    first = free_ports(1)[0]
    monkeypatch.setenv("LOCAL_PORTS", f"{first}-{first}")
    assert free_ports(1) == [first]
    with socket.create_server(("127.0.0.1", first)), pytest.raises(OSError, match="in use"):
        free_ports(1)
    for wrong in ("20000", "20000-", "20100-20000", "0-70000", "a-b"):
        monkeypatch.setenv("LOCAL_PORTS", wrong)
        with pytest.raises(SettingsError, match="20000-20999"):
            free_ports(1)


def test_a_chosen_port_is_given_to_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nobody listens on it yet; one that has ended holds nothing back."""
    says = "from messaging.local.free_ports import free_ports; print(free_ports(1)[0])"
    port = free_ports(1)[0]
    monkeypatch.setenv("LOCAL_PORTS", f"{port}-{port}")
    done = subprocess.run([sys.executable, "-c", says], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Other stacks have every port there is" in done.stderr
    monkeypatch.setenv("LOCAL_PORTS", "9000-9000")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", says], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout == "9000\n" or "in use" in done.stderr


def test_a_new_port_is_none_that_another_name_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on that one yet, so it looks free."""
    asked = free_ports(1)[0]
    monkeypatch.setattr(free_ports_module, "free_ports", lambda count: [asked, asked + 1][:count])
    ports = remembered_ports(tmp_path / "ports.json", ["api", "valkey"], {"api": asked})
    assert ports == {"api": asked, "valkey": asked + 1}


def test_a_port_with_a_listener_is_not_free() -> None:
    """A port somebody listens on is seen as taken, and as free afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_ports_stay_the_same_over_restarts(tmp_path: Path) -> None:
    """The second start finds the ports of the first."""
    first = remembered_ports(tmp_path / "ports.json", ["api", "valkey"])
    assert remembered_ports(tmp_path / "ports.json", ["api", "valkey"]) == first


def test_a_port_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    """Only the port that somebody took changes."""
    first = remembered_ports(tmp_path / "ports.json", ["api", "valkey"])
    with socket.create_server(("127.0.0.1", first["api"])):
        second = remembered_ports(tmp_path / "ports.json", ["api", "valkey"])
    assert second["api"] != first["api"]
    assert second["valkey"] == first["valkey"]


def test_a_port_asked_for_wins_and_is_remembered(tmp_path: Path) -> None:
    """`--port` is taken over everything remembered, and nobody else gets it."""
    (tmp_path / "ports.json").write_text(json.dumps({"api": 1, "valkey": 0}))
    asked = free_ports(1)[0]
    (tmp_path / "ports.json").write_text(json.dumps({"valkey": asked}))
    chosen = remembered_ports(tmp_path / "ports.json", ["api", "valkey"], {"api": asked})
    assert chosen["api"] == asked
    assert chosen["valkey"] != asked
    assert remembered_ports(tmp_path / "ports.json", ["api", "valkey"]) == chosen


def test_a_broken_file_of_ports_is_replaced(tmp_path: Path) -> None:
    """What cannot be read is made anew."""
    (tmp_path / "ports.json").write_text("[1, 2")
    assert set(remembered_ports(tmp_path / "ports.json", ["api"])) == {"api"}
