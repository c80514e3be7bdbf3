"""Email through Amazon SES v2: SendBulkEmail for up to 50 recipients, SendEmail with the message as MIME for one.

As MIME goes what has one recipient, what SendBulkEmail can't carry (`ses_bulk`), and what it refused as a whole, for
it does not say on whose account. Names, subjects, texts and unsubscribe headers are the same both ways; SES replaces
Message-ID and Date, and signs with the domain's DKIM. It has no idempotency key and no expiry.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html,
https://docs.aws.amazon.com/ses/latest/dg/send-email-raw.html, https://docs.aws.amazon.com/ses/latest/dg/quotas.html
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

import httpx

from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.outcome import Action, Outcome
from workers.providers import ses_bulk
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mime import Mailbox, Sender, Template, date_source, mailbox, render, sender_of
from workers.providers.ses_codes import NO_BULK, classify, classify_entries
from workers.providers.ses_receipts import read_receipts as read_receipts  # noqa: PLC0414  handed on to who reads receipts by module
from workers.providers.ses_sign import AccessKey, signed_headers

MESSAGE_LIMIT_BYTES = 40_000_000
"""In base64, as SES counts. https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""

_TITLE = "SES"
_SEND = "/v2/email/outbound-emails"
_ACCOUNT = "/v2/email/account"
_HEAD_BYTES = 10_000
"""Room for the headers of one copy."""
_BIG_BYTES = 256 * 1024
"""From here on a request is put together off the loop, and only so many at a time: each takes a few times its size."""
_BIG_AT_ONCE = 2
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d\Z")
_KEY_ID = re.compile(r"[A-Za-z0-9]{1,128}\Z")
_SET = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NO_UTF8 = "has non-ASCII letters before the @, and SES has no SMTPUTF8"


@dataclass(frozen=True)
class Prepared:
    """A message ready for its recipients."""

    template: Template
    """As MIME, for the headers of a copy to be put before it."""
    bulk: bytes | None
    """As JSON, for entries to be put before it; None where it has to go as MIME."""


@dataclass(frozen=True)
class _Copy:
    """What one recipient gets."""

    recipient: Recipient
    to: Mailbox
    head: bytes
    entry: bytes | None
    """None where it has to go as MIME."""


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
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        super().__init__(client)
        self._sender = sender
        self._key = key
        self._configuration_set = configuration_set
        self._now = now
        self._date = date_source(now)
        self._big = asyncio.Semaphore(_BIG_AT_ONCE)
        self._has_bulk = True

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The message as MIME and as JSON; raises `ContentError` naming what can't be sent."""
        template = render(outgoing, self._sender)
        if not template.common.partition(b"\r\n\r\n")[2].strip():
            raise ContentError("SES refuses a message without content", "BadRequestException")
        if template.needs_utf8:
            raise ContentError(f"an address in the headers {_NO_UTF8}", "address_invalid")
        size = (len(template.common) + _HEAD_BYTES) * 4 // 3
        if size > MESSAGE_LIMIT_BYTES:
            raise ContentError(f"the message takes {size} bytes in base64; SES takes 40 MB", "too_big")
        return Prepared(template, ses_bulk.shared_part(outgoing, self._sender, self._configuration_set))

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request for those it can be one for, and one each for the others, side by side."""
        made = [self._copy(message.template, recipient) for recipient in recipients]
        outcomes = {index: one for index, one in enumerate(made) if isinstance(one, Outcome)}
        copies = {index: one for index, one in enumerate(made) if isinstance(one, _Copy)}
        together: list[int] = []
        if message.bulk is not None and self._has_bulk:
            together = [index for index, copy in copies.items() if copy.entry is not None]
        if len(together) == 1:
            together = []
        groups = [together[start : start + ses_bulk.MOST] for start in range(0, len(together), ses_bulk.MOST)]
        alone = {index: copies[index] for index in copies.keys() - set(together)}
        for found in await asyncio.gather(
            self._send_each(message.template, alone),
            *(self._send_together(message, {index: copies[index] for index in group}) for group in groups),
        ):
            outcomes |= found
        return [outcomes[index] for index in range(len(recipients))]

    async def _check(self) -> Outcome:
        """GetAccount: the quota, what is left of it, and whether the account may send to everybody."""
        response = await self._call("GET", _ACCOUNT)
        if response.status_code == httpx.codes.OK:
            return _account_of(response.content, self._key.region)
        return classify(response.status_code, response.content, response.headers)

    def _copy(self, template: Template, recipient: Recipient) -> _Copy | Outcome:
        """The recipient's copy, or why there can be none."""
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
            return _Copy(recipient, to, head, ses_bulk.entry(recipient, to, template.header_names))
        except ContentError as error:
            return Outcome(Action.REJECT_MESSAGE, error.code, str(error))

    async def _send_together(self, message: Prepared, copies: Mapping[int, _Copy]) -> dict[int, Outcome]:
        """SendBulkEmail; one request each where it refuses the whole for what may be the fault of one."""
        shared = message.bulk or b""
        entries = [copy.entry or b"" for copy in copies.values()]
        try:
            response = await self._post(
                ses_bulk.PATH, lambda: ses_bulk.body(entries, shared), big=len(shared) > _BIG_BYTES
            )
        except httpx.HTTPError as error:
            return dict.fromkeys(copies, lost(error, _TITLE))
        if response.is_success:
            return dict(zip(copies, classify_entries(response.content, len(copies)), strict=True))
        outcome = classify(response.status_code, response.content, response.headers)
        if outcome.code in NO_BULK:
            self._has_bulk = False  # for as long as this adapter lives
        elif outcome.action not in {Action.REJECT_MESSAGE, Action.DISABLE_TARGET}:
            return dict.fromkeys(copies, outcome)
        return await self._send_each(message.template, copies)

    async def _send_each(self, template: Template, copies: Mapping[int, _Copy]) -> dict[int, Outcome]:
        """One request per copy, side by side."""
        outcomes = await asyncio.gather(*(self._send_one(template, copy) for copy in copies.values()))
        return dict(zip(copies, outcomes, strict=True))

    async def _send_one(self, template: Template, copy: _Copy) -> Outcome:
        def body() -> bytes:
            mime = b64encode(copy.head + template.common)
            return send_body(mime, copy.recipient.tag, copy.to, self._configuration_set)

        try:
            response = await self._post(_SEND, body, big=len(template.common) > _BIG_BYTES)
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)

    async def _post(self, path: str, body: Callable[[], bytes], *, big: bool) -> httpx.Response:
        def build() -> httpx.Request:
            content, headers = body(), {"content-type": "application/json"}
            return self._signed(self._client.build_request("POST", path, content=content, headers=headers), content)

        alone: AbstractAsyncContextManager[object] = self._big if big else nullcontext()
        async with alone:
            return await self._client.send(await asyncio.to_thread(build) if big else build())

    async def _call(self, method: str, path: str) -> httpx.Response:
        return await self._client.send(self._signed(self._client.build_request(method, path), b""))

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
        "EmailTags": [{"Name": ses_bulk.TAG_NAME, "Value": tag}],
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
