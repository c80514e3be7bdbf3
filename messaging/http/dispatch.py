"""Run an operation: check its parameters, find out who calls, do the work in one transaction, answer."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import Response

from messaging.errors import MessagingError, NotFoundError
from messaging.http import idempotency, identity, rate_limits, small_messages
from messaging.http.asked import Asked, asked
from messaging.http.body import read_json
from messaging.http.caller import Caller
from messaging.http.context import Context
from messaging.http.errors import ApiError, from_domain, invalid, missing
from messaging.http.json_text import dumps
from messaging.http.operations import Answer, Call, Operation, Upload
from messaging.http.parameters import Parameter, Refused, Values
from messaging.http.queries import is_query_name
from messaging.http.spool import media_type_of, spool, temporary_file
from messaging.http.streaming import PiecesResponse
from messaging.http.upload import read_upload
from messaging.producer import accept_at_once
from messaging.store.batches import Hint
from messaging.store.lists import CursorError, QueryError

_log = structlog.get_logger(__name__)

_EMPTY_TYPE = "text/html; charset=UTF-8"
"""Of an answer without a body: the Python SDK needs a content type there, and none of JSON."""


def endpoint(context: Context, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """The function Starlette calls for `operation`."""

    async def answer(request: Request) -> Response:
        try:
            if media_type_of(request) in operation.files:
                return await _answer_file(context, operation, request)
            given, upload = await _read(context, operation, request)
            found = asked(request, given, upload)
            together = await _together(context, operation, found)
            if together is not None:
                return together
            work = functools.partial(_run, context, operation, found)
            if not operation.hashes:
                return await context.in_thread(work, long=operation.is_long)
            async with context.hashing:  # waits here, with no thread and no connection
                return await context.in_thread(work, long=True)
        except ApiError as error:
            return error_response(error)

    return answer


async def _answer_file(context: Context, operation: Operation, request: Request) -> Response:
    given = dict(request.path_params)
    await _admit_unread(context, operation, request)
    with temporary_file() as file:
        body = await spool(request, file, most=operation.largest_file_bytes)
        work = functools.partial(_run, context, operation, asked(request, given, None, body))
        return await context.in_thread(work, long=True)


async def _admit_unread(context: Context, operation: Operation, request: Request) -> None:
    """Who may not call need not send it all first; raises `ApiError`."""
    call = asked(request, dict(request.path_params), None)
    await context.in_thread(functools.partial(_admit, context, operation, call))


def _admit(context: Context, operation: Operation, request: Asked) -> None:
    """Raise `ApiError` for a caller who may not call."""
    try:
        with context.engine.begin() as connection:
            identity.identify(connection, context.vault, context.keys, operation, request)
    except Exception as error:  # noqa: BLE001  the caller gets an answer whatever went wrong; the log has the rest
        raise _refusal(operation, error) from None


async def _read(context: Context, operation: Operation, request: Request) -> tuple[dict[str, Any], Upload | None]:
    upload: Upload | None = None
    if operation.multipart:
        await _admit_unread(context, operation, request)
        given, upload = await read_upload(request)
    elif operation.method in {"POST", "PUT", "PATCH"}:
        given = await read_json(request)
    else:
        given = {name: value for name, value in request.query_params.items() if not is_query_name(name)}
    return given | request.path_params, upload


def _run(context: Context, operation: Operation, request: Asked) -> Response:
    """The answer, committed, with what is left of the caller's rate limits; runs in a worker thread."""
    told: dict[str, str] = {}
    try:
        if operation.limits and context.settings.http_rate_limits:
            told = _count(context, operation, request)
        answered, hints = _attempt(context, operation, request) or _transaction(context, operation, request)
    except Exception as error:  # noqa: BLE001  the caller gets an answer whatever went wrong; the log has the rest
        response = error_response(_refusal(operation, error))
    else:
        if hints:
            context.outbox.leave(hints)
        response = _response(context, operation, answered)
    response.headers.update(told)
    return response


