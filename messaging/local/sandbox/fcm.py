"""Google's push service, as far as a sender can see it: `POST /v1/projects/{project}/messages:send`."""

import itertools
import json
import re
import secrets

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.fcm_message import InvalidArgumentError, label_of, parse_message, recipient_of
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.oauth import AccessTokens
from messaging.local.sandbox.record import Outcome, Record
from messaging.local.sandbox.replies import json_reply, no_reply

_PATH = re.compile(r"/v1/projects/([^/]+)/messages:send")
SHORTEST_TOKEN = 6
"""Real tokens have more than a hundred characters. A dry run says so of one that is none; tests send to short ones."""
_JSON = (b"content-type", b"application/json; charset=UTF-8")
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_BAD_CREDENTIALS = Answer(
    401,
    "",
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
)


class Fcm:
    """Answers sends as Google's tables say, and records each.

    Source: firebase.google.com, "ErrorCode" and "projects.messages.send".
    """

    def __init__(self, judge: Judge, record: Record, tokens: AccessTokens) -> None:
        self._judge = judge
        self._record = record
        self._tokens = tokens
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        """The reply to one send."""
        path = _PATH.fullmatch(request.path.partition("?")[0])
        if path is None or request.method != "POST":
            return self._refuse(Answer(404, "", f"The requested URL {request.path} was not found on this server."))
        if not self._tokens.is_valid(request.headers.get(b"authorization")):
            return self._refuse(_BAD_CREDENTIALS)
        try:
            message, validate_only = parse_message(request.body)
        except InvalidArgumentError as error:
            return self._refuse(Answer(400, "INVALID_ARGUMENT", str(error)), violation=error)
        name = f"projects/{path[1]}/messages/0:{self._run}{next(self._numbers):012x}"
        recipient = recipient_of(message)
        answer = self._judge.judge(recipient)
        if validate_only:
            if answer is None and len(str(message.get("token", recipient))) < SHORTEST_TOKEN:
                answer = Answer(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
        else:
            self._record.append(
                "fcm",
                recipient,
                outcome=Outcome.ACCEPTED if answer is None else answer.outcome(),
                status=200 if answer is None else answer.status,
                code="" if answer is None else answer.code or _STATUS_NAMES.get(answer.status, ""),
                provider_id=name,
                tag=label_of(message),
                payload=json.dumps(message),
            )
        if answer is None:
            return Reply(200, (_JSON,), b'{\n  "name": "%s"\n}\n' % name.encode(), delay_s=self._judge.delay_s)
        if not answer.status:
            return no_reply(self._judge, answer)
        return self._refuse(answer)

    def _refuse(self, answer: Answer, violation: InvalidArgumentError | None = None) -> Reply:
        error: dict[str, object] = {
            "code": answer.status,
            "message": answer.text,
            "status": _STATUS_NAMES[answer.status],
        }
        details: list[dict[str, object]] = []
        if answer.code:
            details.append({"@type": _FCM_ERROR, "errorCode": answer.code})
        if violation is not None:
            broken = {"field": violation.field, "description": violation.description}
            details.append({"@type": _BAD_REQUEST, "fieldViolations": [broken]})
        if details:
            error["details"] = details
        headers = []
        if answer.status == 401:  # noqa: PLR2004  # RFC 9110 §15.5.2 asks for the header
            headers.append((b"www-authenticate", b'Bearer realm="https://accounts.google.com/"'))
        return json_reply(self._judge, answer.status, {"error": error}, *headers, kind=_JSON[1])
