"""The sandbox's record: one JSON line per recipient, append-only, written before the provider answers."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from pathlib import Path
from typing import Any, Self

INBOX_SIZE = 500
"""Accepted lines kept in memory per protocol, for the inbox."""

_TAIL_CHUNK = 1 << 16


@unique
class Outcome(StrEnum):
    """What became of one recipient here."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    """Neither taken nor refused: the request was left without an answer, on purpose."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums of one protocol. `doubled` counts (recipient, tag) pairs accepted more than once."""

    accepted: int
    refused: int
    unanswered: int
    unique_recipients: int
    doubled: int
    surplus: int
    """Acceptances beyond the first of their (recipient, tag): what the doubled ones add up to."""


@dataclass(slots=True)
class _Tally:
    """Sums and sets of one protocol. Sets hold 64-bit hashes, so a million recipients cost about 140 MB."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    recipients: set[int] = field(default_factory=set)
    pairs: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    surplus: int = 0
    inbox: deque[bytes] = field(default_factory=lambda: deque(maxlen=INBOX_SIZE))

    def add(self, outcome: str, recipient: str, sameness: str) -> None:
        """Count one line. `sameness` is its tag, or its content where the caller gave no tag."""
        self.outcomes[outcome] += 1
        if outcome != Outcome.ACCEPTED:
            return
        self.recipients.add(hash(recipient))
        pair = hash((recipient, sameness))
        if pair in self.pairs:
            self.doubled.add(pair)
            self.surplus += 1
        else:
            self.pairs.add(pair)

    def counts(self) -> Counts:
        """The sums so far."""
        return Counts(
            accepted=self.outcomes[Outcome.ACCEPTED],
            refused=self.outcomes[Outcome.REFUSED],
            unanswered=self.outcomes[Outcome.UNANSWERED],
            unique_recipients=len(self.recipients),
            doubled=len(self.doubled),
            surplus=self.surplus,
        )


class Record:
    """Appends lines, writes them in one system call per turn of the event loop, and knows their sums.

    A line is in the file before its answer leaves, so even `kill -9` loses no acceptance somebody was told of.
    Opening an existing file carries on with its sums; a line cut short by a crash is removed (nobody was answered).
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._tallies: dict[str, _Tally] = {}
        self._waiting: list[bytes] = []
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        _cut_torn_line(self._file)
        self._replay()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(
        self,
        protocol: str,
        recipient: str,
        *,
        outcome: Outcome,
        status: int,
        code: str = "",
        provider_id: str | None = None,
        tag: str | None = None,
        payload: str = "null",
        about: str = "null",
    ) -> None:
        """Add one line. `payload` and `about` (headers and the like) are JSON texts, taken as they are."""
        line = (
            f'{{"at": {self._clock():.6f}, "protocol": "{protocol}", "recipient": {json.dumps(recipient)}, '
            f'"outcome": "{outcome}", "status": {status}, "code": {json.dumps(code)}, '
            f'"id": {json.dumps(provider_id)}, "tag": {json.dumps(tag)}, "about": {about}, "payload": {payload}}}\n'
        ).encode()
        tally = self._tallies.get(protocol)
        if tally is None:
            tally = self._tallies[protocol] = _Tally()
        tally.add(outcome, recipient, payload if tag is None else tag)
        if outcome is Outcome.ACCEPTED:
            tally.inbox.append(line)
        self._waiting.append(line)

    def flush(self) -> None:
        """Return when every line appended so far has reached the file (the page cache, not the disk)."""
        if not self._waiting:
            return
        data = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        os.close(self._file)

    def counts(self) -> Mapping[str, Counts]:
        """The sums per protocol, of those protocols that were spoken."""
        return {protocol: tally.counts() for protocol, tally in sorted(self._tallies.items())}

    def recent(self) -> Iterator[Mapping[str, Any]]:
        """Accepted lines still in memory, newest first, over all protocols."""
        lines = [json.loads(line) for tally in self._tallies.values() for line in tally.inbox]
        lines.sort(key=lambda line: float(line["at"]), reverse=True)
        yield from lines

    def _replay(self) -> None:
        with self.path.open("rb") as lines:
            for raw in lines:
                line = json.loads(raw)
                tally = self._tallies.setdefault(line["protocol"], _Tally())
                tag = line["tag"]
                tally.add(line["outcome"], line["recipient"], _payload_text(raw) if tag is None else tag)
                if line["outcome"] == Outcome.ACCEPTED:
                    tally.inbox.append(raw)


def select(path: Path, *, protocol: str | None = None, since: float | None = None) -> Iterator[bytes]:
    """Lines of the record at `path`, in order: of one protocol, at or after `since` (epoch seconds)."""
    with path.open("rb") as lines:
        for raw in lines:
            if not raw.endswith(b"\n"):
                return
            if protocol is not None or since is not None:
                line = json.loads(raw)
                if protocol is not None and line["protocol"] != protocol:
                    continue
                if since is not None and line["at"] < since:
                    continue
            yield raw


def _payload_text(raw: bytes) -> str:
    """The payload of a line exactly as it was handed to `append`."""
    return raw.decode().partition(', "payload": ')[2].removesuffix("}\n")


def _cut_torn_line(file: int) -> None:
    size = os.fstat(file).st_size
    end = size
    while end > 0:
        start = max(0, end - _TAIL_CHUNK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
