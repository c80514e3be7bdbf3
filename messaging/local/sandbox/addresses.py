"""Where the sandbox listens, and where that is written down."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from messaging.local.sandbox import web

PORT_NAMES = ("apns", "fcm", "web", "smtp", "smtps", "control")
"""Listeners: `web` serves SendGrid, Twilio, the OAuth2 token endpoint and every stand-in of `web/`."""


class PortsError(ValueError):
    """The ports asked for can't be used; the text says which name or number, and what is possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxAddresses:
    """Addresses of a running sandbox: URLs without a trailing slash, `host:port` for SMTP, a path for the authority."""

    apns: str
    fcm: str
    fcm_token: str
    sendgrid: str
    twilio: str
    smtp: str
    smtps: str
    control: str
    ca_file: str
    web: str
    """Stand-ins of `web/` answer here, each under its name."""

    def of(self, kind: str) -> str:
        """The base address of a stand-in of `web/`."""
        return f"{self.web}/{kind}"

    def as_json(self) -> dict[str, str]:
        """All of them, the stand-ins of `web/` by their names besides."""
        return asdict(self) | {kind: self.of(kind) for kind in web.names()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The addresses in what `as_json` wrote; raises TypeError when some are missing."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})

    @classmethod
    def at(cls, ports: Mapping[str, int], ca_file: Path) -> Self:
        """Addresses on loopback for the ports of PORT_NAMES."""
        http = f"http://127.0.0.1:{ports['web']}"
        return cls(
            apns=f"https://127.0.0.1:{ports['apns']}",
            fcm=f"https://127.0.0.1:{ports['fcm']}",
            fcm_token=f"{http}/token",
            sendgrid=http,
            twilio=http,
            web=http,
            smtp=f"127.0.0.1:{ports['smtp']}",
            smtps=f"127.0.0.1:{ports['smtps']}",
            control=f"http://127.0.0.1:{ports['control']}",
            ca_file=str(ca_file),
        )

    def write(self, path: Path) -> None:
        """Write them as a JSON object, in one step."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        temporary.replace(path)


def read_addresses(path: Path) -> SandboxAddresses:
    """The addresses a sandbox wrote; raises OSError or ValueError when there are none."""
    try:
        return SandboxAddresses.read(json.loads(path.read_text()))
    except TypeError as error:
        raise ValueError(f"{path} holds no sandbox addresses: start the sandbox anew") from error


def former_ports(path: Path) -> dict[str, int]:
    """The ports of the last run: a restarted sandbox is found where its clients look for it."""
    try:
        addresses = read_addresses(path)
        found = {
            "apns": addresses.apns,
            "fcm": addresses.fcm,
            "web": addresses.sendgrid,
            "smtp": addresses.smtp,
            "smtps": addresses.smtps,
            "control": addresses.control,
        }
        return {name: int(address.rpartition(":")[2]) for name, address in found.items()}
    except (OSError, ValueError):
        return {}


def check_ports(ports: Mapping[str, object]) -> dict[str, int]:
    """The ports given, by listener; raises PortsError for an unknown name or what is no port."""
    checked: dict[str, int] = {}
    for name, port in ports.items():
        if name not in PORT_NAMES:
            raise PortsError(f"no listener is called {name!r}: use {', '.join(PORT_NAMES)}")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise PortsError(f"port {port!r} of {name}: use a number from 0 (any free one) to 65535")
        checked[name] = port
    return checked
