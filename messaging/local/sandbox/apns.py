"""Apple's push service, as far as a sender can see it: `POST /3/device/{token}`."""

import json
import re
import time
import uuid
from collections.abc import Callable
from functools import lru_cache

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.apns_tokens import ProviderTokenError, ProviderTokens
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.replies import json_reply, no_reply

PATH = "/3/device/"
MAX_PAYLOAD_BYTES = 4096
MAX_VOIP_PAYLOAD_BYTES = 5120
MAX_COLLAPSE_ID_BYTES = 64
PRIORITIES = frozenset({b"1", b"5", b"10"})
PUSH_TYPES = frozenset(
    {
        b"alert", b"background", b"location", b"voip", b"complication", b"fileprovider", b"mdm", b"liveactivity",
        b"pushtotalk", b"widgets", b"controls",
    }
)  # fmt: skip

_DEVICE_TOKEN = re.compile(r"(?:[0-9a-fA-F]{2}){4,100}")  # Apple: opaque, don't assume its length
_TOPIC = re.compile(rb"[A-Za-z0-9.\-]+")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EXPIRATION = re.compile(rb"[0-9]{1,12}")


NO_DEVICE = "00" * 32
"""A token of the right form that no device has: what credentials are tried with. Not recorded."""
_TAKEN = Answer(200, "", accepts=True)


class _RefusedError(Exception):
    """The request breaks a rule of APNs; status and reason are Apple's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Apns:
    """Answers pushes as Apple's tables say, and records each.

    Source: developer.apple.com, "Sending notification requests to APNs" and "Handling notification responses".
    """

    def __init__(
        self, judge: Judge, record: Record, tokens: ProviderTokens, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._judge = judge
        self._record = record
        self._tokens = tokens
        self._clock = clock

    def __call__(self, request: Request) -> Reply:
        """The reply to one push."""
        headers = request.headers
        apns_id = headers.get(b"apns-id")
        device = request.path.removeprefix(PATH)
        try:
            _check_path(request)
            self._check_token(request)
            _check_headers(request)
            payload = _check_payload(request)
            _check_device(device)
        except (_RefusedError, ProviderTokenError) as error:
            if error.reason == "BadMessageId":
                apns_id = None
            return self._answer(request, device, apns_id, Answer(error.status, error.reason), "null")
        answer = self._judge.judge(device)
        if answer is None and device == NO_DEVICE:
            answer = Answer(400, "BadDeviceToken")
        if answer is not None:
            return self._answer(request, device, apns_id, answer, payload)
        provider_id = apns_id or _new_id()
        self._note(request, device, _TAKEN, provider_id, payload)
        return Reply(200, ((b"apns-id", provider_id),), delay_s=self._judge.delay_s)

    def _check_token(self, request: Request) -> None:
        token = self._tokens.check(request.headers.get(b"authorization"))
        connection = request.connection
        if connection.key_id is None:
            connection.key_id = token.key_id
        elif connection.key_id != token.key_id:
            raise _RefusedError(403, "UnrelatedKeyIdInToken")

    def _answer(self, request: Request, device: str, apns_id: bytes | None, answer: Answer, payload: str) -> Reply:
        provider_id = apns_id or _new_id()
        self._note(request, device, answer, provider_id, payload)
        if not answer.status:
            return no_reply(self._judge, answer)
        body: dict[str, str | int] = {"reason": answer.code}
        if answer.status == 410:  # noqa: PLR2004  # Apple's table: only 410 carries the time
            body["timestamp"] = int(self._clock() * 1000)
        return json_reply(self._judge, answer.status, body, (b"apns-id", provider_id))

    def _note(self, request: Request, device: str, answer: Answer, provider_id: bytes, payload: str) -> None:
        if device == NO_DEVICE:
            return
        headers = request.headers
        tag = headers.get(b"apns-id")
        self._record.append(
            "apns",
            device,
            outcome=answer.outcome(),
            status=answer.status,
            code=answer.code,
            provider_id=provider_id.decode("latin-1"),
            tag=tag.decode("latin-1") if tag is not None else None,
            payload=payload,
            about=_about(
                headers.get(b"apns-topic"),
                headers.get(b"apns-push-type"),
                headers.get(b"apns-priority"),
                headers.get(b"apns-expiration"),
                headers.get(b"apns-collapse-id"),
            ),
        )


def _check_path(request: Request) -> None:
    if request.method != "POST":
        raise _RefusedError(405, "MethodNotAllowed")
    if not request.path.startswith(PATH):
        raise _RefusedError(404, "BadPath")
    if request.path == PATH:
        raise _RefusedError(400, "MissingDeviceToken")


def _check_device(device: str) -> None:
    if not _DEVICE_TOKEN.fullmatch(device):
        raise _RefusedError(400, "BadDeviceToken")


def _check_headers(request: Request) -> None:
    headers = request.headers
    if request.repeated_header:
        raise _RefusedError(400, "DuplicateHeaders")
    topic = headers.get(b"apns-topic")
    if topic is None:
        raise _RefusedError(400, "MissingTopic")
    push_type = headers.get(b"apns-push-type", b"alert")
    if not _TOPIC.fullmatch(topic):
        raise _RefusedError(400, "BadTopic")
    if push_type not in PUSH_TYPES:
        raise _RefusedError(400, "InvalidPushType")
    if not _is_priority(headers.get(b"apns-priority", b"5"), push_type):
        raise _RefusedError(400, "BadPriority")
    if b"apns-id" in headers and not _UUID.fullmatch(headers[b"apns-id"]):
        raise _RefusedError(400, "BadMessageId")
    if b"apns-expiration" in headers and not _EXPIRATION.fullmatch(headers[b"apns-expiration"]):
        raise _RefusedError(400, "BadExpirationDate")
    if len(headers.get(b"apns-collapse-id", b"")) > MAX_COLLAPSE_ID_BYTES:
        raise _RefusedError(400, "BadCollapseId")


def _is_priority(priority: bytes, push_type: bytes) -> bool:
    return priority in PRIORITIES and not (push_type == b"background" and priority == b"10")


def _check_payload(request: Request) -> str:
    """The payload as JSON text on one line; raises _RefusedError."""
    push_type = request.headers.get(b"apns-push-type")
    if len(request.body) > (MAX_VOIP_PAYLOAD_BYTES if push_type == b"voip" else MAX_PAYLOAD_BYTES):
        raise _RefusedError(413, "PayloadTooLarge")
    payload = _payload(request.body)
    if payload is None:
        raise _RefusedError(400, "PayloadEmpty")
    return payload


@lru_cache(maxsize=256)
def _payload(body: bytes) -> str | None:
    """The body as one line of JSON, None unless it is an object with something in it.

    Cached: one message is one body for all its devices.
    """
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return json.dumps(value) if isinstance(value, dict) and value else None


@lru_cache(maxsize=256)
def _about(
    topic: bytes | None,
    push_type: bytes | None,
    priority: bytes | None,
    expiration: bytes | None,
    collapse_id: bytes | None,
) -> str:
    values = {
        "topic": topic,
        "push_type": push_type,
        "priority": priority,
        "expiration": expiration,
        "collapse_id": collapse_id,
    }
    return json.dumps({name: value.decode("latin-1") for name, value in values.items() if value is not None})


def _new_id() -> bytes:
    return str(uuid.uuid4()).upper().encode()
