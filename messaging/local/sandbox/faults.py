"""Misbehaviour on demand: rates of 429, 5xx, resets and silence, decided by seed, recipient and attempt alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum, unique
from hashlib import blake2b
from typing import Any, get_type_hints

from messaging.local.sandbox import web

PROTOCOLS = ("apns", "fcm", "sendgrid", "twilio", "smtp", *web.names())


class FaultsError(ValueError):
    """The faults asked for don't exist or are out of range; the text names the field and what it takes."""


@unique
class Fault(StrEnum):
    """What happens to one request."""

    NONE = "none"
    THROTTLED = "429"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    DEAD = "dead"
    RESET = "reset"
    LOST_ANSWER = "lost_answer"
    NEVER_ANSWER = "never_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults of one protocol. Rates are shares of requests, 0 to 1; together at most 1."""

    rate_429: float = 0.0
    """Too many requests (SMTP: 450 4.7.1)."""
    rate_500: float = 0.0
    """Internal error (SMTP: 451 4.3.0)."""
    rate_503: float = 0.0
    """Unavailable (SMTP: 421 4.3.2, connection closed)."""
    rate_dead: float = 0.0
    """The address is dead: Unregistered, 550 5.1.1, 21211 (SendGrid: a 400 that names the personalization)."""
    reset_rate: float = 0.0
    """HTTP/2: RST_STREAM INTERNAL_ERROR; elsewhere the connection is aborted. Nothing was accepted."""
    lost_answer_rate: float = 0.0
    """Accepted and recorded, then reset as above: the caller can't know."""
    never_answer_rate: float = 0.0
    """Left without an answer. Nothing was accepted."""
    retry_after_s: float | None = None
    """`Retry-After` of 429 and 503 (SendGrid: X-RateLimit-Reset, too)."""
    delay_ms: float = 0.0
    """Every answer waits this long."""
    goaway_after: int | None = None
    """HTTP/2: GOAWAY after this many requests of a connection, those before it are still answered.
    HTTP/1.1: `Connection: close` on that answer. SMTP: 421 after that many messages."""
    max_concurrent_streams: int | None = None
    """HTTP/2 SETTINGS, sent to open connections at once and to new ones."""
    seed: int = 0

    def __post_init__(self) -> None:
        total = 0.0
        for name in RATES:
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise FaultsError(f"{name} is {rate}: a rate is a share between 0 and 1")
            total += rate
        if total > 1 + 1e-9:
            raise FaultsError(f"the rates add up to {total:g}: lower them to at most 1 together")
        if self.delay_ms < 0 or (self.retry_after_s or 0) < 0:
            raise FaultsError("delay_ms and retry_after_s must not be negative")
        for name in ("goaway_after", "max_concurrent_streams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise FaultsError(f"{name} is {value}: it must be at least 1, or absent")

    @property
    def delay_s(self) -> float:
        """The delay of every answer, in seconds."""
        return self.delay_ms / 1000


RATES: Mapping[str, Fault] = {
    "rate_429": Fault.THROTTLED,
    "rate_500": Fault.INTERNAL,
    "rate_503": Fault.UNAVAILABLE,
    "rate_dead": Fault.DEAD,
    "reset_rate": Fault.RESET,
    "lost_answer_rate": Fault.LOST_ANSWER,
    "never_answer_rate": Fault.NEVER_ANSWER,
}

NO_FAULTS = Faults()


def parse_faults(body: Mapping[str, Any]) -> tuple[str, Faults]:
    """The protocol and faults of a control request; raises FaultsError for an unknown name or a wrong type."""
    values = dict(body)
    protocol = values.pop("protocol", None)
    if protocol not in PROTOCOLS:
        raise FaultsError(f"protocol is {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    known = {entry.name for entry in fields(Faults)}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise FaultsError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    hints = get_type_hints(Faults)
    for name, value in values.items():
        allowed = (int,) if hints[name] in (int, int | None) else (int, float)
        if value is None and hints[name] in (int | None, float | None):
            continue
        if isinstance(value, bool) or not isinstance(value, allowed):
            kind = "a number" if float in allowed else "a whole number"
            raise FaultsError(f"{name} is {value!r}: it must be {kind}")
    return protocol, Faults(**values)


class Dice:
    """Decides which fault a request meets: the n-th to a recipient always the same, in whatever order they arrive."""

    def __init__(self, protocol: str, faults: Faults = NO_FAULTS) -> None:
        self.faults = faults
        self._protocol = protocol
        self._attempts: dict[str, int] = {}
        edges: list[tuple[float, Fault]] = []
        edge = 0.0
        for name, fault in RATES.items():
            rate = getattr(faults, name)
            if rate:
                edge += rate
                edges.append((edge, fault))
        self._edges = tuple(edges)

    def throw(self, recipient: str) -> Fault:
        """The fault for the next request to this recipient."""
        if not self._edges:
            return Fault.NONE
        attempt = self._attempts.get(recipient, 0)
        self._attempts[recipient] = attempt + 1
        key = f"{self.faults.seed}|{self._protocol}|{attempt}|{recipient}".encode(errors="surrogatepass")
        share = int.from_bytes(blake2b(key, digest_size=8).digest()) / 2**64
        for edge, fault in self._edges:
            if share < edge:
                return fault
        return Fault.NONE


class FaultPlan:
    """The dice of every protocol; replacing one's faults starts its attempts afresh, so a seed can be replayed."""

    def __init__(self) -> None:
        self._dice = {protocol: Dice(protocol) for protocol in PROTOCOLS}

    def dice(self, protocol: str) -> Dice:
        """The dice in force for a protocol."""
        return self._dice[protocol]

    def set(self, protocol: str, faults: Faults) -> None:
        """Put faults in force, in place of the protocol's former ones."""
        self._dice[protocol] = Dice(protocol, faults)

    def clear(self, protocol: str | None = None) -> None:
        """No more faults, of one protocol or all."""
        for name in PROTOCOLS if protocol is None else (protocol,):
            self.set(name, NO_FAULTS)
