"""Email through Amazon SES v2: SendEmail with the message as MIME, one recipient a request.

The message is ours to the byte, so names, roles and unsubscribe headers are those of our other email; SES replaces
Message-ID and Date, and signs with the domain's DKIM. It has no idempotency key and no expiry.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
https://docs.aws.amazon.com/ses/latest/dg/send-email-raw.html, https://docs.aws.amazon.com/ses/latest/dg/quotas.html
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mime import Mailbox, Sender, Template, date_source, mailbox, render, sender_of
from workers.providers.ses_codes import classify
from workers.providers.ses_receipts import read_receipts as read_receipts  # noqa: PLC0414  handed on to who reads receipts by module
from workers.providers.ses_sign import AccessKey, signed_headers

MESSAGE_LIMIT_BYTES = 40_000_000
"""In base64, as SES counts. https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""
TAG_NAME = "delivery"

_TITLE = "SES"
_SEND = "/v2/email/outbound-emails"
_ACCOUNT = "/v2/email/account"
_HEAD_BYTES = 10_000
"""Room for the headers of one copy."""
_BIG_BYTES = 256 * 1024
"""From here on a copy is put together off the loop, and only so many at a time: each takes a few times its size."""
_BIG_AT_ONCE = 2
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d\Z")
_KEY_ID = re.compile(r"[A-Za-z0-9]{1,128}\Z")
_SET = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NO_UTF8 = "has non-ASCII letters before the @, and SES has no SMTPUTF8"


@dataclass(frozen=True)
class Prepared:
    """A message ready for the headers of a copy to be put before it."""

    template: Template


class SesAdapter(Http1Adapter[Prepared]):
    """One AWS account in one region."""

    title = _TITLE

    def __init__(
        self,
        sender: Sender,
        key: AccessKey,
        client: httpx.AsyncClient,
        *,
        configuration_set: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(client)
        self._sender = sender
        self._key = key
        self._configuration_set = configuration_set
        self._now = now
        self._date = date_source(now)
        self._big = asyncio.Semaphore(_BIG_AT_ONCE)

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The message as MIME; raises `ContentError` naming what can't be sent."""
        template = render(outgoing, self._sender)
        if not template.common.partition(b"\r\n\r\n")[2].strip():
            raise ContentError("SES refuses a message without content", "BadRequestException")
        if template.needs_utf8:
            raise ContentError(f"an address in the headers {_NO_UTF8}", "address_invalid")
        size = (len(template.common) + _HEAD_BYTES) * 4 // 3
        if size > MESSAGE_LIMIT_BYTES:
            raise ContentError(f"the message takes {size} bytes in base64; SES takes 40 MB", "too_big")
        return Prepared(template)

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        return await asyncio.gather(*(self._send_one(message.template, recipient) for recipient in recipients))

    async def _check(self) -> Outcome:
        """GetAccount: the quota, what is left of it, and whether the account may send to everybody."""
        response = await self._call("GET", _ACCOUNT)
        if response.status_code == httpx.codes.OK:
            return _account_of(response.content, self._key.region)
        return classify(response.status_code, response.content, response.headers)

    async def _send_one(self, template: Template, recipient: Recipient) -> Outcome:
        try:
            to = mailbox(recipient.address)
        except ContentError as error:
            return Outcome(Action.DISABLE_TARGET, error.code, str(error))
        if to.needs_utf8:
            return Outcome(Action.DISABLE_TARGET, "address_invalid", f"the address {_NO_UTF8}")
        if template.utf8_shown_to(recipient):
            return Outcome(Action.REJECT_MESSAGE, "address_invalid", f"another address in the headers {_NO_UTF8}")
        try:
            head = template.head(recipient, to, self._date())
        except ContentError as error:
            return Outcome(Action.REJECT_MESSAGE, error.code, str(error))
        big = len(template.common) > _BIG_BYTES
        alone: AbstractAsyncContextManager[object] = self._big if big else nullcontext()
        async with alone:
            try:
                if big:
                    request = await asyncio.to_thread(self._request_for, template, recipient, to, head)
                else:
                    request = self._request_for(template, recipient, to, head)
                response = await self._client.send(request)
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)

    async def _call(self, method: str, path: str) -> httpx.Response:
        return await self._client.send(self._signed(self._client.build_request(method, path), b""))

    def _request_for(self, template: Template, recipient: Recipient, to: Mailbox, head: bytes) -> httpx.Request:
        body = send_body(b64encode(head + template.common), recipient.tag, to, self._configuration_set)
        headers = {"content-type": "application/json"}
        return self._signed(self._client.build_request("POST", _SEND, content=body, headers=headers), body)

    def _signed(self, request: httpx.Request, body: bytes) -> httpx.Request:
        covered = {name: request.headers[name] for name in ("host", "content-type") if name in request.headers}
        path = request.url.raw_path.decode("ascii")
        request.headers.update(signed_headers(self._key, request.method, path, body, headers=covered, at=self._now()))
        return request


