"""A receiver of our own webhook protocol, for one channel: what the stand-ins `web/webhook_*.py` are made of.

The protocol is described in docs/reference/webhook-provider.md. Signatures are those of Standard Webhooks.
"""

import base64
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from typing import Any

from messaging.channel import Channel
from messaging.local.sandbox.answers import DROPPED, LOST, NEVER, Answer, MagicAddress, Trouble
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.record import Outcome, Record
from messaging.local.sandbox.replies import json_reply, no_reply
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Post, Webhooks, events_for

TOLERANCE_S = 300
MAX_RECIPIENTS = 100
REMEMBERED = 100_000
"""Deliveries whose results are kept, so that one that comes again is taken once."""

_RESULTS = frozenset({"dead", "suppressed", "rejected", "failed", "retry"})
"""Codes that are one recipient's result, in an answer that is 200; the others answer the whole request."""

_CASES: Sequence[tuple[str, str, Answer, bool]] = (
    ("dead", "0404", Answer(200, "dead", "no such address"), False),
    ("suppressed", "0610", Answer(200, "suppressed", "has opted out"), False),
    ("rejected", "0422", Answer(200, "rejected", "not that content"), False),
    ("failed", "0500", Answer(200, "failed", "the carrier gave up"), False),
    ("busy-once", "1503", Answer(200, "retry", "busy"), True),
    ("busy", "0503", Answer(200, "retry", "busy"), False),
    ("unauthorized", "2401", Answer(401, "unauthorized", "the signature is wrong"), False),
    ("no-credit", "2402", Answer(402, "no-credit", "credit is used up"), False),
    ("too-large", "2413", Answer(413, "too-large", "the request is too large"), False),
    ("unprocessable", "2422", Answer(422, "unprocessable", "not that message"), False),
    ("throttled-once", "3429", Answer(429, "throttled", "too many requests"), True),
    ("throttled", "2429", Answer(429, "throttled", "too many requests"), False),
    ("server-error-once", "3500", Answer(500, "server-error", "internal error"), True),
    ("server-error", "2500", Answer(500, "server-error", "internal error"), False),
    ("unavailable-once", "3503", Answer(503, "unavailable", "unavailable"), True),
    ("unavailable", "2503", Answer(503, "unavailable", "unavailable"), False),
    ("timeout", "9000", NEVER, False),
    ("reset", "9001", DROPPED, False),
    ("lost-answer", "9004", LOST, False),
)
"""Word, digits, answer, and whether only the first request gets it."""

FAULTS = Trouble(
    throttled=Answer(429, "throttled", "too many requests"),
    internal=Answer(500, "server-error", "internal error"),
    unavailable=Answer(503, "unavailable", "unavailable"),
    dead=Answer(200, "dead", "no such address"),
).faults()


@dataclass(frozen=True, slots=True)
class _Taken:
    """One recipient of a request, and what becomes of it."""

    tag: str
    address: str
    answer: Answer | None
    provider_id: str
    again: bool
    """It was taken before: the result is told again, and nothing else happens."""

    @property
    def result(self) -> dict[str, Any]:
        """As the answer has it."""
        if self.answer is None or self.answer.accepts:
            return {"delivery": self.tag, "status": "accepted", "id": self.provider_id}
        code = self.answer.code
        return {"delivery": self.tag, "status": code, "code": code, "reason": self.answer.text}


def magic(channel: Channel) -> tuple[MagicAddress, ...]:
    """The magic addresses of a channel: `magic-dead…`, `dead@…` or `+19000404…`."""

    def prefix(word: str, digits: str) -> str:
        return {Channel.PUSH: f"magic-{word}", Channel.EMAIL: word, Channel.SMS: f"+1900{digits}"}[channel]

    return tuple(MagicAddress(prefix(word, digits), answer, once) for word, digits, answer, once in _CASES)


def sandbox_secret() -> str:
    """The secret every account at the sandbox shares, unless one is registered with its webhook. It guards nothing."""
    return "whsec_" + base64.b64encode(sha256(b"the sandbox's webhooks").digest()).decode()


def stand_in(channel: Channel) -> StandIn:
    """The stand-in of the kind for `channel`."""

    def build(judge: Judge, record: Record, webhooks: Webhooks) -> Receiver:
        return Receiver(channel, judge, record, webhooks)

    def view(payload: Mapping[str, Any]) -> dict[str, Any]:
        return _view(channel, payload)

    return StandIn(
        build=build,
        magic=magic(channel),
        faults=FAULTS,
        fields=lambda: _fields(channel),
        view=view,
        webhook_key=lambda fields: str(fields.get("secret") or ""),
    )


