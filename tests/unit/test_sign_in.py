"""The parts of signing in that need no server: passwords, cookies, addresses as they are counted, settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging import passwords
from messaging.clock import Clock
from messaging.errors import SettingsError
from messaging.http import cookies
from messaging.http.jwt_tokens import Spoken, TokenError, make_token, read_token
from messaging.http.rate_limits import network_of
from messaging.settings import Settings
from messaging.vault import Vault

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_password_is_known_again_and_no_other() -> None:
    """Where none is kept, none is right."""
    kept = passwords.hash_password("correct horse")
    assert passwords.is_password("correct horse", kept)
    assert not passwords.is_password("correct horse ", kept)
    assert not passwords.is_password("nobody has this password", None)
    assert not passwords.is_password("correct horse", "no hash at all")
    assert not passwords.is_outdated(kept)
    assert passwords.hash_password("correct horse") != kept


def test_a_cookie_ends_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or at once, when it is cleared."""
    now = datetime.now(UTC)
    monkeypatch.setattr(cookies, "clock", Clock(wall_s=now.timestamp))
    ends = now + timedelta(hours=1)
    (_, first), (_, legacy) = cookies.setting("p", "s3cret", ends, secure=True, has_origin=False)
    assert first.startswith("a_session_p=s3cret; Path=/; Expires=")
    assert "; Max-Age=3600; " in first
    assert legacy.startswith("a_session_p_legacy=s3cret; ")
    cleared = dict(cookies.clearing("p", secure=True, has_origin=True))
    assert "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; " in cleared["set-cookie"]
    assert cleared["x-fallback-cookies"] == "{}"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_ipv6_customer_is_counted_once(address: str, counted: str) -> None:
    """With all of their addresses."""
    assert network_of(address) == counted


def test_a_token_is_read_with_the_key_that_made_it_only() -> None:
    """For its project, and while its time lasts."""
    spoken = Spoken("u1", "s1")
    token = make_token(Vault(SECRET), "p", spoken, duration_s=60)
    assert read_token(Vault(SECRET), "p", token) == spoken
    for vault, project in ((Vault(SECRET[::-1]), "p"), (Vault(SECRET), "q")):
        with pytest.raises(TokenError):
            read_token(vault, project, token)
    old = make_token(Vault(SECRET), "p", spoken, duration_s=60, now=datetime.now(UTC) - timedelta(seconds=61))
    with pytest.raises(TokenError):
        read_token(Vault(SECRET), "p", old)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("app.example.org", ("app.example.org",)),
        (" App.example.org:8443 , *,", ("app.example.org:8443", "*")),
        ('["a.example", "[::1]:80"]', ("a.example", "[::1]:80")),
        ("", ()),
    ],
)
def test_origins_are_listed_by_commas(said: str, read: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Or as JSON; case and blanks do not matter."""
    monkeypatch.setenv("MESSAGING_HTTP_ORIGINS", said)
    assert _settings().http_origins == read


@pytest.mark.parametrize("said", ["https://app.example.org", "*.example.org", "a b", "a/b", "a:b", '["a", 5]x'])
def test_an_origin_that_never_matches_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting."""
    monkeypatch.setenv("MESSAGING_HTTP_ORIGINS", said)
    with pytest.raises(SettingsError, match="MESSAGING_HTTP_ORIGINS"):
        _settings()


def _settings() -> Settings:
    return Settings.load(database_url="postgresql://x", broker_url="redis://x", secret_key=SECRET)
