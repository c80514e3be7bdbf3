"""Every error this package raises, each with a message an operator can act on.

::

    MessagingError
    ├── SettingsError
    ├── InvalidArgumentError      the caller's argument; carries ``argument``
    ├── NotFoundError             no such user, target, topic, provider, message
    ├── ConflictError             the id or address is taken, or the state forbids it
    │   ├── StateConflictError    a message's state forbids it; carries ``state``
    │   └── IdempotencyConflictError
    ├── NoEnabledProviderError
    ├── FileError                 a file is too large, of the wrong kind, or its pieces don't fit
    └── ContentError              the message can't be expressed to the provider
"""

from __future__ import annotations


class MessagingError(Exception):
    """Base of every error raised by this package."""

    code = "messaging_error"


class SettingsError(MessagingError):
    """A setting is missing, unknown or malformed; the message names it and what to set."""

    code = "settings_invalid"


class InvalidArgumentError(MessagingError, ValueError):
    """An argument is malformed; ``argument`` names it and the message says what is allowed."""

    code = "argument_invalid"

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"Invalid `{argument}`: {problem}")
        self.argument = argument
        self.problem = problem


class NotFoundError(MessagingError, LookupError):
    """Nothing with that id exists in the project; ``kind`` and ``id`` name it."""

    code = "not_found"

    def __init__(self, kind: str, id_: str) -> None:
        super().__init__(f"No {kind} with the id '{id_}' exists in this project. Check the id, or list what exists.")
        self.kind = kind
        self.id = id_


class ConflictError(MessagingError):
    """The id or address is already taken, or the object's state does not allow the change."""

    code = "conflict"


class StateConflictError(ConflictError):
    """The message's state does not allow the change; ``state`` names it. Look at the message, then decide."""

    code = "state_conflict"

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class IdempotencyConflictError(ConflictError):
    """The same task id or idempotency key was used before with another body; nothing was sent."""

    code = "idempotency_conflict"


class NoEnabledProviderError(MessagingError):
    """No provider of the channel is enabled; add one with `messaging provider add`, or enable one."""

    code = "no_enabled_provider"


class FileError(MessagingError):
    """A file can't be taken as it is: too large, empty, of the wrong kind, or its pieces don't fit together.

    ``code`` is the word for it that the SDKs know (e.g. ``storage_file_type_unsupported``).
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ContentError(MessagingError):
    """The message cannot be expressed to the provider: too large, malformed, or unsupported there.

    ``code`` is the provider's own word for it where it has one (e.g. ``PayloadTooLarge``).
    """

    def __init__(self, reason: str, code: str = "content_invalid") -> None:
        super().__init__(reason)
        self.code = code
