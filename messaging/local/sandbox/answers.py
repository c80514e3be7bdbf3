"""How stand-ins answer magic addresses and faults: the rows, and what goes wrong alike at every provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from messaging.local.sandbox.exchange import Behaviour
from messaging.local.sandbox.faults import Fault
from messaging.local.sandbox.record import Outcome


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


class Verdict(TypedDict):
    """What `Record.append` is told of an answer."""

    outcome: Outcome
    status: int
    code: str


def verdict(answer: Answer | None, accepted: int) -> Verdict:
    """The verdict of an answer; None is an acceptance, which has the status `accepted`."""
    if answer is None:
        return {"outcome": Outcome.ACCEPTED, "status": accepted, "code": ""}
    return {"outcome": answer.outcome(), "status": answer.status, "code": answer.code}


@dataclass(frozen=True, slots=True)
class MagicAddress:
    """One row: every address that starts with `prefix` (email: whose local part up to `+` is `prefix`)."""

    prefix: str
    answer: Answer
    once: bool = False


def row(prefix: str, status: int, code: str, text: str = "", *, once: bool = False) -> MagicAddress:
    """A row that answers."""
    return MagicAddress(prefix, Answer(status, code, text), once)


NEVER = Answer(0, "never answered", behaviour=Behaviour.NEVER_ANSWER)
DROPPED = Answer(0, "connection dropped", behaviour=Behaviour.DROP_CONNECTION)
LOST = Answer(0, "accepted, then connection dropped", behaviour=Behaviour.DROP_CONNECTION, accepts=True)

SILENT_MAILBOXES = (
    MagicAddress("timeout", NEVER),
    MagicAddress("reset", DROPPED),
    MagicAddress("lost-answer", LOST),
)
"""The email addresses that get no answer, of every provider."""
SILENT_NUMBERS = (
    MagicAddress("+1999000", NEVER),
    MagicAddress("+1999001", DROPPED),
    MagicAddress("+1999004", LOST),
)
"""The same for phone numbers."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong at every provider, in the words of one."""

    throttled: Answer
    internal: Answer
    unavailable: Answer
    dead: Answer
    reset: Answer = DROPPED
    lost: Answer = LOST

    def faults(self) -> Mapping[Fault, Answer]:
        """The answers on demand."""
        return {
            Fault.THROTTLED: self.throttled,
            Fault.INTERNAL: self.internal,
            Fault.UNAVAILABLE: self.unavailable,
            Fault.DEAD: self.dead,
            Fault.RESET: self.reset,
            Fault.LOST_ANSWER: self.lost,
            Fault.NEVER_ANSWER: NEVER,
        }

    def numbers(self) -> tuple[MagicAddress, ...]:
        """The phone numbers that are answered so, and those that get no answer."""
        return (
            MagicAddress("+1999429", self.throttled),
            MagicAddress("+1998429", self.throttled, once=True),
            MagicAddress("+1999500", self.internal),
            MagicAddress("+1999503", self.unavailable),
            MagicAddress("+1998503", self.unavailable, once=True),
            *SILENT_NUMBERS,
        )
