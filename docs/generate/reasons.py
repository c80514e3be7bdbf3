"""The page of reasons: our own codes, and the tables in which adapters look up what a provider answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from docs.generate.markdown import code, document, head, table
from docs.generate.source import adapter_modules, member_texts
from messaging.catalog import OURS
from messaging.outcome import Action

OWN: Mapping[str, str] = {
    "no_enabled_provider": "No enabled account may carry it. Enable one, then `messaging retry ID`.",
    "suppressed": "The address is on the suppression list.",
    "target_expired": "The address was called dead before; register it again if it lives.",
    "target_deleted": "The target was deleted, or its user erased, before it was sent.",
    "worker_lost": "A worker ended with this in flight: it may have been sent.",
    "verdict_withdrawn": "The provider called most addresses dead at once, which is not believed; they are sent again.",
    "quarantined": "It ended one worker after the other and was put aside: `messaging quarantine list`.",
    "attachment_gone": "A file that the message names was deleted before it was sent.",
    "adapter_error": "The adapter itself failed: it may have been sent. The worker's log has the error.",
    "destination_refused": "The account's or the target's address leads to a private network that is not allowed:"
    " `MESSAGING_PRIVATE_DESTINATIONS`.",
}
"""Codes that are ours and no provider's; a test looks for each in the code."""

_BEFORE = """\
`messaging deliveries ID --status failed` shows a code and a reason for each recipient. `messaging retry ID --code CODE`
sends again what failed for one of them. A code is the provider's own word or number where it has one.

## What follows from an answer

Every answer of every provider becomes one of these.
"""


def page() -> str:
    """The whole page."""
    texts = member_texts(Action)
    kinds = [
        part
        for name in OURS
        if (rows := list(_rows(name)))
        for part in (f"### {OURS[name].title} (`{name}`)\n", table(("code", "what follows", "meaning"), rows))
    ]
    return document(
        head("Reasons", "the adapters in workers/providers"),
        _BEFORE,
        table(("action", "what it means"), ((code(each), texts[each.name]) for each in Action)),
        "## Codes of our own\n",
        table(("code", "meaning"), ((code(name), text) for name, text in OWN.items())),
        "## Codes of providers\n",
        "What stands in no table is judged by its status; silence after a request has left is unknown.\n",
        *kinds,
    )


def _rows(kind: str) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for module in adapter_modules():
        stem = module.__name__.rpartition(".")[2]
        if stem != OURS[kind].module and not stem.startswith(f"{OURS[kind].module}_"):
            continue
        for name, found in vars(module).items():
            if name.isupper() and not name.startswith("_") and isinstance(found, Mapping):
                for key, value in found.items():
                    row = _row(key, value)
                    if row is not None and row[0] not in seen:
                        seen.add(row[0])
                        yield row


def _row(key: object, value: object) -> tuple[str, str, str] | None:
    """One line of a table of codes, which says (action, reason) or (event, action, reason) of each; else None."""
    if not isinstance(value, tuple) or len(value) < len(("action", "reason")):
        return None
    *_, action, reason = value
    if not isinstance(action, Action) or not isinstance(reason, str):
        return None
    return code(key), code(action), reason
