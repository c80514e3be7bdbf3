"""Magic addresses: one table per protocol of addresses that always get the same class of answer.

A magic address is answered by its row and never by the rates of `faults.py`; every other address is accepted, unless
a rate says otherwise. Rows marked `once` answer the first request to the address that way and accept the next ones.

Twilio's +1500555… numbers are those of its test credentials; all other addresses are the sandbox's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from messaging.local.sandbox import web
from messaging.local.sandbox.exchange import Behaviour
from messaging.local.sandbox.faults import Fault, FaultPlan
from messaging.local.sandbox.record import Outcome

_NEVER = Behaviour.NEVER_ANSWER
_RESET = Behaviour.RESET_STREAM
_REFUSE = Behaviour.REFUSE_STREAM
_DROP = Behaviour.DROP_CONNECTION


@dataclass(frozen=True, slots=True)
class Answer:
    """How a provider answers: `status` and `code` in the provider's own words, or no answer at all."""

    status: int
    code: str
    text: str = ""
    behaviour: Behaviour = Behaviour.ANSWER
    accepts: bool = False
    """Taken and recorded, only the answer is lost."""
    at_end_of_data: bool = False
    """SMTP: the reply to the message, not to RCPT."""

    def outcome(self) -> Outcome:
        """What the record says of it."""
        if self.accepts:
            return Outcome.ACCEPTED
        return Outcome.REFUSED if self.status else Outcome.UNANSWERED


@dataclass(frozen=True, slots=True)
class MagicAddress:
    """One row: every address that starts with `prefix` (email: whose local part up to `+` is `prefix`)."""

    prefix: str
    answer: Answer
    once: bool = False


def _row(prefix: str, status: int, code: str, text: str = "", *, once: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(status, code, text), once)


def _silent(prefix: str, behaviour: Behaviour, code: str, *, accepts: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(0, code, behaviour=behaviour, accepts=accepts))


def _at_end(prefix: str, status: int, code: str, text: str) -> MagicAddress:
    return MagicAddress(prefix, Answer(status, code, text, at_end_of_data=True))


def _silent_at_end(prefix: str, behaviour: Behaviour, code: str, *, accepts: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(0, code, behaviour=behaviour, accepts=accepts, at_end_of_data=True))


APNS_PREFIX = "dead"
FCM_PREFIX = "magic-"

