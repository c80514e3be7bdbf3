"""The judge: the recipients of the ledger against those that stand-ins recorded, as sets. No event is counted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from messaging.status import DeliveryStatus

_S = DeliveryStatus
_COUNTED = ("accepted", "delivered", "failed", "unknown", "expired", "cancelled", "suppressed")


class Tape:
    """The stand-ins' record from the moment this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size if path.exists() else 0

    def accepted(self) -> tuple[Counter[str], Mapping[str, set[str]]]:
        """How often each recipient was taken something for, and the tags it was taken under."""
        taken: Counter[str] = Counter()
        tags: dict[str, set[str]] = defaultdict(set)
        for line in self._lines():
            taken[line["recipient"]] += 1
            tags[line["recipient"]].add(str(line["tag"]))
        return taken, tags

    def times(self) -> Mapping[str, list[float]]:
        """When each recipient was taken something for, in epoch seconds."""
        at: dict[str, list[float]] = defaultdict(list)
        for line in self._lines():
            at[line["recipient"]].append(line["at"])
        return at

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as lines:
            lines.seek(self._start)
            for raw in lines:
                if not raw.endswith(b"\n"):
                    break
                line = json.loads(raw)
                if line["outcome"] == "accepted":
                    yield line


@dataclass(frozen=True)
class Row:
    """A delivery."""

    address: str
    status: DeliveryStatus
    attempts: int
    doubts: int
    code: str


def rows(database_url: str, message_ids: Sequence[str]) -> list[Row]:
    """Every delivery of these messages."""
    with psycopg.connect(database_url) as connection:
        return _rows(connection, message_ids)


def rows_and_counters(database_url: str, message_ids: Sequence[str]) -> tuple[list[Row], Counter[str]]:
    """The same, and what their batches say they have done, at one moment: receipts go on moving both."""
    with psycopg.connect(database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return _rows(connection, message_ids), _counters(connection, message_ids)


def _rows(connection: psycopg.Connection, message_ids: Sequence[str]) -> list[Row]:
    found = connection.execute(
        """SELECT t.identifier, d.status, d.attempts, d.doubts, coalesce(d.error_code, '')
             FROM messages m JOIN deliveries d ON d.month = m.month AND d.message_id = m.id
             JOIN targets t ON t.id = d.target_id WHERE m.public_id = ANY(%s)""",
        ([*message_ids],),
    )
    return [Row(each[0], _S.of(each[1]), *each[2:]) for each in found]


def _counters(connection: psycopg.Connection, message_ids: Sequence[str]) -> Counter[str]:
    """By status, and `total`."""
    sums = ", ".join(f"coalesce(sum(b.{name}), 0)" for name in ("total", *_COUNTED, "doubtful"))
    found = connection.execute(
        f"SELECT {sums} FROM messages m JOIN batches b ON b.month = m.month AND b.message_id = m.id "
        "WHERE m.public_id = ANY(%s)",
        ([*message_ids],),
    ).fetchone()
    assert found is not None
    return Counter(dict(zip(("total", *_COUNTED, "doubtful"), map(int, found), strict=True)))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge found about one fault."""

    recipients: int
    lost: int
    """Accepted in the ledger, never seen by a provider."""
    doubled: int
    """Requests that providers took beyond the first, over all recipients."""
    most: int
    """How often the one who got it most often got it."""
    admitted: int
    """Of the doubled, at most so many: deliveries that the ledger itself calls doubtful or unknown."""
    exact: bool
    """Everybody has one row, every row is settled, and all counters equal the counts of rows."""
    statuses: Mapping[DeliveryStatus, int]
    faults: tuple[str, ...]
    """What is wrong, in words; empty where every promise was kept."""
    recovery_s: float | None = None
    """From the last blow until nothing of what it hit was left undecided."""
    took_s: float = 0.0
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults


def judge(
    database_url: str,
    tape: Tape,
    message_ids: Sequence[str],
    audience: Iterable[str],
    *,
    allowed: frozenset[DeliveryStatus] = frozenset({_S.ACCEPTED, _S.DELIVERED, _S.UNKNOWN}),
    may_double: bool = True,
    more: Iterable[str] = (),
) -> Verdict:
    """Compare, per recipient. `allowed` are the statuses that rows may end in, `more` a fault's own findings."""
    everybody = frozenset(audience)
    found, said = rows_and_counters(database_url, message_ids)
    ledger = {row.address: row for row in found}
    taken_all, tags = tape.accepted()
    taken = Counter({address: by for address, by in taken_all.items() if address in everybody})
    statuses = Counter(row.status for row in found)
    certain = {row.address for row in found if row.status in {_S.ACCEPTED, _S.DELIVERED}}
    maybe = certain | {row.address for row in found if row.status is _S.UNKNOWN}
    lost = certain - taken.keys()
    doubled = {address: by for address, by in taken.items() if by > 1}
    admitted = sum(row.doubts for row in found)
    unadmitted = [address for address in doubled if not ledger[address].doubts] if doubled else []
    faults = list(more)

    def note(condition: object, text: str) -> None:
        if condition:
            faults.append(text)

    note(len(found) != len(ledger), f"{len(found) - len(ledger)} targets have more than one row")
    note(everybody - ledger.keys(), f"{len(everybody - ledger.keys())} of the audience have no row")
    note(ledger.keys() - everybody, f"{len(ledger.keys() - everybody)} rows are for nobody of the audience")
    unsettled = [row for row in found if not row.status.is_settled]
    note(unsettled, f"{len(unsettled)} rows have not ended")
    strange = {status: by for status, by in statuses.items() if status not in allowed and status.is_settled}
    note(strange, f"ended otherwise than they may: {strange}")
    note(lost, f"{len(lost)} accepted in the ledger were never at the provider")
    note(taken.keys() - maybe, f"{len(taken.keys() - maybe)} at the provider that the ledger calls not sent")
    note(unadmitted, f"{len(unadmitted)} got it more than once and the ledger does not call them doubtful")
    note(doubled and not may_double, f"{len(doubled)} got it more than once, and nothing may double them")
    torn = [address for address, under in tags.items() if address in everybody and len(under) > 1]
    note(torn, f"{len(torn)} got it under more than one id, so that no provider or device could tell")
    counted = {status.value: by for status, by in statuses.items() if status.is_settled}
    wrong = {name: (said[name], counted.get(name, 0)) for name in _COUNTED if said[name] != counted.get(name, 0)}
    note(wrong, f"counters differ from the rows: {wrong}")
    note(said["total"] != len(found), f"batches count {said['total']} of {len(found)} rows")
    return Verdict(
        recipients=len(everybody),
        lost=len(lost),
        doubled=sum(by - 1 for by in doubled.values()),
        most=max(taken.values(), default=0),
        admitted=admitted,
        exact=not (unsettled or wrong or len(found) != len(everybody) or said["total"] != len(found)),
        statuses=statuses,
        faults=tuple(faults),
    )
