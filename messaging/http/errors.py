"""Errors as the SDKs read them: `{"message", "code", "type", "version"}` with a type from Appwrite's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from messaging.errors import (
    ConflictError,
    ContentError,
    FileError,
    IdempotencyConflictError,
    InvalidArgumentError,
    MessagingError,
    NotFoundError,
    StateConflictError,
)
from messaging.status import WIRE_STATUS, MessageState

API_VERSION = "1.9.6"
"""The version of the contract we keep; SDKs show it in errors and compare it with nothing."""


class ApiError(Exception):
    """An answer other than success: status, Appwrite's type, and a sentence for the reader."""

    def __init__(self, status: int, type_: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = int(status)
        self.type = type_
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """What goes over the wire."""
        return {"message": self.message, "code": self.status, "type": self.type, "version": API_VERSION}


def invalid(name: str, problem: str) -> ApiError:
    """A parameter's value is refused."""
    return ApiError(HTTPStatus.BAD_REQUEST, "general_argument_invalid", f"Invalid `{name}` param: {problem}")


def missing(name: str) -> ApiError:
    """A required parameter was not given."""
    return ApiError(HTTPStatus.BAD_REQUEST, "general_argument_invalid", f'Param "{name}" is not optional.')


def invalid_query(problem: str) -> ApiError:
    """A `queries[]` entry is refused."""
    return ApiError(HTTPStatus.BAD_REQUEST, "general_query_invalid", f"Invalid query: {problem}")


_NOT_FOUND: Mapping[str, str] = {
    "provider": "provider_not_found",
    "topic": "topic_not_found",
    "subscriber": "subscriber_not_found",
    "suppression": "suppression_not_found",
    "message": "message_not_found",
    "target": "user_target_not_found",
    "user": "user_not_found",
    "session": "user_session_not_found",
    "bucket": "storage_bucket_not_found",
    "file": "storage_file_not_found",
    "project": "project_not_found",
}

_ARGUMENTS: Mapping[str, str] = {
    # names of our own interface → parameters of the wire, where taking camelCase is not enough
    "file_id": "fileId",
}


def wire_name(argument: str) -> str:
    """The camelCase parameter that an argument of our own interface came from."""
    if argument in _ARGUMENTS:
        return _ARGUMENTS[argument]
    first, *rest = argument.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def from_domain(  # noqa: PLR0911  one branch per kind of error reads as the table it is
    error: MessagingError, *, taken: str = "general_conflict"
) -> ApiError:
    """The answer for an error of the package; `taken` is the type of a conflict in this operation."""
    match error:
        case NotFoundError():
            kind = _NOT_FOUND.get(error.kind, f"{'_'.join(error.kind.lower().split())}_not_found")
            return ApiError(HTTPStatus.NOT_FOUND, kind, str(error))
        case IdempotencyConflictError():
            return ApiError(HTTPStatus.CONFLICT, "general_idempotency_conflict", str(error))
        case StateConflictError():
            word = WIRE_STATUS[MessageState(error.state)]
            kind = "message_is_draft" if word == "draft" else f"message_already_{word}"
            return ApiError(HTTPStatus.BAD_REQUEST, kind, str(error))
        case ConflictError():
            return ApiError(HTTPStatus.CONFLICT, taken, str(error))
        case InvalidArgumentError():
            return invalid(wire_name(error.argument), error.problem)
        case FileError():
            return ApiError(HTTPStatus.BAD_REQUEST, error.code, str(error))
        case ContentError():
            return ApiError(HTTPStatus.BAD_REQUEST, "message_content_invalid", str(error))
        case _:
            return ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", str(error))
