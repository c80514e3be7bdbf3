"""What Amazon SES says, and what follows from it: answers to a request, and events.

Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html (errors),
https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailEntryResult.html,
https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html,
https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html,
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html (events).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import httpx

from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.smtp_replies import scrub

_KEY_REFUSED = (Action.STOP_PROVIDER, "accessKey or secretKey is refused: set the pair anew, and check the region")

CODES: Mapping[str, tuple[Action, str]] = {
    "AccountSuspendedException": (Action.STOP_PROVIDER, "AWS suspended the account's sending: ask AWS Support"),
    "BadRequestException": (Action.REJECT_MESSAGE, "the message is refused as malformed"),
    "LimitExceededException": (Action.QUOTA, "a limit of the account is reached: raise it at AWS"),
    "MailFromDomainNotVerifiedException": (
        Action.STOP_PROVIDER, "the MAIL FROM domain is not verified: complete its DNS records"
    ),
    "MessageRejected": (Action.REJECT_MESSAGE, "the content is refused"),
    "SendingPausedException": (
        Action.STOP_PROVIDER, "sending is paused for the account or configuration set: resume it at AWS"
    ),
    "NotFoundException": (Action.STOP_PROVIDER, "no such configuration set: correct configurationSet"),
    "TooManyRequestsException": (Action.RETRY_AFTER, "the account's sending rate is exceeded"),
    "ThrottlingException": (Action.RETRY_AFTER, "the account's sending rate is exceeded"),
    "InternalServiceErrorException": (Action.AMBIGUOUS_RETRY, "internal error at AWS"),
    "InternalFailure": (Action.AMBIGUOUS_RETRY, "internal error at AWS"),
    "ServiceUnavailable": (Action.RETRY, "the service is unavailable"),
    "AccessDeniedException": (Action.STOP_PROVIDER, "the key's user may not do that: allow it in IAM"),
    "NotAuthorized": (Action.STOP_PROVIDER, "the key's user may not do that: allow it in IAM"),
    "OptInRequired": (Action.STOP_PROVIDER, "the key's account has no SES: sign up for it at AWS"),
    "ExpiredToken": (Action.STOP_PROVIDER, "the key has expired: set a new one"),
    "ExpiredTokenException": (Action.STOP_PROVIDER, "the key has expired: set a new one"),
    "InvalidSignature": _KEY_REFUSED,
    "InvalidSignatureException": _KEY_REFUSED,
    "SignatureDoesNotMatch": _KEY_REFUSED,
    "IncompleteSignature": _KEY_REFUSED,
    "InvalidClientTokenId": _KEY_REFUSED,
    "UnrecognizedClientException": _KEY_REFUSED,
    "MissingAuthenticationToken": _KEY_REFUSED,
    "MissingAuthenticationTokenException": _KEY_REFUSED,
    "RequestExpired": (Action.STOP_PROVIDER, "the clock of this machine is wrong: set it by NTP"),
}  # fmt: skip
"""By x-amzn-ErrorType; the names without "Exception" are AWS's common errors."""

BULK_STATUS: Mapping[str, tuple[Action, str]] = {
    "SUCCESS": (Action.ACCEPTED, ""),
    "MESSAGE_REJECTED": CODES["MessageRejected"],
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": CODES["MailFromDomainNotVerifiedException"],
    "CONFIGURATION_SET_NOT_FOUND": CODES["NotFoundException"],
    "TEMPLATE_NOT_FOUND": (Action.STOP_PROVIDER, "no such template"),
    "ACCOUNT_SUSPENDED": CODES["AccountSuspendedException"],
    "ACCOUNT_THROTTLED": CODES["TooManyRequestsException"],
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": (Action.QUOTA, "the account's quota of 24 hours is used up"),
    "INVALID_SENDING_POOL_NAME": (Action.STOP_PROVIDER, "no such pool of addresses"),
    "ACCOUNT_SENDING_PAUSED": CODES["SendingPausedException"],
    "CONFIGURATION_SET_SENDING_PAUSED": CODES["SendingPausedException"],
    "INVALID_PARAMETER": CODES["BadRequestException"],
    "TRANSIENT_FAILURE": (Action.RETRY, "a passing failure at AWS"),
    "FAILED": (Action.RETRY, "failed at AWS"),
}
"""By the status of one entry of SendBulkEmail."""

NO_BULK = frozenset({"AccessDeniedException", "NotAuthorized", "UnknownOperationException", "404"})
"""What says that SendBulkEmail, which has a permission of its own, is not to be had: SendEmail may still be."""