MAGIC: Mapping[str, Sequence[MagicAddress]] = {
    # Device tokens are hexadecimal; the eight characters decide, the rest is free.
    "apns": (
        _row("dead0400", 400, "BadDeviceToken"),
        _row("dead1400", 400, "DeviceTokenNotForTopic"),
        _row("dead2400", 400, "BadTopic"),
        _row("dead3400", 400, "TopicDisallowed"),
        _row("dead4400", 400, "IdleTimeout"),
        _row("dead0403", 403, "InvalidProviderToken"),
        _row("dead1403", 403, "Forbidden"),
        _row("dead2403", 403, "ExpiredProviderToken", once=True),
        _row("dead0410", 410, "Unregistered"),
        _row("dead1410", 410, "ExpiredToken"),
        _row("dead0413", 413, "PayloadTooLarge"),
        _row("dead0429", 429, "TooManyRequests"),
        _row("dead1429", 429, "TooManyProviderTokenUpdates"),
        _row("dead2429", 429, "TooManyRequests", once=True),
        _row("dead0500", 500, "InternalServerError"),
        _row("dead2500", 500, "InternalServerError", once=True),
        _row("dead0503", 503, "ServiceUnavailable"),
        _row("dead1503", 503, "Shutdown"),
        _row("dead2503", 503, "ServiceUnavailable", once=True),
        _silent("dead0000", _NEVER, "never answered"),
        _silent("dead0001", _RESET, "RST_STREAM INTERNAL_ERROR"),
        _silent("dead0002", _REFUSE, "RST_STREAM REFUSED_STREAM"),
        _silent("dead0003", _DROP, "connection dropped"),
        _silent("dead0004", _RESET, "accepted, then RST_STREAM", accepts=True),
        _silent("dead0005", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    "fcm": (
        _row("magic-invalid-token", 400, "INVALID_ARGUMENT", "The registration token is not valid"),
        _row("magic-third-party-auth", 401, "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS or Web Push Service"),
        _row("magic-unauthenticated-once", 401, "", "Request had invalid authentication credentials.", once=True),
        _row("magic-unauthenticated", 401, "", "Request had invalid authentication credentials."),
        _row("magic-sender-mismatch", 403, "SENDER_ID_MISMATCH", "SenderId mismatch"),
        _row("magic-permission-denied", 403, "", "Permission 'cloudmessaging.messages.create' denied on resource"),
        _row("magic-unregistered", 404, "UNREGISTERED", "Requested entity was not found."),
        _row("magic-not-found", 404, "", "Requested entity was not found."),
        _row("magic-too-large", 413, "", "Message too big"),
        _row("magic-quota-once", 429, "QUOTA_EXCEEDED", "Quota exceeded", once=True),
        _row("magic-quota", 429, "QUOTA_EXCEEDED", "Quota exceeded"),
        _row("magic-internal-once", 500, "INTERNAL", "Internal error encountered.", once=True),
        _row("magic-internal", 500, "INTERNAL", "Internal error encountered."),
        _row("magic-unspecified", 500, "UNSPECIFIED_ERROR", "Unspecified"),
        _row("magic-unavailable-once", 503, "UNAVAILABLE", "The service is currently unavailable.", once=True),
        _row("magic-unavailable", 503, "UNAVAILABLE", "The service is currently unavailable."),
        _silent("magic-timeout", _NEVER, "never answered"),
        _silent("magic-reset", _RESET, "RST_STREAM INTERNAL_ERROR"),
        _silent("magic-refused-stream", _REFUSE, "RST_STREAM REFUSED_STREAM"),
        _silent("magic-drop", _DROP, "connection dropped"),
        _silent("magic-lost-answer", _RESET, "accepted, then RST_STREAM", accepts=True),
        _silent("magic-lost-connection", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    # One bad address refuses the whole request, and `errors[].field` names it; other rows answer for all recipients.
    "sendgrid": (
        _row("invalid", 400, "invalid", "Does not contain a valid address."),
        _row("unauthorized", 401, "unauthorized", "The provided authorization grant is invalid, expired, or revoked"),
        _row("no-credits", 401, "credits", "Maximum credits exceeded"),
        _row("forbidden", 403, "forbidden", "The from address does not match a verified Sender Identity."),
        _row("too-big", 413, "too-big", "content too large"),
        _row("rate-limit-once", 429, "rate-limit", "too many requests", once=True),
        _row("rate-limit", 429, "rate-limit", "too many requests"),
        _row("server-error-once", 500, "server-error", "internal server error", once=True),
        _row("server-error", 500, "server-error", "internal server error"),
        _row("unavailable-once", 503, "unavailable", "service unavailable", once=True),
        _row("unavailable", 503, "unavailable", "service unavailable"),
        _row("gateway-timeout", 504, "gateway-timeout", "gateway timeout"),
        _silent("timeout", _NEVER, "never answered"),
        _silent("reset", _DROP, "connection dropped"),
        _silent("lost-answer", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    "twilio": (
        _row("+15005550001", 400, "21211", "The 'To' number is not a valid phone number."),
        _row("+15005550002", 400, "21612", "The 'To' phone number is not currently reachable via SMS"),
        _row("+15005550003", 400, "21408", "Permission to send an SMS has not been enabled for the region"),
        _row("+15005550004", 400, "21610", "Attempt to send to unsubscribed recipient"),
        _row("+15005550009", 400, "21614", "'To' number is not a valid mobile number"),
        _row("+1999214", 400, "21214", "'To' phone number cannot be reached"),
        _row("+1999610", 400, "21610", "Attempt to send to unsubscribed recipient"),
        _row("+1999611", 400, "21611", "This 'From' number has exceeded the maximum number of queued messages"),
        _row("+1999401", 401, "20003", "Authenticate"),
        _row("+1999005", 401, "20005", "Account not active"),
        _row("+1999404", 404, "20404", "The requested resource was not found"),
        _row("+1999429", 429, "20429", "Too Many Requests"),
        _row("+1998429", 429, "20429", "Too Many Requests", once=True),
        _row("+1999500", 500, "20500", "Internal Server Error"),
        _row("+1999503", 503, "20503", "Service Unavailable"),
        _row("+1998503", 503, "20503", "Service Unavailable", once=True),
        _silent("+1999000", _NEVER, "never answered"),
        _silent("+1999001", _DROP, "connection dropped"),
        _silent("+1999004", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    "smtp": (
        _row("unknown-user", 550, "5.1.1", "User unknown"),
        _row("bounce", 550, "5.2.1", "Mailbox disabled, not accepting messages"),
        _row("bad-domain", 550, "5.1.2", "Bad destination system address"),
        _row("null-mx", 556, "5.1.10", "Domain does not accept mail"),
        _row("moved", 551, "5.1.6", "User has moved"),
        _row("bad-name", 553, "5.1.3", "Mailbox name not allowed"),
        _row("bad-syntax", 501, "5.1.3", "Bad recipient address syntax"),
        _row("policy", 550, "5.7.1", "Delivery not authorized"),
        _row("dmarc", 550, "5.7.26", "Unauthenticated mail is not accepted"),
        _row("greylist", 450, "4.7.1", "Greylisted, try again later", once=True),
        _row("busy", 450, "4.2.1", "Mailbox busy"),
        _row("mailbox-full", 452, "4.2.2", "Mailbox full"),
        _row("over-quota", 552, "5.2.2", "Mailbox over quota"),
        _row("too-many", 452, "4.5.3", "Too many recipients"),
        _row("closing", 421, "4.3.2", "Service closing transmission channel"),
        _silent("timeout", _NEVER, "RCPT never answered"),
        _silent("reset", _DROP, "connection dropped at RCPT"),
        _at_end("spam", 554, "5.7.1", "Message refused as spam"),
        _at_end("too-big", 552, "5.3.4", "Message too big for system"),
        _at_end("data-busy", 451, "4.3.0", "Local error in processing"),
        _silent_at_end("timeout-data", _NEVER, "message never answered"),
        _silent_at_end("drop-data", _DROP, "connection dropped after the final dot"),
        _silent_at_end("lost-answer", _DROP, "accepted, then connection dropped", accepts=True),
    ),
}  # fmt: skip

_LOST_STREAM = Answer(0, "accepted, then RST_STREAM", behaviour=_RESET, accepts=True)
_LOST_CONNECTION = Answer(0, "accepted, then connection dropped", behaviour=_DROP, accepts=True)
_SILENCE = Answer(0, "never answered", behaviour=_NEVER)
_RESET_STREAM = Answer(0, "RST_STREAM INTERNAL_ERROR", behaviour=_RESET)
_DROPPED = Answer(0, "connection dropped", behaviour=_DROP)

FAULT_ANSWERS: Mapping[str, Mapping[Fault, Answer]] = {
    "apns": {
        Fault.THROTTLED: Answer(429, "TooManyRequests"),
        Fault.INTERNAL: Answer(500, "InternalServerError"),
        Fault.UNAVAILABLE: Answer(503, "ServiceUnavailable"),
        Fault.DEAD: Answer(410, "Unregistered"),
        Fault.RESET: _RESET_STREAM,
        Fault.LOST_ANSWER: _LOST_STREAM,
        Fault.NEVER_ANSWER: _SILENCE,
    },
    "fcm": {
        Fault.THROTTLED: Answer(429, "QUOTA_EXCEEDED", "Quota exceeded"),
        Fault.INTERNAL: Answer(500, "INTERNAL", "Internal error encountered."),
        Fault.UNAVAILABLE: Answer(503, "UNAVAILABLE", "The service is currently unavailable."),
        Fault.DEAD: Answer(404, "UNREGISTERED", "Requested entity was not found."),
        Fault.RESET: _RESET_STREAM,
        Fault.LOST_ANSWER: _LOST_STREAM,
        Fault.NEVER_ANSWER: _SILENCE,
    },
    "sendgrid": {
        Fault.THROTTLED: Answer(429, "rate-limit", "too many requests"),
        Fault.INTERNAL: Answer(500, "server-error", "internal server error"),
        Fault.UNAVAILABLE: Answer(503, "unavailable", "service unavailable"),
        Fault.DEAD: Answer(400, "invalid", "Does not contain a valid address."),
        Fault.RESET: _DROPPED,
        Fault.LOST_ANSWER: _LOST_CONNECTION,
        Fault.NEVER_ANSWER: _SILENCE,
    },
    "twilio": {
        Fault.THROTTLED: Answer(429, "20429", "Too Many Requests"),
        Fault.INTERNAL: Answer(500, "20500", "Internal Server Error"),
        Fault.UNAVAILABLE: Answer(503, "20503", "Service Unavailable"),
        Fault.DEAD: Answer(400, "21211", "The 'To' number is not a valid phone number."),
        Fault.RESET: _DROPPED,
        Fault.LOST_ANSWER: _LOST_CONNECTION,
        Fault.NEVER_ANSWER: _SILENCE,
    },
    "smtp": {
        Fault.THROTTLED: Answer(450, "4.7.1", "Too much mail, try again later"),
        Fault.INTERNAL: Answer(451, "4.3.0", "Local error in processing"),
        Fault.UNAVAILABLE: Answer(421, "4.3.2", "Service closing transmission channel"),
        Fault.DEAD: Answer(550, "5.1.1", "User unknown"),
        Fault.RESET: _DROPPED,
        Fault.LOST_ANSWER: Answer(
            0, "accepted, then connection dropped", behaviour=_DROP, accepts=True, at_end_of_data=True
        ),
        Fault.NEVER_ANSWER: _SILENCE,
    },
}


def find_magic(protocol: str, address: str) -> MagicAddress | None:
    """The row of a magic address, or None for an ordinary one."""
    rows = _index(protocol)
    match protocol:
        case "apns":
            return rows.get(address[:8].lower()) if address[:4].lower() == APNS_PREFIX else None
        case _ if "@" in address or protocol in {"sendgrid", "smtp"}:
            return rows.get(address.partition("@")[0].partition("+")[0].lower())
        case "fcm" if not address.startswith(FCM_PREFIX):
            return None
        case _:
            fitting = [prefix for prefix in rows if address.startswith(prefix)]
            return rows[max(fitting, key=len)] if fitting else None


class Judge:
    """Says how a provider answers a request to an address: by its magic row, else by the faults in force."""

    def __init__(self, protocol: str, plan: FaultPlan) -> None:
        self.protocol = protocol
        self.plan = plan
        self._met: set[str] = set()

    def judge(self, address: str) -> Answer | None:
        """The answer to give in place of an acceptance, or None: accept."""
        return self.magic(address) if find_magic(self.protocol, address) else self.fault(address)

    def magic(self, address: str) -> Answer | None:
        """The answer of the address's magic row alone."""
        row = find_magic(self.protocol, address)
        if row is None or address in self._met:
            return None
        if row.once:
            self._met.add(address)
        return row.answer

    def fault(self, address: str) -> Answer | None:
        """The answer of the faults in force alone."""
        fault = self.plan.dice(self.protocol).throw(address)
        return fault_answers(self.protocol).get(fault)

    @property
    def delay_s(self) -> float:
        """How long the provider's answers wait."""
        return self.plan.dice(self.protocol).faults.delay_s

    @property
    def retry_after_s(self) -> float | None:
        """The delay a 429 or 503 asks for, if the faults name one."""
        return self.plan.dice(self.protocol).faults.retry_after_s


def magic_table() -> dict[str, list[dict[str, Any]]]:
    """The whole table as JSON values, for the control address and the documentation."""
    return {protocol: [asdict(row) for row in magic_rows(protocol)] for protocol in (*MAGIC, *web.names())}


def magic_rows(protocol: str) -> Sequence[MagicAddress]:
    """The magic addresses of a protocol or kind."""
    return MAGIC[protocol] if protocol in MAGIC else web.stand_in(protocol).magic


def fault_answers(protocol: str) -> Mapping[Fault, Answer]:
    """How a protocol or kind answers when it misbehaves."""
    return FAULT_ANSWERS[protocol] if protocol in FAULT_ANSWERS else web.stand_in(protocol).faults


@cache
def _index(protocol: str) -> Mapping[str, MagicAddress]:
    return {row.prefix: row for row in magic_rows(protocol)}
