"""What the errors of the HTTP/2 client mean for a delivery; the same for every provider reached by it."""

from __future__ import annotations

from collections.abc import Mapping

from messaging.outcome import Action, Outcome
from workers.providers.http2_answer import NotSentCause, NotSentError, UnknownOutcomeError

NOT_SENT: Mapping[NotSentCause, Action] = {
    NotSentCause.CONNECT: Action.RETRY,
    NotSentCause.GOAWAY: Action.RECONNECT_RETRY,
    NotSentCause.REFUSED_STREAM: Action.RETRY,
    NotSentCause.TIMEOUT: Action.RETRY,
    NotSentCause.CONNECTION_LOST: Action.RETRY,
    NotSentCause.CLOSED: Action.RECONNECT_RETRY,  # as the account was changed: the next run has a new client
}
"""What follows when a request was certainly not processed, by cause."""

NO_OUTAGE = frozenset({NotSentCause.REFUSED_STREAM, NotSentCause.CLOSED})
"""The server holds back, or we closed. A GOAWAY is an outage: it is told only when a second connection got one, too."""


def outcome_of(error: NotSentError | UnknownOutcomeError) -> Outcome:
    """The outcome of a request that got no answer."""
    if isinstance(error, NotSentError):
        outage = error.cause not in NO_OUTAGE
        return Outcome(NOT_SENT[error.cause], code=error.cause, reason=error.reason, outage=outage)
    return Outcome(Action.AMBIGUOUS_RETRY, code="no_answer", reason=error.reason, outage=True)
