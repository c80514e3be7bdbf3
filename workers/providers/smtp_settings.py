"""The settings of an SMTP account, read from the provider's credentials and options."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from messaging.errors import ContentError, SettingsError
from workers.providers.base import Account
from workers.providers.dkim import Signer, signer_of
from workers.providers.mime import Sender, header_line, sender_of


class Security(StrEnum):
    """How a connection is encrypted."""

    NONE = "none"
    """Never (encryption `none`, autoTLS off)."""
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS where the server offers it (encryption `none`, autoTLS on)."""
    REQUIRED = "required"
    """STARTTLS or nothing (encryption `tls`; RFC 3207)."""
    IMPLICIT = "implicit"
    """TLS from the first byte (encryption `ssl`; RFC 8314)."""


@dataclass(frozen=True)
class Host:
    """One server of the account."""

    name: str
    port: int
    security: Security

    @property
    def is_loopback(self) -> bool:
        """Whether what is said to it stays on this machine."""
        try:
            return ipaddress.ip_address(self.name).is_loopback
        except ValueError:
            return self.name == "localhost"


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds an exchange may take.

    RFC 5321 §4.5.3.2 allows minutes; a batch is leased for 60 s, and an answer after that settles nothing,
    so all but the last wait are short and the last takes most of the lease.
    """

    connect_s: float = 10.0
    command_s: float = 20.0
    block_s: float = 30.0
    """For each quarter megabyte of the message."""
    final_dot_s: float = 50.0


@dataclass(frozen=True, kw_only=True)
class SmtpSettings:
    """An SMTP account."""

    hosts: tuple[Host, ...]
    """Tried in order."""
    sender: Sender
    username: str = ""
    password: str = field(default="", repr=False)
    mailer: str = ""
    signer: Signer | None = None
    """Signs every message (DKIM); None where the account has no key."""
    timeouts: Timeouts = field(default_factory=Timeouts)


_ENTRY = re.compile(r"(?:(ssl|tls|smtps?)://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+|[0-9A-Fa-f:]+)(?::(\d{1,5}))?/?\Z")


def settings_of(account: Account, endpoints: Mapping[str, str]) -> SmtpSettings:
    """The account's settings; `endpoints["smtp"]` replaces its hosts. Raises `SettingsError`."""
    options, credentials = account.options, account.credentials
    security = _security(str(options.get("encryption") or "none"), auto_tls=options.get("autoTLS") is not False)
    default_port = int(str(credentials.get("port") or 587))
    hosts = str(endpoints.get(account.kind) or credentials.get("host") or "")
    sender = sender_of(options)
    return SmtpSettings(
        hosts=tuple(_host(entry.strip(), default_port, security) for entry in hosts.split(";") if entry.strip())
        or _no_host(),
        sender=sender,
        username=str(credentials.get("username") or ""),
        password=str(credentials.get("password") or ""),
        mailer=_mailer(str(options.get("mailer") or "")),
        signer=signer_of(credentials, options, sender),
    )


def _mailer(text: str) -> str:
    try:
        header_line("X-Mailer", text)
    except ContentError as error:
        raise SettingsError(f"The SMTP provider's mailer can't stand in a header: {error}.") from None
    return text


def _security(encryption: str, *, auto_tls: bool) -> Security:
    match encryption:
        case "ssl":
            return Security.IMPLICIT
        case "tls":
            return Security.REQUIRED
        case "none":
            return Security.OPPORTUNISTIC if auto_tls else Security.NONE
        case _:
            raise SettingsError(f"The SMTP provider's encryption is '{encryption}': use none, ssl or tls.")


def _host(entry: str, default_port: int, security: Security) -> Host:
    """`name`, `name:port`, or either after `ssl://` or `tls://`, as the Appwrite API takes them."""
    found = _ENTRY.match(entry)
    if found is None:
        raise SettingsError(f"The SMTP provider's host '{entry}' is not name, name:port or tls://name:port.")
    scheme, name, port = found.groups()
    by_scheme = {"ssl": Security.IMPLICIT, "smtps": Security.IMPLICIT, "tls": Security.REQUIRED}
    return Host(name.strip("[]"), int(port or default_port), by_scheme.get(scheme or "", security))


def _no_host() -> tuple[Host, ...]:
    raise SettingsError("The SMTP provider has no host: set its host name, for example smtp.example.org.")
