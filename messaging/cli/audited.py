"""What a command changed goes into the audit log, as what the console changed does."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging


def who() -> str:
    """Who runs this command, as far as the machine knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in many containers
        user = "somebody"
    return f"command line ({user}@{socket.gethostname()})"


def noted(messaging: Messaging, action: str, subject: str = "", **details: object) -> None:
    """Write down that it was done, in the words of the console. No secrets, and no recipient's address."""
    messaging.audit.note(action, subject, operator=who(), details=details)
