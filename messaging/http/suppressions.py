"""The suppression list over HTTP: who must not be written to, one by one or a whole list."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from messaging.address import LONGEST_TOKEN
from messaging.channel import Channel
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.json_text import timestamp
from messaging.http.list_parameters import TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.parameters import Refused
from messaging.http.queries import parse_queries
from messaging.http.spool import Spooled
from messaging.store import suppressions
from messaging.store.suppression_import import ImportResult, import_rows
from messaging.store.suppression_rows import SuppressionRow, read_rows
from messaging.store.suppressions import BY_HAND, LONGEST_REASON, Scope, SuppressionView

operations = Operations("messaging")

CSV = "text/csv"
LARGEST_CSV_BYTES = 64 * 1024 * 1024
"""Between one and two million addresses."""

_READ = ("suppressions.read",)
_WRITE = ("suppressions.write",)
_CHANNEL = p.one_of(
    "providerType",
    (str(Channel.EMAIL), str(Channel.SMS), str(Channel.PUSH)),
    required=True,
    help="Channel of the address.",
)
_ADDRESS = p.text(
    "address", longest=LONGEST_TOKEN, required=True, help="The email address, phone number or push token."
)
_ROW_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    # texts, all of them; anything else is counted as invalid and refuses no request
    "properties": {
        "address": {"description": "The email address, phone number or push token."},
        "providerType": {"description": "Its channel: `email`, `sms` or `push`."},
        "scope": {"description": "`everything`, which is meant where nothing is said, or `bulk`."},
        "reason": {"description": "Why, in words."},
    },
}
_TEXT = p.text("text", shortest=0, longest=LONGEST_TOKEN).check


@operations.add("GET", "/messaging/suppressions", TOTAL, scopes=_READ, model="suppressionList", listed=True)
def list_suppressions(call: Call) -> dict[str, Any]:
    """Addresses that are not written to, the oldest first.

    They can be asked for by `providerType` (or `channel`), `scope`, `reason` and `$createdAt`. The addresses
    themselves are not kept, so none is told.
    """
    found = suppressions.listed(call.connection, call.project_id, parse_queries(call.queries, total=call["total"]))
    return {"total": found.total, "suppressions": [rendered(each) for each in found.suppressions]}


@operations.add(
    "POST",
    "/messaging/suppressions",
    _CHANNEL,
    _ADDRESS,
    p.one_of(
        "scope",
        tuple(str(scope) for scope in Scope),
        default=str(Scope.EVERYTHING),
        help="`bulk`: newsletters only, a password code still goes out.",
    ),
    p.text("reason", longest=LONGEST_REASON, default=BY_HAND, help="Why, for whoever asks later."),
    scopes=_WRITE,
    status=201,
    model="suppression",
)
def create_suppression(call: Call) -> dict[str, Any]:
    """Write no more to an address.

    An address that is on the list already gets the wider of the two scopes. A reason that begins with `unsubscribed`
    marks an opt-out, which its reader can take back; nobody else's entry is lifted by a reader.
    """
    return rendered(
        suppressions.add(
            call.connection,
            call.vault,
            call.project_id,
            channel=Channel(call["providerType"]),
            address=call["address"],
            scope=Scope(call["scope"]),
            reason=call["reason"],
        )
    )


@operations.add("GET", "/messaging/suppressions/lookup", _CHANNEL, _ADDRESS, scopes=_READ, model="suppression")
def find_suppression(call: Call) -> dict[str, Any]:
    """Whether an address is on the list; 404 (`suppression_not_found`) if it is not."""
    found = suppressions.find(
        call.connection, call.vault, call.project_id, channel=Channel(call["providerType"]), address=call["address"]
    )
    if found is None:
        raise ApiError(
            HTTPStatus.NOT_FOUND, "suppression_not_found", "This address is not on the suppression list of the project."
        )
    return rendered(found)


@operations.add(
    "DELETE",
    "/messaging/suppressions/{suppressionId}",
    p.uid("suppressionId", required=True),
    scopes=_WRITE,
    status=204,
)
def delete_suppression(call: Call) -> None:
    """Take an address off the list, by the id that the lookup tells; it is written to again."""
    suppressions.lift(call.connection, call.project_id, call["suppressionId"])


def _item(value: Any) -> Any:  # noqa: ANN401  from a wire
    if not isinstance(value, dict):
        raise Refused("a row is an object with `address` and `providerType`")
    return value


@operations.add(
    "POST",
    "/messaging/suppressions/import",
    p.array("rows", _item, _ROW_SCHEMA, default=(), help="Addresses, each with its channel."),
    scopes=_WRITE,
    model="suppressionImport",
    files=(CSV,),
    largest_file_bytes=LARGEST_CSV_BYTES,
)
def import_suppressions(call: Call) -> dict[str, Any]:
    """Put a whole list of addresses on the suppression list, all of a request or none.

    What can't be used is counted with its reason and stops nothing. An entry that reaches as far or further stays as
    it is, so a request can be repeated.

    Instead of JSON it takes a CSV file in UTF-8 as the body (`Content-Type: text/csv`, 64 MiB at most), whose first
    line names one column `email`, `phone` or `token`, or the two columns `address` and `providerType`; and any of
    `scope` and `reason`. `line` in the answer is the line of the file, or the place in `rows` counted from 1.
    """
    if call.body is not None:
        return _answer(_from_csv(call, call.body))
    return _answer(import_rows(call.connection, call.vault, call.project_id, _rows(call["rows"])))


def _rows(items: list[dict[str, Any]]) -> Iterator[SuppressionRow]:
    for line, item in enumerate(items, start=1):
        said: dict[str, str] = {}
        problem = None
        for name, place in (
            ("address", "address"),
            ("providerType", "channel"),
            ("scope", "scope"),
            ("reason", "reason"),
        ):
            try:
                said[place] = "" if item.get(name) is None else _TEXT(item[name])
            except Refused as refused:
                problem = problem or f"`{name}`: {refused}"
        yield SuppressionRow(line=line, problem=problem, **said)


def _from_csv(call: Call, body: Spooled) -> ImportResult:
    lines = io.TextIOWrapper(body.file, encoding="utf-8-sig", newline="")
    try:
        return import_rows(call.connection, call.vault, call.project_id, read_rows(lines))
    except UnicodeDecodeError as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "general_bad_request",
            f"The file is not UTF-8 ({error.reason}). Nothing was imported; save it as UTF-8.",
        ) from None
    finally:
        lines.detach()  # the file is closed by who opened it


def _answer(result: ImportResult) -> dict[str, Any]:
    return {
        "rows": result.rows,
        "added": result.added,
        "raised": result.raised,
        "already": result.already,
        "invalid": [{"line": line, "reason": reason} for line, reason in result.invalid],
        "invalidTotal": result.invalid_total,
    }


def rendered(entry: SuppressionView) -> dict[str, Any]:
    """An entry as it goes over the wire."""
    return {
        "$id": entry.id,
        "$createdAt": timestamp(entry.created_at),
        "providerType": str(entry.channel),
        "scope": str(entry.scope),
        "reason": entry.reason,
    }
