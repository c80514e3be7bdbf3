"""`Idempotency-Key`: a POST repeated under the same key gets the first answer and does nothing again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from messaging.http.errors import invalid
from messaging.http.json_text import dumps
from messaging.http.operations import Answer, Call
from messaging.store import answers

HEADER = "idempotency-key"
LONGEST_KEY = 255


def once(call: Call, given: Mapping[str, Any], work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, or the kept one of the same request under the same key.

    The key, the work and the answer are one transaction. Raises `ApiError` for a key that was used with another
    body or for another operation.
    """
    key = call.headers.get(HEADER)
    if key is None or call.operation.method != "POST" or not call.operation.keyed:
        return work()
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise invalid("Idempotency-Key", f"a key has 1 to {LONGEST_KEY} printable characters")
    said = dumps([call.operation.method, call.operation.path, _plain(given)])
    if call.caller.user is not None:
        key = f"{call.caller.user.user_id} {key}"  # a user's keys are their own; no id has a space
    kept = answers.reserve(call.connection, call.project_id, key, call.vault.request_mac(said))
    if kept is not None:
        return Answer(body=kept.body, status=kept.status, headers=(("Idempotent-Replayed", "true"),))
    answer = work()
    if answer.content is not None or answer.headers:
        raise TypeError(f"{call.operation.name} answers what can't be kept; declare it with keyed=False")
    answers.keep(call.connection, call.project_id, key, status=answer.status or 200, body=answer.body)
    return answer


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in sorted(given)}