def send_body(mime: bytes, tag: str, to: Mailbox, configuration_set: str = "") -> bytes:
    """The JSON of SendEmail; `mime` is in base64. Only the address in Destination gets the message, whatever To says.

    Without FromEmailAddress the message's own From is used, and its name kept. The tag comes back with every event
    that a configuration set publishes.
    """
    rest: dict[str, object] = {
        "Destination": {"ToAddresses": [to.spec]},
        "EmailTags": [{"Name": TAG_NAME, "Value": tag}],
    }
    if configuration_set:
        rest["ConfigurationSetName"] = configuration_set
    return b'{"Content": {"Raw": {"Data": "' + mime + b'"}}, ' + json.dumps(rest).encode("ascii")[1:]


def _account_of(body: bytes, region: str) -> Outcome:
    """What GetAccount says. https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html."""
    try:
        account = json.loads(body)
        quota = account.get("SendQuota") or {}
        rate, sent, most = (float(quota.get(name, 0)) for name in ("MaxSendRate", "SentLast24Hours", "Max24HourSend"))
        enabled, production = bool(account.get("SendingEnabled", True)), bool(account.get("ProductionAccessEnabled"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Outcome(Action.RETRY, "unreadable", "the answer can't be read: check the endpoint", outage=True)
    if not enabled:
        return Outcome(Action.STOP_PROVIDER, "SendingDisabled", "sending is switched off for the account: ask AWS")
    access = "production access" if production else "AWS's sandbox: only to verified addresses"
    total = "unlimited" if most < 0 else f"{most:,.0f}"
    said = f"{rate:g} a second, {sent:,.0f} of {total} sent in the last 24 hours"
    return Outcome(Action.ACCEPTED, reason=f"{region}, {access}, {said}")


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an SES account; raises `SettingsError` naming what is missing."""
    names = ("accessKey", "secretKey", "region")
    key_id, secret, region = (str(account.credentials.get(name) or "").strip() for name in names)
    if not _KEY_ID.match(key_id):
        raise SettingsError("The SES provider's accessKey is missing or no key id: set the one that begins AKIA.")
    if not secret:
        raise SettingsError("The SES provider's secretKey is missing: set the one that goes with the accessKey.")
    if not _REGION.match(region):
        raise SettingsError("The SES provider's region is missing or none of AWS: set it, for example eu-central-1.")
    configuration_set = str(account.options.get("configurationSet") or "").strip()
    if configuration_set and not _SET.match(configuration_set):
        raise SettingsError("The SES provider's configurationSet is no name of one: letters, digits, _ and -.")
    sender = sender_of(account.options)
    if sender.mailbox.needs_utf8:
        raise SettingsError(f"The SES provider's fromEmail {_NO_UTF8}: use another.")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    client = open_client(account, context, base_url=f"https://email.{region}.{domain}")
    return SesAdapter(sender, AccessKey(key_id, secret, region), client, configuration_set=configuration_set)
