"""The Python way in: `Messaging`, typed, committed before a call returns."""

from __future__ import annotations

from messaging.client.messaging import Messaging

__all__ = ["Messaging"]
