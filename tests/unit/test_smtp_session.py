"""What an SMTP session refuses to say before anything is said."""

import asyncio
import ssl

import aiosmtplib
import pytest

from messaging.outcome import Action
from workers.providers.mime import Mailbox, Sender
from workers.providers.smtp import SessionError, _authenticate, _failure
from workers.providers.smtp_replies import Stage
from workers.providers.smtp_settings import Host, Security, SmtpSettings


def refusal(host: Host, *, encrypted: bool) -> str:
    """The code under which a login to `host` is refused; the server offers no AUTH, so it always is."""
    settings = SmtpSettings(
        hosts=(host,), sender=Sender(mailbox=Mailbox("news", "example.org")), username="u", password="p"
    )
    with pytest.raises(SessionError) as caught:
        asyncio.run(_authenticate(aiosmtplib.SMTP(), settings, host, encrypted=encrypted))
    assert caught.value.outcome.action is Action.STOP_PROVIDER
    return caught.value.outcome.code


def test_a_password_is_not_sent_in_clear_to_another_machine() -> None:
    """STARTTLS that is not offered, or was stripped on the way, ends the session."""
    assert refusal(Host("192.0.2.1", 25, Security.OPPORTUNISTIC), encrypted=False) == "auth_without_tls"


@pytest.mark.parametrize(
    ("host", "encrypted"),
    [
        (Host("192.0.2.1", 25, Security.OPPORTUNISTIC), True),
        (Host("192.0.2.1", 25, Security.NONE), False),
        (Host("127.0.0.1", 25, Security.OPPORTUNISTIC), False),
    ],
    ids=["encrypted", "told so", "this machine"],
)
def test_a_password_may_go_where_it_is_safe_or_was_asked_for(host: Host, *, encrypted: bool) -> None:
    """Over TLS, to this machine, or with TLS turned off by the operator."""
    assert refusal(host, encrypted=encrypted) == "no_auth"


@pytest.mark.parametrize(
    ("stage", "error", "action"),
    [
        (Stage.CONNECT, aiosmtplib.SMTPConnectError("refused"), Action.RETRY),
        (Stage.CONNECT, aiosmtplib.SMTPConnectTimeoutError("slow"), Action.RETRY),
        (Stage.CONNECT, aiosmtplib.SMTPConnectResponseError(554, "5.7.1 no"), Action.STOP_PROVIDER),
        (Stage.CONNECT, aiosmtplib.SMTPConnectResponseError(421, "busy"), Action.RECONNECT_RETRY),
        (Stage.EHLO, aiosmtplib.SMTPServerDisconnected("gone"), Action.RECONNECT_RETRY),
        (Stage.STARTTLS, aiosmtplib.SMTPResponseException(454, "4.7.0 later"), Action.RETRY),
        (Stage.STARTTLS, ssl.SSLCertVerificationError("self-signed"), Action.STOP_PROVIDER),
        (Stage.AUTH, aiosmtplib.SMTPAuthenticationError(535, "5.7.8 no"), Action.STOP_PROVIDER),
        (Stage.AUTH, aiosmtplib.SMTPAuthenticationError(454, "4.7.0 later"), Action.RETRY),
        (Stage.CONNECT, UnicodeError("label too long"), Action.RETRY),
    ],
)
def test_a_session_that_could_not_be_opened_never_sent_anything(stage: Stage, error: Exception, action: Action) -> None:
    """Each way it can fail has its action, none of them unknown."""
    assert _failure(stage, error).action is action
