"""Magic addresses: one table per protocol of addresses that always get the same class of answer.

A magic address is answered by its row and never by the rates of `faults.py`; every other address is accepted, unless
a rate says otherwise. Rows marked `once` answer the first request to the address that way and accept the next ones.

Twilio's +1500555… numbers are those of its test credentials; all other addresses are the sandbox's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from messaging.local.sandbox import web
from messaging.local.sandbox.answers import (
    LOST,
    SILENT_MAILBOXES,
    Answer,
    MagicAddress,
    Trouble,
    row,
)
from messaging.local.sandbox.exchange import Behaviour
from messaging.local.sandbox.faults import Fault, FaultPlan

_NEVER = Behaviour.NEVER_ANSWER
_RESET = Behaviour.RESET_STREAM
_REFUSE = Behaviour.REFUSE_STREAM
_DROP = Behaviour.DROP_CONNECTION


def _silent(prefix: str, behaviour: Behaviour, code: str, *, accepts: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(0, code, behaviour=behaviour, accepts=accepts))


def _at_end(prefix: str, status: int, code: str, text: str) -> MagicAddress:
    return MagicAddress(prefix, Answer(status, code, text, at_end_of_data=True))


def _silent_at_end(prefix: str, behaviour: Behaviour, code: str, *, accepts: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(0, code, behaviour=behaviour, accepts=accepts, at_end_of_data=True))


_TROUBLE: Mapping[str, Trouble] = {
    "apns": Trouble(
        throttled=Answer(429, "TooManyRequests"),
        internal=Answer(500, "InternalServerError"),
        unavailable=Answer(503, "ServiceUnavailable"),
        dead=Answer(410, "Unregistered"),
        reset=Answer(0, "RST_STREAM INTERNAL_ERROR", behaviour=_RESET),
        lost=Answer(0, "accepted, then RST_STREAM", behaviour=_RESET, accepts=True),
    ),
    "fcm": Trouble(
        throttled=Answer(429, "QUOTA_EXCEEDED", "Quota exceeded"),
        internal=Answer(500, "INTERNAL", "Internal error encountered."),
        unavailable=Answer(503, "UNAVAILABLE", "The service is currently unavailable."),
        dead=Answer(404, "UNREGISTERED", "Requested entity was not found."),
        reset=Answer(0, "RST_STREAM INTERNAL_ERROR", behaviour=_RESET),
        lost=Answer(0, "accepted, then RST_STREAM", behaviour=_RESET, accepts=True),
    ),
    "sendgrid": Trouble(
        throttled=Answer(429, "rate-limit", "too many requests"),
        internal=Answer(500, "server-error", "internal server error"),
        unavailable=Answer(503, "unavailable", "service unavailable"),
        dead=Answer(400, "invalid", "Does not contain a valid address."),
    ),
    "twilio": Trouble(
        throttled=Answer(429, "20429", "Too Many Requests"),
        internal=Answer(500, "20500", "Internal Server Error"),
        unavailable=Answer(503, "20503", "Service Unavailable"),
        dead=Answer(400, "21211", "The 'To' number is not a valid phone number."),
    ),
    "smtp": Trouble(
        throttled=Answer(450, "4.7.1", "Too much mail, try again later"),
        internal=Answer(451, "4.3.0", "Local error in processing"),
        unavailable=Answer(421, "4.3.2", "Service closing transmission channel"),
        dead=Answer(550, "5.1.1", "User unknown"),
        lost=replace(LOST, at_end_of_data=True),
    ),
}

APNS_PREFIX = "dead"
FCM_PREFIX = "magic-"

MAGIC: Mapping[str, Sequence[MagicAddress]] = {
    # Device tokens are hexadecimal; the eight characters decide, the rest is free.
    "apns": (
        row("dead0400", 400, "BadDeviceToken"),
        row("dead1400", 400, "DeviceTokenNotForTopic"),
        row("dead2400", 400, "BadTopic"),
        row("dead3400", 400, "TopicDisallowed"),
        row("dead4400", 400, "IdleTimeout"),
        row("dead0403", 403, "InvalidProviderToken"),
        row("dead1403", 403, "Forbidden"),
        row("dead2403", 403, "ExpiredProviderToken", once=True),
        row("dead0410", 410, "Unregistered"),
        row("dead1410", 410, "ExpiredToken"),
        row("dead0413", 413, "PayloadTooLarge"),
        row("dead0429", 429, "TooManyRequests"),
        row("dead1429", 429, "TooManyProviderTokenUpdates"),
        row("dead2429", 429, "TooManyRequests", once=True),
        row("dead0500", 500, "InternalServerError"),
        row("dead2500", 500, "InternalServerError", once=True),
        row("dead0503", 503, "ServiceUnavailable"),
        row("dead1503", 503, "Shutdown"),
        row("dead2503", 503, "ServiceUnavailable", once=True),
        _silent("dead0000", _NEVER, "never answered"),
        _silent("dead0001", _RESET, "RST_STREAM INTERNAL_ERROR"),
        _silent("dead0002", _REFUSE, "RST_STREAM REFUSED_STREAM"),
        _silent("dead0003", _DROP, "connection dropped"),
        _silent("dead0004", _RESET, "accepted, then RST_STREAM", accepts=True),
        _silent("dead0005", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    "fcm": (
        row("magic-invalid-token", 400, "INVALID_ARGUMENT", "The registration token is not valid"),
        row("magic-third-party-auth", 401, "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS or Web Push Service"),
        row("magic-unauthenticated-once", 401, "", "Request had invalid authentication credentials.", once=True),
        row("magic-unauthenticated", 401, "", "Request had invalid authentication credentials."),
        row("magic-sender-mismatch", 403, "SENDER_ID_MISMATCH", "SenderId mismatch"),
        row("magic-permission-denied", 403, "", "Permission 'cloudmessaging.messages.create' denied on resource"),
        row("magic-unregistered", 404, "UNREGISTERED", "Requested entity was not found."),
        row("magic-not-found", 404, "", "Requested entity was not found."),
        row("magic-too-large", 413, "", "Message too big"),
        row("magic-quota-once", 429, "QUOTA_EXCEEDED", "Quota exceeded", once=True),
        row("magic-quota", 429, "QUOTA_EXCEEDED", "Quota exceeded"),
        row("magic-internal-once", 500, "INTERNAL", "Internal error encountered.", once=True),
        row("magic-internal", 500, "INTERNAL", "Internal error encountered."),
        row("magic-unspecified", 500, "UNSPECIFIED_ERROR", "Unspecified"),
        row("magic-unavailable-once", 503, "UNAVAILABLE", "The service is currently unavailable.", once=True),
        row("magic-unavailable", 503, "UNAVAILABLE", "The service is currently unavailable."),
        _silent("magic-timeout", _NEVER, "never answered"),
        _silent("magic-reset", _RESET, "RST_STREAM INTERNAL_ERROR"),
        _silent("magic-refused-stream", _REFUSE, "RST_STREAM REFUSED_STREAM"),
        _silent("magic-drop", _DROP, "connection dropped"),
        _silent("magic-lost-answer", _RESET, "accepted, then RST_STREAM", accepts=True),
        _silent("magic-lost-connection", _DROP, "accepted, then connection dropped", accepts=True),
    ),
    # One bad address refuses the whole request, and `errors[].field` names it; other rows answer for all recipients.
    "sendgrid": (
        row("invalid", 400, "invalid", "Does not contain a valid address."),
        row("unauthorized", 401, "unauthorized", "The provided authorization grant is invalid, expired, or revoked"),
        row("no-credits", 401, "credits", "Maximum credits exceeded"),
        row("forbidden", 403, "forbidden", "The from address does not match a verified Sender Identity."),
        row("too-big", 413, "too-big", "content too large"),
        row("rate-limit-once", 429, "rate-limit", "too many requests", once=True),
        row("rate-limit", 429, "rate-limit", "too many requests"),
        row("server-error-once", 500, "server-error", "internal server error", once=True),
        row("server-error", 500, "server-error", "internal server error"),
        row("unavailable-once", 503, "unavailable", "service unavailable", once=True),
        row("unavailable", 503, "unavailable", "service unavailable"),
        row("gateway-timeout", 504, "gateway-timeout", "gateway timeout"),
        *SILENT_MAILBOXES,
    ),
    "twilio": (
        row("+15005550001", 400, "21211", "The 'To' number is not a valid phone number."),
        row("+15005550002", 400, "21612", "The 'To' phone number is not currently reachable via SMS"),
        row("+15005550003", 400, "21408", "Permission to send an SMS has not been enabled for the region"),
        row("+15005550004", 400, "21610", "Attempt to send to unsubscribed recipient"),
        row("+15005550009", 400, "21614", "'To' number is not a valid mobile number"),
        row("+1999214", 400, "21214", "'To' phone number cannot be reached"),
        row("+1999610", 400, "21610", "Attempt to send to unsubscribed recipient"),
        row("+1999611", 400, "21611", "This 'From' number has exceeded the maximum number of queued messages"),
        row("+1999401", 401, "20003", "Authenticate"),
        row("+1999005", 401, "20005", "Account not active"),
        row("+1999404", 404, "20404", "The requested resource was not found"),
        *_TROUBLE["twilio"].numbers(),
    ),
    "smtp": (
        row("unknown-user", 550, "5.1.1", "User unknown"),
        row("bounce", 550, "5.2.1", "Mailbox disabled, not accepting messages"),
        row("bad-domain", 550, "5.1.2", "Bad destination system address"),
        row("null-mx", 556, "5.1.10", "Domain does not accept mail"),
        row("moved", 551, "5.1.6", "User has moved"),
        row("bad-name", 553, "5.1.3", "Mailbox name not allowed"),
        row("bad-syntax", 501, "5.1.3", "Bad recipient address syntax"),
        row("policy", 550, "5.7.1", "Delivery not authorized"),
        row("dmarc", 550, "5.7.26", "Unauthenticated mail is not accepted"),
        row("greylist", 450, "4.7.1", "Greylisted, try again later", once=True),
        row("busy", 450, "4.2.1", "Mailbox busy"),
        row("mailbox-full", 452, "4.2.2", "Mailbox full"),
        row("over-quota", 552, "5.2.2", "Mailbox over quota"),
        row("too-many", 452, "4.5.3", "Too many recipients"),
        row("closing", 421, "4.3.2", "Service closing transmission channel"),
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

FAULT_ANSWERS: Mapping[str, Mapping[Fault, Answer]] = {kind: trouble.faults() for kind, trouble in _TROUBLE.items()}


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
