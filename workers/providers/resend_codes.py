"""What Resend's answers mean.

Sources: https://resend.com/docs/api-reference/errors, https://resend.com/docs/dashboard/emails/batch-validation-modes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status

CODES: Mapping[str, tuple[Action, str]] = {
    "application_error": (Action.RETRY, "internal error at Resend"),
    "concurrent_idempotent_requests": (Action.RETRY, "the same request is still being worked on"),
    "daily_quota_exceeded": (Action.QUOTA, "the account's daily quota is used up"),
    "internal_server_error": (Action.RETRY, "internal error at Resend"),
    "invalid_access": (Action.STOP_PROVIDER, "the account may not do this: check the plan and the key's access"),
    "invalid_api_key": (Action.STOP_PROVIDER, "the API key is wrong or revoked: set a new one"),
    "invalid_attachment": (Action.REJECT_MESSAGE, "an attachment is not accepted"),
    "invalid_from_address": (Action.STOP_PROVIDER, "the sender is refused: correct fromEmail and fromName"),
    "invalid_idempotency_key": (Action.REJECT_MESSAGE, "the idempotency key is malformed"),
    "invalid_idempotent_request": (Action.REJECT_MESSAGE, "another request had this idempotency key"),
    "invalid_parameter": (Action.REJECT_MESSAGE, "a field is not valid"),
    "invalid_region": (Action.STOP_PROVIDER, "the domain's region is not valid: correct it at Resend"),
    "method_not_allowed": (Action.REJECT_MESSAGE, "method not allowed"),
    "missing_api_key": (Action.STOP_PROVIDER, "no API key: set apiKey"),
    "missing_required_field": (Action.REJECT_MESSAGE, "a field is missing"),
    "monthly_quota_exceeded": (Action.QUOTA, "the account's monthly quota is used up"),
    "not_found": (Action.STOP_PROVIDER, "no such resource: check the endpoint"),
    "rate_limit_exceeded": (Action.RETRY_AFTER, "too many requests"),
    "restricted_api_key": (Action.STOP_PROVIDER, "the API key may not send: set one with sending access"),
    "security_error": (Action.STOP_PROVIDER, "held back for security: correct fromName, or ask Resend's support"),
    "validation_error": (Action.REJECT_MESSAGE, "a field is not valid"),
}
"""By `name` of an error. Errors of Resend itself may be tried again: the same request has the same idempotency key."""

_BY_STATUS: Mapping[int, tuple[Action, str]] = {
    401: CODES["invalid_api_key"],
    403: (Action.STOP_PROVIDER, "the account may not send this: verify the domain of fromEmail at Resend"),
    404: CODES["not_found"],
    413: (Action.REJECT_MESSAGE, "the message is over 40 MB"),
    429: CODES["rate_limit_exceeded"],
    451: CODES["security_error"],
    503: (Action.RETRY, "the service is unavailable"),
}
_BAD_RECIPIENT, _BAD_SENDER = re.compile(r"`to`"), re.compile(r"`from`")
_ADDRESS = re.compile(r"[^\s`<>]+@[^\s`<>]+")
_WORDS_LIMIT = 200

_BAD_REQUEST, _FORBIDDEN, _UNPROCESSABLE = 400, 403, 422


@dataclass(frozen=True)
class Problem:
    """An error as Resend words it, without addresses."""

    name: str = ""
    message: str = ""

    @property
    def blames_the_recipient(self) -> bool:
        """Whether it is about an email's `to`."""
        return _BAD_RECIPIENT.search(self.message) is not None


def problem_of(body: bytes) -> Problem:
    """The error in an answer; an empty one where there is none."""
    document = _document(body)
    if not isinstance(document, dict):
        return Problem()
    return Problem(str(document.get("name") or ""), scrub(str(document.get("message") or "")))


def scrub(message: str) -> str:
    """`message` without addresses."""
    return _ADDRESS.sub("<address>", message)[:_WORDS_LIMIT]


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to the request for a single email means."""
    if httpx.codes.is_success(status):
        document = _document(body)
        return _accepted(document, status)
    problem = problem_of(body)
    action, meaning = _meaning(status, problem)
    reason = f"{meaning}: {problem.message}" if problem.message else meaning
    return Outcome(
        action,
        code=f"{status} {problem.name}".strip(),
        reason=reason,
        retry_after_s=_delay_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None,
        outage=httpx.codes.is_server_error(status),
    )


def classify_batch(status: int, body: bytes, headers: Mapping[str, str], count: int) -> Sequence[Outcome]:
    """What an answer to a batch of `count` emails means for each, in order.

    `data` has an id for each email that was created, in order; `errors` names the place of each that was not.
    """
    if not httpx.codes.is_success(status):
        return [classify(status, body, headers)] * count
    document = _document(body)
    created = document.get("data") if isinstance(document, dict) else None
    refused = _refused(document, count)
    if refused is None or not isinstance(created, list) or len(created) + len(refused) != count:
        reason = "a positive answer that does not say what became of each email"
        return [Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)] * count
    ids = iter(created)
    return [refused[place] if place in refused else _accepted(next(ids), status) for place in range(count)]


def refusal(problem: Problem) -> Outcome:
    """What it means that Resend can't create one email."""
    if problem.blames_the_recipient:
        return Outcome(Action.DISABLE_TARGET, "422 to", f"the address is refused: {problem.message}")
    action, meaning = _meaning(_UNPROCESSABLE, problem)
    return Outcome(action, f"422 {problem.name}".strip(), f"{meaning}: {problem.message}")


def _meaning(status: int, problem: Problem) -> tuple[Action, str]:
    if status in {_BAD_REQUEST, _UNPROCESSABLE} and _BAD_SENDER.search(problem.message):
        return CODES["invalid_from_address"]
    if status == _FORBIDDEN and problem.name == "validation_error":  # test mode, or a domain that is not verified
        return _BY_STATUS[_FORBIDDEN]
    return CODES.get(problem.name) or _BY_STATUS.get(status) or by_status(status, "Resend")


def _accepted(created: object, status: int) -> Outcome:
    found = created.get("id") if isinstance(created, dict) else None
    if isinstance(found, str) and found:
        return Outcome(Action.ACCEPTED, provider_message_id=found)
    return Outcome(
        Action.AMBIGUOUS_RETRY, code=str(status), reason="a positive answer without an id of the email", outage=True
    )


def _refused(document: object, count: int) -> dict[int, Outcome] | None:
    """Outcomes by place of `errors`; None where they can't be read."""
    errors = document.get("errors") if isinstance(document, dict) else None
    found: dict[int, Outcome] = {}
    for error in errors or ():
        place = error.get("index") if isinstance(error, dict) else None
        if not isinstance(place, int) or not 0 <= place < count:
            return None
        found[place] = refusal(Problem(message=scrub(str(error.get("message") or ""))))
    return found


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _delay_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, or until the limit is reset; or None."""
    for name in ("retry-after", "ratelimit-reset"):
        try:
            return max(0.0, float(headers[name]))
        except (KeyError, ValueError):
            continue
    return None
