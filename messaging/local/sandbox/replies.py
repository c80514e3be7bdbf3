"""Replies of stand-ins that speak HTTP: JSON, with the delay the faults ask for, or none at all."""

import json
from collections.abc import Mapping

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.exchange import Reply
from messaging.local.sandbox.magic import Judge

Header = tuple[bytes, bytes]

_DELAYED = frozenset({429, 503})


def json_reply(
    judge: Judge, status: int, body: Mapping[str, object], *headers: Header, kind: bytes = b"application/json"
) -> Reply:
    """A JSON body of the content type `kind`; a 429 and a 503 ask for the delay the faults name."""
    heads = ((b"content-type", kind), *headers, *retry_after(judge, status))
    return Reply(status, heads, json.dumps(body).encode(), delay_s=judge.delay_s)


def retry_after(judge: Judge, status: int) -> tuple[Header, ...]:
    """`Retry-After`, where the status has one and the faults name a delay."""
    if status not in _DELAYED or judge.retry_after_s is None:
        return ()
    return ((b"retry-after", b"%d" % judge.retry_after_s),)


def no_reply(judge: Judge, answer: Answer, status: int = 200) -> Reply:
    """The reply that is never given, or lost; `status` is what it would have been."""
    return Reply(status, behaviour=answer.behaviour, delay_s=judge.delay_s)