def _transaction(context: Context, operation: Operation, request: Asked) -> tuple[Answer, list[Hint]]:
    """The answer, committed."""
    with context.engine.begin() as connection:
        call = _called(context, connection, operation, request)
        # what no parameter takes can't make two requests different, and nobody has checked how deep it is
        known = {one.name: request.given[one.name] for one in operation.parameters if one.name in request.given}
        if request.body is not None:
            known["body"] = {"sha256": request.body.sha256}
        answered = idempotency.once(call, known, lambda: _answer(operation, operation.work(call)))
    return answered, call.hints


async def _together(context: Context, operation: Operation, request: Asked) -> Response | None:
    """The answer to a small message, committed with others of this moment; None where it must go the ordinary way.

    What is refused here is refused without a thread or a connection. Raises `ApiError`.
    """
    if not small_messages.may_go_together(operation, request):
        return None
    try:
        caller = identity.recognise(context.keys, operation, request)
        if caller is None or operation.small is None:
            return None
        small = operation.small(_call(context, None, operation, request, caller))
        answered = None if small is None else await context.small_messages.result(small)
    except Exception as error:  # noqa: BLE001  the caller gets an answer whatever went wrong; the log has the rest
        raise _refusal(operation, error) from None
    return None if answered is None else _response(context, operation, answered)


def _attempt(context: Context, operation: Operation, request: Asked) -> tuple[Answer, list[Hint]] | None:
    """The answer of a single statement, which spares the round trips of a transaction; None if there is none."""
    if operation.small is None or idempotency.HEADER in request.headers:
        return None
    with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        small = operation.small(_called(context, connection, operation, request))
        accepted = None if small is None else accept_at_once(connection, small)
        return None if accepted is None else (small_messages.answer(connection, accepted), list(accepted.hints))


def _refusal(operation: Operation, error: Exception) -> ApiError:
    """What the caller is told of `error`."""
    match error:
        case ApiError():
            return error
        case MessagingError():
            return _domain(operation, error)
        case IntegrityError(orig=UniqueViolation()):
            # Two asked for one id at the same time, each before it could see the other's.
            return ApiError(
                HTTPStatus.CONFLICT, operation.taken, "The id or address is just being taken by another request."
            )
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            _log.warning("The database is away.", operation=operation.name, reason=type(error).__name__)
            return ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "general_service_unavailable",
                "The database does not answer. Try again; under an Idempotency-Key nothing is done twice.",
                headers={"Retry-After": "2"},
            )
        case _:
            _log.error(
                "An operation failed.", operation=operation.name, database=isinstance(error, DBAPIError), exc_info=error
            )
            return ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "general_unknown", "Server Error. The log says what happened."
            )


def _count(context: Context, operation: Operation, request: Asked) -> dict[str, str]:
    """The headers of a rate-limited call, counted and committed whatever becomes of it; raises `ApiError`."""
    with context.engine.begin() as connection:
        caller = identity.identify(connection, context.vault, context.keys, operation, request)
        values = check(operation.parameters, request.given)
        headers, error = rate_limits.count(
            connection, context.vault, operation, caller, values, address=request.address
        )
    if error is not None:
        error.headers |= headers
        raise error
    return headers


def _called(context: Context, connection: Connection, operation: Operation, request: Asked) -> Call:
    """The call, its caller known and its values checked; raises `ApiError`."""
    caller = identity.identify(connection, context.vault, context.keys, operation, request)
    return _call(context, connection, operation, request, caller)


def _call(
    context: Context, connection: Connection | None, operation: Operation, request: Asked, caller: Caller
) -> Call:
    return Call(
        operation=operation,
        transaction=connection,
        settings=context.settings,
        vault=context.vault,
        caller=caller,
        values=check(operation.parameters, request.given),
        headers=request.headers,
        address=request.address,
        secure=request.secure,
        upload=request.upload,
        body=request.body,
        queries=request.queries,
    )


def _answer(operation: Operation, found: Any) -> Answer:  # noqa: ANN401  an answer, or JSON
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


def _response(context: Context, operation: Operation, answer: Answer) -> Response:
    status = answer.status or int(operation.status)
    response: Response
    if answer.stream is not None:
        response = PiecesResponse(context, answer.stream, status)
        response.headers["content-type"] = answer.content_type
    elif answer.content is not None:
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
