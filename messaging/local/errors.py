"""What can go wrong while the stack starts."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot start or go on; the message says which part, why, and what to do next."""


class AlreadyRunningError(StackError):
    """Another `messaging up` runs on this data directory; stop that process or choose another `--data-dir`."""
