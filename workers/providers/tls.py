"""What a connection to a provider trusts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from messaging.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trust in the system's authorities and those of `ca_file`; raises `SettingsError` when it can't be read."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise SettingsError(f"The certificate file {ca_file} can't be read: {error}.") from error
    return context
