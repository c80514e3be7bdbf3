"""Words by which people opt out of text messages, and in again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging.outcome import Action
from messaging.receipt import Event, Receipt, UnreadableReceiptError

STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
START = frozenset({"START", "UNSTOP"})
"""The whole text, in any case."""


def choice_in(text: str, *, sender: str, message: str, at: datetime | None = None) -> Sequence[Receipt]:
    """The opt-out or opt-in that `text` is; none for any other text.

    `sender` is a number, with or without +; `message` the provider's id of the text. Raises `UnreadableReceiptError`.
    """
    word = text.strip().upper()
    if word not in STOP | START:
        return []
    number = sender.removeprefix("+")
    if not (number.isascii() and number.isdecimal()):
        raise UnreadableReceiptError("an opt-out from what is no number")
    stops = word in STOP
    return [
        Receipt(
            event=Event.UNSUBSCRIBED if stops else Event.RESUBSCRIBED,
            key=f"{message}:{word}",
            address=f"+{number}",
            at=at,
            action=Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET,
            code=word,
            reason="opted out by message" if stops else "opted in by message",
        )
    ]
