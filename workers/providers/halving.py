"""A request refused because of one recipient whom the provider does not name: halved until that one stands alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from messaging.outcome import Action, Outcome

REQUESTS = 48
"""Made for one call at most. One bad address among 1,000 takes 20 of them."""

_LATER = "not sent: the request was refused for other recipients, one after the other"
_STOPS = frozenset({
    Action.RETRY, Action.RETRY_AFTER, Action.RECONNECT_RETRY, Action.AMBIGUOUS_RETRY, Action.STOP_PROVIDER,
    Action.QUOTA,
})  # fmt: skip
"""After these the rest would fare no better."""

Item = TypeVar("Item")


async def send_halving(
    items: Sequence[Item],
    post: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome] | None]],
    *,
    requests: int = REQUESTS,
) -> list[Outcome]:
    """One outcome per item, in order, of at most `requests` requests.

    `post` makes one request and gives an outcome per item, or None where it was refused for one among several and
    nothing says which. Items no request was left for were certainly not sent, and wait for their next attempt.
    """
    outcomes: list[Outcome | None] = [None] * len(items)
    rest = Outcome(Action.RETRY, "halved", _LATER)
    waiting = [(0, len(items))] if items else []
    while waiting and requests > 0:
        start, end = waiting.pop()
        requests -= 1
        found = await post(items[start:end])
        if found is None:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
            continue
        outcomes[start:end] = found
        stopped = next((outcome for outcome in found if outcome.action in _STOPS), None)
        if stopped is not None:
            rest = _unsent(stopped)
            break
    return [outcome or rest for outcome in outcomes]


def _unsent(before: Outcome) -> Outcome:
    """The outcome of what was not sent because of `before`: the same, but certain."""
    if before.action is not Action.AMBIGUOUS_RETRY:
        return before
    return replace(before, action=Action.RETRY, reason="not sent: the request before it had no clear answer")
