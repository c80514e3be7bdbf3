"""Subscribe many at once over HTTP: targets, addresses, or a CSV file. One transaction: all of a request or none."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from messaging.address import LONGEST_TOKEN
from messaging.channel import Channel
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.operations import Call, Operations
from messaging.http.parameters import Refused
from messaging.http.spool import Spooled
from messaging.store import topics
from messaging.store.bulk_rows import BulkRow
from messaging.store.bulk_subscribe import REJECTED_KEPT, BulkResult, bulk_subscribe
from messaging.store.csv_rows import CHANNEL_OF_COLUMN, read_rows

operations = Operations("messaging")

CSV = "text/csv"
LARGEST_CSV_BYTES = 64 * 1024 * 1024
"""Between one and two million addresses."""

_ADDRESS_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "string"],
    # texts, all of them; anything else is counted as rejected and refuses no request
    "properties": {
        **{name: {"description": f"The address, for {channel}."} for name, channel in CHANNEL_OF_COLUMN.items()},
        "userId": {"description": "Of this user, who is made if missing."},
        "name": {"description": "The user's name, if the user has none yet."},
        "providerId": {"description": "Sent to through this provider."},
    },
}
_TEXT = p.text("text", shortest=0, longest=LONGEST_TOKEN).check


def _id(value: Any) -> str:  # noqa: ANN401  from a wire
    if not isinstance(value, str):
        raise Refused("a target is named by its id, a text")
    return value


def _item(value: Any) -> Any:  # noqa: ANN401  from a wire
    if not isinstance(value, (str, dict)):
        raise Refused("an address is an object, or a text where `channel` is given")
    return value


@operations.add(
    "POST",
    "/messaging/topics/{topicId}/subscribers/bulk",
    p.uid("topicId", required=True),
    p.array("targets", _id, {"type": "string"}, default=(), help="Ids of targets that exist."),
    p.array(
        "addresses",
        _item,
        _ADDRESS_SCHEMA,
        default=(),
        help="Objects with one of `email`, `phone` and `token`; or texts, all of one `channel`.",
    ),
    p.one_of("channel", tuple(str(channel) for channel in Channel), help="The channel of all addresses."),
    scopes=("subscribers.write",),
    model="bulkSubscription",
    files=(CSV,),
    largest_file_bytes=LARGEST_CSV_BYTES,
)
def create_subscribers(call: Call) -> dict[str, Any]:
    """Subscribe many targets or addresses at once.

    Targets and users that are missing are made. What can't be used is counted with its reason and stops nothing; a
    target that was subscribed before is counted as existing, so a request can be repeated. A push token of another
    user moves to the one named; an email address or phone number of another user is rejected.

    Instead of JSON it takes a CSV file in UTF-8 as the body (`Content-Type: text/csv`, 64 MiB at most), whose first
    line names one column `email`, `phone`, `token` or `target_id`, and any of `user_id`, `name` and `provider`.
    `line` in the answer is the line of the file, or the place in its list counted from 1.
    """
    topic = topics.find(call.connection, call.project_id, call["topicId"])
    if call.body is not None:
        return _answer([("csv", _from_csv(call, topic, call.body))])
    groups = _groups(call["targets"], call["addresses"], Channel(call["channel"]) if call["channel"] else None)
    return _answer(
        [
            (named, bulk_subscribe(call.connection, call.vault, call.project_id, topic, rows, channel=channel))
            for (named, channel), rows in groups.items()
        ]
    )


def _from_csv(call: Call, topic: int, body: Spooled) -> BulkResult:
    lines = io.TextIOWrapper(body.file, encoding="utf-8-sig", newline="")
    try:
        channel, rows = read_rows(lines)
        return bulk_subscribe(call.connection, call.vault, call.project_id, topic, rows, channel=channel)
    except UnicodeDecodeError as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "general_bad_request",
            f"The file is not UTF-8 ({error.reason}). Nobody was subscribed; save it as UTF-8.",
        ) from None
    finally:
        lines.detach()  # the file is closed by who opened it


_Groups = dict[tuple[str, Channel | None], list[BulkRow]]


def _groups(targets: Iterable[str], addresses: Iterable[Any], channel: Channel | None) -> _Groups:
    """Rows by their list and channel; those that can't be read carry their problem."""
    found: _Groups = {}
    for line, target_id in enumerate(targets, start=1):
        found.setdefault(("targets", None), []).append(BulkRow(line=line, target_id=target_id))
    for line, item in enumerate(addresses, start=1):
        its_channel, row = _address_row(line, item, channel)
        found.setdefault(("addresses", its_channel), []).append(row)
    return found


def _address_row(line: int, item: Any, channel: Channel | None) -> tuple[Channel | None, BulkRow]:  # noqa: ANN401
    if isinstance(item, str):
        if channel is None:
            return None, BulkRow(line=line, problem="an address that is a text needs the field `channel`")
        item = {next(name for name, its in CHANNEL_OF_COLUMN.items() if its is channel): item}
    named = [name for name in CHANNEL_OF_COLUMN if item.get(name) is not None]
    if len(named) != 1:
        return None, BulkRow(line=line, problem="an address has one of email, phone and token")
    its_channel = CHANNEL_OF_COLUMN[named[0]]
    if channel not in {None, its_channel}:
        return None, BulkRow(line=line, problem=f"it is an address of {its_channel}, and `channel` is {channel}")
    values: dict[str, str | None] = {}
    for name in (named[0], "userId", "name", "providerId"):
        try:
            values[name] = None if item.get(name) is None else _TEXT(item[name])
        except Refused as refused:
            return None, BulkRow(line=line, problem=f"`{name}`: {refused}")
    return its_channel, BulkRow(
        line=line,
        address=values[named[0]],
        user_id=values["userId"],
        name=values["name"] or "",
        provider_id=values["providerId"],
    )


def _answer(results: Iterable[tuple[str, BulkResult]]) -> dict[str, Any]:
    kept = list(results)
    return {
        "created": sum(result.created for _, result in kept),
        "existing": sum(result.existing for _, result in kept),
        "rejected": list(_rejected(kept))[:REJECTED_KEPT],
        "rejectedTotal": sum(result.rejected_total for _, result in kept),
    }


def _rejected(results: Iterable[tuple[str, BulkResult]]) -> Iterator[dict[str, Any]]:
    found = [(named, line, reason) for named, result in results for line, reason in result.rejected]
    for named, line, reason in sorted(found, key=lambda each: (each[0] != "targets", each[1])):
        yield {"list": named, "line": line, "reason": reason}