_BY_STATUS: Mapping[int, tuple[Action, str]] = {
    401: _KEY_REFUSED,
    403: (Action.STOP_PROVIDER, "access denied: check the key and what its user may do"),
    404: (Action.STOP_PROVIDER, "no such resource: check the region"),
    429: CODES["TooManyRequestsException"],
    503: CODES["ServiceUnavailable"],
}

_BY_WORDS: Sequence[tuple[re.Pattern[str], frozenset[str], tuple[Action, str]]] = (
    (
        re.compile(r"signature (expired|not yet current)|request (has )?expired|skew", re.IGNORECASE),
        frozenset(),
        CODES["RequestExpired"],
    ),
    (
        re.compile(r"daily (message|sending) quota", re.IGNORECASE),
        frozenset(),
        BULK_STATUS["ACCOUNT_DAILY_QUOTA_EXCEEDED"],
    ),
    (
        re.compile(r"not verified|authority to send from", re.IGNORECASE),
        frozenset({"MessageRejected", "MESSAGE_REJECTED"}),
        (
            Action.STOP_PROVIDER,
            "not verified: verify fromEmail or its domain, and ask for production access if it is a recipient's",
        ),
    ),
    (
        re.compile(
            r"missing (final '@domain'|local name|domain)|illegal address|invalid (email )?address"
            r"|(local address|domain) (contains|starts with|ends with)",
            re.IGNORECASE,
        ),
        frozenset({"BadRequestException", "INVALID_PARAMETER"}),
        (Action.DISABLE_TARGET, "the address is refused"),
    ),
)
"""What the words of an error tell, under these names or any. Those about an address mean the recipient's: From was
checked before, and a request or entry has one recipient; not confirmed beyond the first."""

_NO_ID = "a positive answer without a message id"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to SendEmail means."""
    document = json_object(body)
    if httpx.codes.is_success(status):
        message_id = document.get("MessageId")
        if isinstance(message_id, str) and message_id:
            return Outcome(Action.ACCEPTED, provider_message_id=message_id)
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=_NO_ID, outage=True)
    code = error_type(document, headers)
    said = str(document.get("message") or document.get("Message") or "")
    action, meaning = _said(code, said) or CODES.get(code) or _BY_STATUS.get(status) or by_status(status, "SES")
    if (action, meaning) != _KEY_REFUSED and said:  # what AWS says of a signature repeats the whole request
        meaning = f"{meaning}: {scrub(said)}"
    outage = httpx.codes.is_server_error(status)
    # SES names no delay; what stands in front of it may.
    return Outcome(action, code or str(status), meaning, retry_after_s=delay_s(action, headers), outage=outage)


def classify_entries(body: bytes, count: int) -> Sequence[Outcome]:
    """What a positive answer to SendBulkEmail means for each of `count` entries, in their order."""
    results = json_object(body).get("BulkEmailEntryResults")
    found = results if isinstance(results, list) and len(results) <= count else []
    return [_entry(result) for result in found] + [_entry(None)] * (count - len(found))


def _entry(result: object) -> Outcome:
    values = result if isinstance(result, dict) else {}
    status, said = str(values.get("Status") or ""), str(values.get("Error") or "")
    if status not in BULK_STATUS:
        reason = "a positive answer that does not say what became of this entry"
        return Outcome(Action.AMBIGUOUS_RETRY, code="200", reason=reason, outage=True)
    action, meaning = _said(status, said) or BULK_STATUS[status]
    if action is not Action.ACCEPTED:
        return Outcome(action, status, f"{meaning}: {scrub(said)}" if said else meaning)
    message_id = values.get("MessageId")
    if isinstance(message_id, str) and message_id:
        return Outcome(Action.ACCEPTED, provider_message_id=message_id)
    return Outcome(Action.AMBIGUOUS_RETRY, code="200", reason=_NO_ID, outage=True)


def error_type(document: Mapping[str, object], headers: Mapping[str, str]) -> str:
    """The error's name, without the namespace before or the address after it; empty where there is none."""
    named = headers.get("x-amzn-errortype") or document.get("__type") or document.get("code") or ""
    return str(named).partition(":")[0].rpartition("#")[2].strip()[:100]


def _said(code: str, said: str) -> tuple[Action, str] | None:
    for words, codes, meaning in _BY_WORDS:
        if words.search(said) and (not codes or code in codes):
            return meaning
    return None
