"""What an SMTP reply, or its absence, means for one delivery.

The enhanced status code (RFC 3463, registry of RFC 5248) is read first, then the reply code
(RFC 5321 §4.2.3); the stage of the session decides where the same code means different things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from messaging.outcome import Action, Outcome


class Stage(StrEnum):
    """How far a session got."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    """From the DATA command until the final dot is handed to the connection."""
    FINAL_DOT = "final dot"
    """After it: the server may have taken responsibility whatever happens to its answer (RFC 1047)."""


_BEFORE_LOGIN = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS})
_SETTING_UP = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})

GREYLIST_DELAY_S = 300.0
"""How long a greylisting server is left alone when it names no delay (RFC 6647 §5 suggests minutes)."""

ENHANCED: Mapping[str, tuple[Action, str]] = {
    "5.1.1": (Action.DISABLE_TARGET, "no such mailbox"),
    "5.1.2": (Action.DISABLE_TARGET, "no such mail domain"),
    "5.1.3": (Action.DISABLE_TARGET, "malformed address"),
    "5.1.4": (Action.DISABLE_TARGET, "ambiguous address"),
    "5.1.6": (Action.DISABLE_TARGET, "the mailbox has moved"),
    # Servers that delay the sender's check (Postfix does) say these two at RCPT: never the recipient's fault.
    "5.1.7": (Action.STOP_PROVIDER, "malformed sender address: correct fromEmail"),
    "5.1.8": (Action.STOP_PROVIDER, "the sender's domain is not accepted: correct fromEmail or its DNS"),
    "5.1.10": (Action.DISABLE_TARGET, "the domain accepts no mail (null MX)"),
    "5.2.1": (Action.DISABLE_TARGET, "the mailbox is disabled"),
    "5.2.2": (Action.RETRY, "the mailbox is full"),
    "5.2.3": (Action.REJECT_MESSAGE, "the message is longer than the mailbox allows"),
    "5.3.4": (Action.REJECT_MESSAGE, "the message is too big for the server"),
    "5.7.1": (Action.REJECT_MESSAGE, "refused by policy"),
    "5.7.8": (Action.STOP_PROVIDER, "user name or password refused"),
    "5.7.9": (Action.STOP_PROVIDER, "the authentication mechanism is too weak"),
    "5.7.11": (Action.STOP_PROVIDER, "the server asks for encryption first"),
    "5.7.20": (Action.STOP_PROVIDER, "no passing DKIM signature"),
    "5.7.23": (Action.STOP_PROVIDER, "SPF check failed"),
    "5.7.25": (Action.STOP_PROVIDER, "reverse DNS check failed"),
    "5.7.26": (Action.STOP_PROVIDER, "DMARC, SPF or DKIM check failed"),
    "5.7.27": (Action.STOP_PROVIDER, "the sender's domain accepts no mail (null MX)"),
}
"""By enhanced code: https://www.iana.org/assignments/smtp-enhanced-status-codes."""

CODES: Mapping[int, tuple[Action, str]] = {
    421: (Action.RECONNECT_RETRY, "the server closes the connection"),
    450: (Action.RETRY, "mailbox busy or greylisted"),
    451: (Action.RETRY, "local error at the server"),
    452: (Action.RETRY, "not enough storage at the server"),
    454: (Action.RETRY, "TLS or authentication temporarily unavailable, or throttled"),
    455: (Action.RETRY, "parameters not accommodated at the moment"),
    500: (Action.REJECT_MESSAGE, "command not understood"),
    501: (Action.DISABLE_TARGET, "malformed address"),
    502: (Action.REJECT_MESSAGE, "command not implemented"),
    503: (Action.RECONNECT_RETRY, "commands out of sequence"),
    504: (Action.REJECT_MESSAGE, "parameter not implemented"),
    521: (Action.STOP_PROVIDER, "the host accepts no mail"),
    530: (Action.STOP_PROVIDER, "authentication or STARTTLS required"),
    534: (Action.STOP_PROVIDER, "the authentication mechanism is too weak"),
    535: (Action.STOP_PROVIDER, "user name or password refused"),
    538: (Action.STOP_PROVIDER, "the server asks for encryption first"),
    551: (Action.DISABLE_TARGET, "the mailbox has moved"),
    553: (Action.DISABLE_TARGET, "malformed mailbox name"),
    554: (Action.REJECT_MESSAGE, "transaction failed"),
    555: (Action.REJECT_MESSAGE, "parameter not recognised"),
    556: (Action.DISABLE_TARGET, "the domain accepts no mail"),
}
"""By reply code where no enhanced code says more; 550 and 552 depend on the stage and the words."""

_ENHANCED = re.compile(r"\A\s*([245])\.(\d{1,3})\.(\d{1,3})(?!\S)")
_ADDRESS = re.compile(r"<[^<>]*@[^<>]*>|\S+@\S+")
_GREYLIST = re.compile(r"gr[ae]y[- ]?list", re.IGNORECASE)
_NAMED_DELAY = re.compile(r"\b(\d{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?)\b", re.IGNORECASE)
_UNKNOWN_MAILBOX = re.compile(
    r"(user|mailbox|recipient|account|address)\b.{0,40}"
    r"\b(unknown|not found|not exist|doesn't exist|invalid|disabled|inactive|unavailable)"
    r"|\b(no such|unknown|invalid)\b.{0,20}\b(user|mailbox|recipient|account|address|person)"
    r"|unroutable|unrouteable",
    re.IGNORECASE,
)
_REASON_LIMIT = 200

