"""Who may read metrics, and at which port a worker has them."""

from __future__ import annotations

import pytest

from messaging.errors import SettingsError
from messaging.metrics_access import may_read, port_of
from messaging.settings import Settings

TOKEN = "a-token-for-tests"
PORTS = "push=9101, push-high=9102,intake=0"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_this_machine_may_read(peer: str) -> None:
    """By any of its own addresses."""
    assert may_read(peer, {}, None)


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.168.1.1", "::ffff:10.0.0.1", "2001:db8::1", "testclient", ""])
def test_without_a_token_nobody_else_may(peer: str) -> None:
    """From however near."""
    assert not may_read(peer, {}, None)


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-proto"])
def test_a_proxy_on_this_machine_lends_its_address_to_nobody(name: str) -> None:
    """What comes through it comes from elsewhere."""
    assert not may_read("127.0.0.1", {name: "anything"}, None)


@pytest.mark.parametrize(
    ("host", "may"),
    [("localhost:8080", True), ("127.0.0.1", True), ("[::1]:8080", True), ("evil.example:8080", False), ("[", False)],
)
def test_a_page_that_has_its_name_lead_here_reads_nothing(host: str, may: bool) -> None:
    """A browser on this machine is not whoever wrote the page in it."""
    assert may_read("127.0.0.1", {"host": host}, None) is may


def test_with_a_token_who_bears_it_may_read_from_anywhere() -> None:
    """Through a proxy too."""
    assert may_read("203.0.113.1", {"authorization": f"Bearer {TOKEN}", "via": "1.1 proxy"}, TOKEN)
    assert may_read("203.0.113.1", {"authorization": f"bearer {TOKEN}"}, TOKEN)


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer no", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"])
def test_with_a_token_nobody_else_may_this_machine_included(said: str) -> None:
    """Whatever else is said."""
    assert not may_read("127.0.0.1", {"authorization": said}, TOKEN)


@pytest.mark.parametrize(
    ("said", "node", "port"),
    [
        (None, "push@host", None),
        ("", "push@host", None),
        ("0", "push@host", None),
        ("9100", "push@host", 9100),
        (PORTS, "push@host", 9101),
        (PORTS, "push-3f2a@host", 9101),
        (PORTS, "push-high@host", 9102),
        (PORTS, "push-high-3f2a@host", 9102),
        (PORTS, "intake@host", None),
        (PORTS, "pushing@host", None),
        (PORTS, "sms@host", None),
    ],
)
def test_a_worker_finds_its_port(said: str | None, node: str, port: int | None) -> None:
    """One for all, or by its role: that of processes which share an environment."""
    assert port_of(said, node) == port


@pytest.mark.parametrize("said", ["auto", "70000", "-1", "push=", "push=x", "9100,9101"])
def test_what_is_no_port_is_refused(said: str) -> None:
    """As the settings are read, with what to write instead."""
    given = {"database_url": "postgresql://x", "broker_url": "redis://x", "secret_key": "x" * 32}
    with pytest.raises(SettingsError, match=r"MESSAGING_METRICS_PORT.*role=number"):
        Settings.load({}, **given, metrics_port=said)
