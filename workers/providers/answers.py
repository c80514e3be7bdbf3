"""What answers over HTTP share: a JSON object, a delay, and the meaning of a status no table lists."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from messaging.outcome import Action


def json_object(body: bytes) -> Mapping[str, object]:
    """The object an answer is; an empty one for anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def object_at(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The object under `name`; an empty one where there is none."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After; None where it is missing, or a date."""
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def delay_s(action: Action, headers: Mapping[str, str]) -> float | None:
    """The same, of an answer after which it counts."""
    return retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None


def by_status(status: int, title: str, *, said: str = "", endpoint: str = "the endpoint") -> tuple[Action, str]:
    """What a negative answer means whose status stands in no table of `title`.

    `said` are its words, without numbers and addresses. After a 5xx the message may have been taken.
    """
    if httpx.codes.is_server_error(status):
        return Action.AMBIGUOUS_RETRY, f"{title} may or may not have taken the message"
    if httpx.codes.is_client_error(status) or httpx.codes.is_success(status):
        return Action.REJECT_MESSAGE, f"refused: {said}" if said else "refused"
    return Action.STOP_PROVIDER, f"redirected: check {endpoint}"
