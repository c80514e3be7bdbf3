"""Run an operation: check its parameters, find out who calls, do the work in one transaction, answer."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import anyio.to_thread
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import Response

from messaging.errors import MessagingError, NotFoundError
from messaging.http import idempotency, identity
from messaging.http.asked import Asked, asked
from messaging.http.body import read_json
from messaging.http.context import Context
from messaging.http.errors import ApiError, from_domain, invalid, missing
from messaging.http.json_text import dumps
from messaging.http.operations import Answer, Call, Operation, Upload
from messaging.http.parameters import Parameter, Refused, Values
from messaging.http.queries import is_query_name
from messaging.http.upload import read_upload
from messaging.store.lists import CursorError, QueryError

_log = structlog.get_logger(__name__)

_EMPTY_TYPE = "text/html; charset=UTF-8"
"""Of an answer without a body: the Python SDK needs a content type there, and none of JSON."""


def endpoint(context: Context, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """The function Starlette calls for `operation`."""

    async def answer(request: Request) -> Response:
        try:
            given, upload = await _read(request, operation)
            work = functools.partial(_run, context, operation, asked(request, given, upload))
            return await anyio.to_thread.run_sync(work, limiter=context.threads)
        except ApiError as error:
            return error_response(error)

    return answer


async def _read(request: Request, operation: Operation) -> tuple[dict[str, Any], Upload | None]:
    upload: Upload | None = None
    if operation.multipart:
        given, upload = await read_upload(request)
    elif operation.method in {"POST", "PUT", "PATCH"}:
        given = await read_json(request)
    else:
        given = {name: value for name, value in request.query_params.items() if not is_query_name(name)}
    return given | request.path_params, upload


def _run(context: Context, operation: Operation, request: Asked) -> Response:
    """The answer, committed; runs in a worker thread."""
    try:
        with context.engine.begin() as connection:
            answered, hints = _work(context, connection, operation, request)
    except ApiError as error:
        return error_response(error)
    except MessagingError as error:
        return error_response(_domain(operation, error))
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        _log.warning("The database is away.", operation=operation.name, reason=type(error).__name__)
        return error_response(
            ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "general_service_unavailable",
                "The database does not answer. Nothing was changed; try again.",
                headers={"Retry-After": "2"},
            )
        )
    except Exception as error:  # noqa: BLE001  the caller gets an answer whatever went wrong; the log has the rest
        _log.exception("An operation failed.", operation=operation.name, database=isinstance(error, DBAPIError))
        return error_response(
            ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "general_unknown", "Server Error. The log says what happened.")
        )
    if hints:
        context.outbox.leave(hints)
    return _response(operation, answered)


def _work(context: Context, connection: Connection, operation: Operation, request: Asked) -> tuple[Answer, list[Any]]:
    caller = identity.identify(connection, operation, request)
    call = Call(
        operation=operation,
        connection=connection,
        settings=context.settings,
        vault=context.vault,
        caller=caller,
        values=check(operation.parameters, request.given),
        headers=request.headers,
        address=request.address,
        secure=request.secure,
        upload=request.upload,
        queries=request.queries,
    )
    answered = idempotency.once(call, request.given, lambda: _answer(operation, call))
    return answered, call.hints


def _answer(operation: Operation, call: Call) -> Answer:
    found = operation.work(call)
    answer = found if isinstance(found, Answer) else Answer(body=found)
    return answer if answer.status is not None else replace(answer, status=int(operation.status))


def check(parameters: tuple[Parameter, ...], given: Mapping[str, Any]) -> Values:
    """The checked values; raises `ApiError` for the first that is missing or refused."""
    values: dict[str, Any] = {}
    named = set()
    for parameter in parameters:
        value = given.get(parameter.name)
        if value is None:
            if parameter.required:
                raise missing(parameter.name)
            values[parameter.name] = parameter.default
            continue
        try:
            values[parameter.name] = parameter.check(value)
        except Refused as refused:
            raise invalid(parameter.name, str(refused)) from None
        named.add(parameter.name)
    return Values(values, frozenset(named))


def _domain(operation: Operation, error: MessagingError) -> ApiError:
    if isinstance(error, QueryError):
        return ApiError(HTTPStatus.BAD_REQUEST, "general_query_invalid", f"Invalid query: {error}")
    if isinstance(error, CursorError):
        return ApiError(HTTPStatus.BAD_REQUEST, "general_cursor_not_found", str(error))
    if isinstance(error, NotFoundError):
        return from_domain(error)
    return from_domain(error, taken=operation.taken)


def error_response(error: ApiError) -> Response:
    """The response for an error."""
    return Response(dumps(error.body()), error.status, dict(error.headers), media_type="application/json")


def _response(operation: Operation, answer: Answer) -> Response:
    status = answer.status or int(operation.status)
    if answer.content is not None:
        response = Response(answer.content, status)
        response.headers["content-type"] = answer.content_type
    elif answer.body is None:
        response = Response(b"", status)
        response.headers["content-type"] = _EMPTY_TYPE
    else:
        response = Response(dumps(answer.body), status, media_type="application/json")
    for name, value in answer.headers:
        response.headers.append(name, value)
    return response
