"""SMTP settings, from the names of the Appwrite API."""

from collections.abc import Mapping

import pytest

from messaging.errors import SettingsError
from workers.providers.base import Account
from workers.providers.smtp_settings import Host, Security, SmtpSettings, settings_of


def settings(
    credentials: Mapping[str, object],
    options: Mapping[str, object] | None = None,
    *,
    endpoints: Mapping[str, str] | None = None,
) -> SmtpSettings:
    """The settings of an account with these credentials and options."""
    account = Account(
        provider_id=1,
        public_id="smtp",
        kind="smtp",
        credentials=credentials,
        options={"fromEmail": "news@example.org"} | dict(options or {}),
    )
    return settings_of(account, endpoints or {})


@pytest.mark.parametrize(
    ("options", "security"),
    [
        ({}, Security.OPPORTUNISTIC),
        ({"encryption": "none", "autoTLS": False}, Security.NONE),
        ({"encryption": "none", "autoTLS": True}, Security.OPPORTUNISTIC),
        ({"encryption": "tls", "autoTLS": False}, Security.REQUIRED),
        ({"encryption": "ssl"}, Security.IMPLICIT),
    ],
)
def test_encryption_and_autotls_make_four_policies(options: Mapping[str, object], security: Security) -> None:
    """None, opportunistic, required and implicit."""
    assert settings({"host": "mail.example.org"}, options).hosts[0].security is security


def test_a_list_of_hosts_is_tried_in_order_each_with_its_own_port_and_encryption() -> None:
    """As PHPMailer, and so Appwrite, writes them."""
    found = settings({"host": "a.example;tls://b.example:2587; ssl://[::1]:465", "port": 25}).hosts
    assert found == (
        Host("a.example", 25, Security.OPPORTUNISTIC),
        Host("b.example", 2587, Security.REQUIRED),
        Host("::1", 465, Security.IMPLICIT),
    )
    assert [host.is_loopback for host in found] == [False, False, True]


def test_an_endpoint_replaces_the_hosts() -> None:
    """For a sandbox or a server of one's own."""
    found = settings({"host": "mail.example.org"}, endpoints={"smtp": "127.0.0.1:2525"})
    assert found.hosts == (Host("127.0.0.1", 2525, Security.OPPORTUNISTIC),)


@pytest.mark.parametrize(
    ("credentials", "options", "named"),
    [
        ({}, {}, "no host"),
        ({"host": "a b"}, {}, "host 'a b'"),
        ({"host": "a"}, {"encryption": "maybe"}, "encryption is 'maybe'"),
        ({"host": "a"}, {"fromEmail": ""}, "fromEmail"),
        ({"host": "a"}, {"replyToEmail": "x"}, "replyToEmail"),
        ({"host": "a"}, {"fromName": "x\r\ny"}, "fromName"),
        ({"host": "a"}, {"mailer": "x\r\nBcc: eve@example.org"}, "mailer"),
        ({"host": "a", "dkimKey": "no key"}, {"dkimSelector": "s1"}, "dkimKey"),
        ({"host": "a", "dkimKey": "no key"}, {}, "dkimSelector"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    credentials: Mapping[str, object], options: Mapping[str, object], named: str
) -> None:
    """The error says what to correct."""
    with pytest.raises(SettingsError, match=named):
        settings(credentials, options)


def test_the_password_does_not_print() -> None:
    """Settings end up in tracebacks."""
    assert "hunter2" not in repr(settings({"host": "a", "username": "u", "password": "hunter2"}))