_CLOSING = 421
_OUT_OF_SEQUENCE = 503
_MAILBOX_UNAVAILABLE = 550
_STORAGE_EXCEEDED = 552


def classify(stage: Stage, code: int, text: str = "") -> Outcome:
    """What the reply `code` and `text` (without the code; may hold an enhanced code) mean at `stage`.

    At RCPT a positive reply is reported as accepted too: the session goes on.
    """
    enhanced = enhanced_code(code, text)
    name = f"{code} {enhanced}".strip()
    first_digit = str(code)[0]  # RFC 5321 §4.2.1: 2 done, 3 go on, 4 not now, 5 never
    if first_digit == ("3" if stage is Stage.DATA else "2"):
        return Outcome(Action.ACCEPTED)
    if first_digit not in {"4", "5"}:  # neither yes nor no: the session is out of step
        return lost(stage, f"unreadable reply at {stage}")
    action, meaning = _meaning(stage, code, enhanced, text)
    reason = f"{meaning} (at {stage}): {scrub(text)}" if text else f"{meaning} (at {stage})"
    # Nobody is served now: a refusal for good stops the account instead, and one of a login may be about its rate.
    outage = code == _CLOSING or (stage in _BEFORE_LOGIN and first_digit == "4")
    return Outcome(action, code=name, reason=reason, retry_after_s=_delay_s(action, text), outage=outage)


def lost(stage: Stage, reason: str) -> Outcome:
    """The outcome of a connection that ended, or a wait that ran out, at `stage`.

    Unknown after the final dot; before it nothing was sent.
    """
    if stage is Stage.FINAL_DOT:
        reason = f"no answer after the message: {reason}"
        return Outcome(Action.AMBIGUOUS_RETRY, code="no_reply", reason=reason, outage=True)
    if stage is Stage.CONNECT:
        return Outcome(Action.RETRY, code="connect", reason=f"not sent, no connection: {reason}", outage=True)
    reason = f"not sent, lost at {stage}: {reason}"
    return Outcome(Action.RECONNECT_RETRY, code="connection_lost", reason=reason, outage=True)


def enhanced_code(code: int, text: str) -> str:
    """The enhanced code `text` begins with, or an empty string; one of another class than `code` is ignored."""
    found = _ENHANCED.match(text)
    if found is None or found[1] != str(code)[:1]:
        return ""
    return f"{found[1]}.{int(found[2])}.{int(found[3])}"


def scrub(text: str) -> str:
    """`text` without the addresses in it, on one line, at most 200 characters."""
    return " ".join(_ADDRESS.sub("<address>", text).split())[:_REASON_LIMIT]


def _meaning(stage: Stage, code: int, enhanced: str, text: str) -> tuple[Action, str]:
    if code == _CLOSING:  # may be said in any state (RFC 5321 §3.8)
        return CODES[code]
    if stage in _SETTING_UP:
        return _setting_up(code, enhanced)
    if code == _OUT_OF_SEQUENCE:  # we and the server disagree about the state
        return CODES[code]
    action, meaning = _by_tables(stage, code, enhanced, text)
    about_sender = code == _MAILBOX_UNAVAILABLE or enhanced.startswith("5.7.") or action is Action.DISABLE_TARGET
    if stage is Stage.MAIL and about_sender:
        return Action.STOP_PROVIDER, "the sender is refused: check fromEmail and what this account may send as"
    return action, meaning


def _setting_up(code: int, enhanced: str) -> tuple[Action, str]:
    """Before MAIL every refusal is about the account or the server, never about a recipient."""
    meaning = ENHANCED.get(enhanced, CODES.get(code, (Action.RETRY, "the server refuses the session")))[1]
    return (Action.RETRY if str(code)[0] == "4" else Action.STOP_PROVIDER), meaning


def _by_tables(stage: Stage, code: int, enhanced: str, text: str) -> tuple[Action, str]:
    if enhanced in ENHANCED:
        return ENHANCED[enhanced]
    if code in CODES:
        return CODES[code]
    if str(code)[0] == "4":
        return Action.RETRY, "temporarily refused"
    if code == _MAILBOX_UNAVAILABLE and not enhanced and stage is Stage.RCPT and _UNKNOWN_MAILBOX.search(text):
        # Servers without enhanced codes (Exim) use 550 for "no such user" and for every policy: only the words tell.
        return Action.DISABLE_TARGET, "no such mailbox"
    if code == _STORAGE_EXCEEDED and stage is Stage.RCPT and not enhanced:
        return Action.RETRY, "too many recipients or mailbox full"  # as 452: RFC 5321 §4.5.3.1.10
    return Action.REJECT_MESSAGE, "refused"


def _delay_s(action: Action, text: str) -> float | None:
    """The delay a greylisting server names, or a usual one; None for every other reply."""
    if action is not Action.RETRY or not _GREYLIST.search(text):
        return None
    named = _NAMED_DELAY.search(text)
    if named is None:
        return GREYLIST_DELAY_S
    return float(named[1]) * (60 if named[2].lower().startswith("m") else 1)
