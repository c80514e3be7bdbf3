"""What the stand-in of a provider's HTTP API begins with."""

import time
from collections.abc import Callable, Mapping

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.exchange import Reply
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.replies import Header, json_reply, no_reply
from messaging.local.sandbox.webhooks import Webhooks


class Provider:
    """Judges, records and tells; what the provider says in which words is the subclass's."""

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._judge = judge
        self._record = record
        self._webhooks = webhooks
        self._clock = clock

    def _json(self, status: int, body: Mapping[str, object], *headers: Header) -> Reply:
        return json_reply(self._judge, status, body, *headers)

    def _silence(self, answer: Answer, status: int = 200) -> Reply:
        return no_reply(self._judge, answer, status)
