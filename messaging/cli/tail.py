"""`messaging tail`: messages and deliveries as they settle."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json
from messaging.cli.output import shown

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging
    from messaging.store.messages import MessageView

_EVERY_S = 0.5
_NEWEST = 50
_SMALL = 100
"""Messages with so many deliveries at most are shown delivery by delivery."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(tail)


def tail(
    *,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop after so long; else at Ctrl-C.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Print a line for each message that moves, and for each delivery of small ones as it settles."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with connect(data_dir) as messaging:
        follower = Follower(messaging)
        print("Following. Ctrl-C stops.", file=sys.stderr, flush=True)
        try:
            while deadline is None or time.monotonic() < deadline:
                for line in follower.moved():
                    print(json_module.dumps(line, default=str) if json else _sentence(line), flush=True)
                time.sleep(_EVERY_S)
        except KeyboardInterrupt:
            return


class Follower:
    """Remembers what was shown of the newest messages. Those that stand still are not shown."""

    def __init__(self, messaging: Messaging) -> None:
        self._messaging = messaging
        self._seen: dict[str, tuple[object, ...]] = {}
        self._settled: dict[str, set[str]] = {}
        for message in messaging.list(limit=_NEWEST):
            self._seen[message.id] = _standing(message)
            self._settled[message.id] = {line["delivery"] for line in self._deliveries(message)}

    def moved(self) -> Iterator[dict[str, Any]]:
        """What moved since the last look, oldest message first."""
        for message in reversed(self._messaging.list(limit=_NEWEST)):
            standing = _standing(message)
            if self._seen.get(message.id) == standing:
                continue
            self._seen[message.id] = standing
            known = self._settled.setdefault(message.id, set())
            for line in self._deliveries(message):
                if line["delivery"] not in known:
                    known.add(line["delivery"])
                    yield line
            yield {
                "message": message.id,
                "channel": message.channel,
                "state": message.state,
                "settled": message.settled,
                "total": message.total,
                "totals": {str(status): total for status, total in message.totals.items()},
                "failure": message.failure,
            }

    def _deliveries(self, message: MessageView) -> Iterator[dict[str, Any]]:
        if message.total > _SMALL:
            return
        for delivery in self._messaging.deliveries(message.id, limit=_SMALL):
            if delivery.status.is_settled:
                yield {
                    "message": message.id,
                    "delivery": delivery.id,
                    "address": delivery.identifier,
                    "status": delivery.status,
                    "attempts": delivery.attempts,
                    "code": delivery.error_code,
                    "error": delivery.error,
                }


def _standing(message: MessageView) -> tuple[object, ...]:
    return message.state, message.total, tuple(sorted(message.totals.items()))


def _sentence(line: dict[str, Any]) -> str:
    if "delivery" in line:
        reason = " ".join(filter(None, (line["code"], line["error"])))
        return shown(f"{line['message']}    {line['status']:<10} {line['address'] or ''}  {reason}".rstrip())
    totals = ", ".join(f"{total:,} {status}" for status, total in line["totals"].items())
    return shown(f"{line['message']}  {line['channel']} {line['state']}  {totals or line['failure'] or ''}".rstrip())