class Receiver:
    """Takes batches as the protocol says, records each recipient, and reports what became of it.

    It goes by the sandbox's secret, and by the key registered for the kind. A delivery that comes again is not taken
    again.
    """

    def __init__(
        self,
        channel: Channel,
        judge: Judge,
        record: Record,
        webhooks: Webhooks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channel = channel
        self._judge = judge
        self._record = record
        self._webhooks = webhooks
        self._clock = clock
        self._known: OrderedDict[str, str] = OrderedDict()

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        if request.method != "POST":
            return self._refuse(Answer(405, "method", "only POST"))
        secret = self._secret_of(request)
        if secret is None:
            return self._refuse(Answer(401, "unauthorized", "the signature is wrong"))
        try:
            body = json.loads(request.body)
            if body["type"] == "ping":
                return Reply(204, delay_s=self._judge.delay_s)
            problem = _problem(self._channel, body, request.headers)
        except (ValueError, TypeError, KeyError) as error:
            problem = f"unreadable: {error!r}"
        if problem:
            return self._refuse(Answer(422, "unprocessable", problem))
        return self._take(body, secret)

    def _take(self, body: Mapping[str, Any], secret: str) -> Reply:
        recipients = [
            (str(person["delivery"]), str(person["to"]), person, str(person["delivery"]) in self._known)
            for person in body["recipients"]
        ]
        answers, whole = self._judge_all([(address, again) for _, address, _, again in recipients])
        shared = {name: value for name, value in body.items() if name not in {"recipients", "type", "receiptsUrl"}}
        taken: list[_Taken] = []
        for (tag, address, person, again), own in zip(recipients, answers, strict=True):
            answer = whole or own
            one = _Taken(tag, address, answer, self._known.get(tag) or f"rcv_{secrets.token_hex(8)}", again)
            taken.append(one)
            if again and (answer is None or answer.accepts):
                continue
            outcome = Outcome.ACCEPTED if answer is None else _outcome(answer)
            self._record.append(
                self._judge.protocol,
                address,
                outcome=outcome,
                status=200 if answer is None else answer.status,
                code="" if answer is None else answer.code,
                provider_id=one.provider_id,
                tag=tag,
                payload=json.dumps(shared | {"to": address}),
                about=json.dumps({name: value for name, value in person.items() if name not in {"to", "delivery"}}),
            )
            if outcome is Outcome.ACCEPTED:
                self._remember(tag, one.provider_id)
        self._report(body, taken, secret)
        if whole is not None and not whole.status:
            return no_reply(self._judge, whole)
        if whole is not None:
            return self._refuse(whole)
        return json_reply(self._judge, 200, {"results": [one.result for one in taken]})

    def _judge_all(self, people: Sequence[tuple[str, bool]]) -> tuple[list[Answer | None], Answer | None]:
        """Each recipient's own answer, and that of the whole request. Rates other than `dead` count requests."""
        own: list[Answer | None] = []
        whole: Answer | None = None
        for place, (address, again) in enumerate(people):
            is_magic = find_magic(self._judge.protocol, address) is not None
            answer = None if again else self._judge.judge(address)
            if answer is not None and answer.code not in _RESULTS:
                whole = whole or (answer if is_magic or place == 0 else None)
                answer = None
            own.append(answer)
        return own, whole

    def _report(self, body: Mapping[str, Any], taken: Sequence[_Taken], secret: str) -> None:
        """Post the events of what was accepted: first events in one request, second ones in the next."""
        registered = self._webhooks.of(self._judge.protocol)
        url = body.get("receiptsUrl") or (registered.url if registered else None)
        if not url:
            return
        accepted = [one for one in taken if not one.again and (one.answer is None or one.answer.accepts)]
        rounds = zip_longest(*([(one, word) for word in events_for(one.address)] for one in accepted))
        posts = []
        for number, events in enumerate(rounds):
            told = [self._event(one, word, number) for one, word in filter(None, events)]
            raw = json.dumps({"events": told}).encode()
            headers = sign(secret, f"evt_{secrets.token_hex(12)}", int(self._clock()), raw)
            posts.append(Post(url=str(url), body=raw, headers={"content-type": "application/json"} | headers))
        self._webhooks.post(posts)

    def _event(self, one: _Taken, word: str, number: int) -> dict[str, Any]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        event = {"id": f"{one.provider_id}-{number}", "delivery": one.tag, "event": word, "at": at}
        good = word in {"accepted", "delivered", "opened", "clicked", "resubscribed"}
        return event if good else event | {"code": word.upper(), "reason": f"the sandbox plays {word}"}

    def _secret_of(self, request: Request) -> str | None:
        """The secret the request is signed with, if it is one of ours and the time is right."""
        message_id, timestamp, signature = (
            request.headers.get(name, b"").decode("latin-1")
            for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
        )
        if not message_id or not timestamp.isdigit() or abs(int(timestamp) - self._clock()) > TOLERANCE_S:
            return None
        registered = self._webhooks.of(self._judge.protocol)
        for secret in (sandbox_secret(), registered.key if registered else ""):
            expected = sign(secret, message_id, int(timestamp), request.body)["webhook-signature"] if secret else ""
            if secret and any(hmac.compare_digest(expected, given) for given in signature.split()):
                return secret
        return None

    def _remember(self, tag: str, provider_id: str) -> None:
        self._known[tag] = provider_id
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _refuse(self, answer: Answer) -> Reply:
        return json_reply(self._judge, answer.status, {"code": answer.code, "message": answer.text})


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that sign `body`."""
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded + "==") if encoded != secret else secret.encode()
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


_CONTENT: Mapping[Channel, frozenset[str]] = {
    Channel.PUSH: frozenset(
        {"title", "body", "data", "action", "image", "icon", "sound", "color", "tag", "badge", "contentAvailable",
         "critical", "priority", "channelId", "collapseId", "pushType"}
    ),
    Channel.EMAIL: frozenset({"subject", "content", "html", "text", "headers", "attachments"}),
    Channel.SMS: frozenset({"content"}),
}  # fmt: skip
_SHARED = frozenset(
    {"type", "channel", "messageId", "expiresAt", "content", "from", "replyTo", "visibleTo", "visibleCc", "recipients",
     "receiptsUrl"}
)  # fmt: skip
_PERSON = frozenset({"delivery", "to", "name", "role", "unsubscribeUrl"})


def _problem(channel: Channel, body: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
    """What is wrong with a request, or nothing; raises for what isn't there."""
    people = body["recipients"]
    tags = {person["delivery"] for person in people}
    checks = (
        (headers.get(b"content-type", b"") == b"application/json", "Content-Type is not application/json"),
        (headers.get(b"idempotency-key") == headers.get(b"webhook-id"), "Idempotency-Key is not webhook-id"),
        (body["type"] == "messages.send", "unknown type"),
        (body["channel"] == channel, "another channel"),
        (isinstance(body["messageId"], str) and isinstance(body["expiresAt"], str), "messageId or expiresAt"),
        (set(body) <= _SHARED, "unknown fields"),
        (set(body["content"]) <= _CONTENT[channel], "unknown fields in content"),
        (channel is not Channel.EMAIL or "@" in body["from"]["email"], "from.email"),
        (0 < len(people) <= MAX_RECIPIENTS and len(tags) == len(people), "too many recipients, or one twice"),
        (all(set(person) <= _PERSON and person["to"] and person["delivery"] for person in people), "a recipient"),
    )
    return next((text for fine, text in checks if not fine), "")


def _outcome(answer: Answer) -> Outcome:
    return Outcome.REFUSED if answer.code in _RESULTS else answer.outcome()


def _fields(channel: Channel) -> dict[str, Any]:
    fields = {"url": "https://receiver.sandbox.example/messages", "secret": sandbox_secret()}
    sender = {"fromEmail": "news@shop.example", "fromName": "News"}
    return fields | sender if channel is Channel.EMAIL else dict(fields)


def _view(channel: Channel, payload: Mapping[str, Any]) -> dict[str, Any]:
    content = payload.get("content") or {}
    if channel is Channel.SMS:
        return {"channel": "sms", "from": None, "text": content.get("content")}
    if channel is Channel.PUSH:
        shown = {name: content.get(name) for name in ("title", "body", "image", "badge")}
        return {"channel": "push", "data": content.get("data") or {}} | shown
    attachments = [
        {"filename": each["filename"], "type": each["contentType"], "bytes": len(base64.b64decode(each["content"]))}
        for each in content.get("attachments") or ()
    ]
    return {
        "channel": "email",
        "from": payload.get("from"),
        "to": [{"email": payload.get("to")}],
        "subject": content.get("subject"),
        "text": content.get("text"),
        "html": content.get("content") if content.get("html") else None,
        "attachments": attachments,
    }
