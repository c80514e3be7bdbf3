"""Messages of any channel to a service of one's own: signed JSON by POST, up to 100 recipients a request.

The protocol is ours, docs/reference/webhook-provider.md; requests and receipts are signed as Standard Webhooks are.
A repeated request carries the same Idempotency-Key, and every delivery in it the same name.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from messaging.catalog import kind_of
from messaging.channel import Channel
from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.destinations import Destinations
from workers.providers.http1 import lost, open_client
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mime import Sender, sender_of
from workers.providers.webhook_body import Prepared, encoded, entry, render
from workers.providers.webhook_codes import classify, read_results
from workers.providers.webhook_receipts import read_receipts
from workers.providers.webhook_signature import signed_headers, signing_key

_TITLE = "the receiver"
_TOO_LARGE = 413
_BLANK = re.compile(r"\s")
_NOT_REACHED = Outcome(Action.RETRY, "not sent", "not sent: the receiver failed on another part of the batch")

_Waiting = tuple[Recipient, bytes]


class WebhookAdapter(Http1Adapter[Prepared]):
    """One receiver."""

    title = _TITLE

    def __init__(
        self,
        url: str,
        key: bytes,
        channel: Channel,
        client: httpx.AsyncClient,
        *,
        sender: Sender | None = None,
        receipts_url: str | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        super().__init__(client)
        self._url = url
        self._key = key
        self._channel = channel
        self._sender = sender
        self._receipts_url = receipts_url
        self._now = now

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """What all recipients share, as JSON; raises `ContentError` naming what can't be sent."""
        return render(outgoing, self._channel, self._sender, self._receipts_url)

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or a few where the receiver finds it too large."""
        outcomes: dict[str, Outcome] = {}
        waiting: list[_Waiting] = []
        for recipient in recipients:
            try:
                waiting.append((recipient, entry(recipient, self._channel)))
            except ContentError as error:
                outcomes[recipient.tag] = Outcome(Action.DISABLE_TARGET, error.code, str(error))
        outcomes |= await self._send_parts(message, waiting)
        return [outcomes[recipient.tag] for recipient in recipients]

    async def _check(self) -> Outcome:
        """A signed ``{"type": "ping"}``, which the receiver answers with any 2xx."""
        response = await self._post(f"ping_{secrets.token_hex(16)}", encoded({"type": "ping"}))
        if response.is_success:
            return Outcome(Action.ACCEPTED, reason=f"the receiver answered a signed ping with {response.status_code}")
        return classify(response.status_code, response.content, response.headers)

    async def _send_parts(self, message: Prepared, waiting: list[_Waiting]) -> dict[str, Outcome]:
        """Send all at once; halve what is too large. What fails otherwise is the last request made."""
        outcomes: dict[str, Outcome] = {}
        parts = deque([waiting] if waiting else [])
        while parts:
            part = parts.popleft()
            found = await self._send_part(message, part)
            if found is None and len(part) > 1:
                middle = len(part) // 2
                parts.extendleft((part[middle:], part[:middle]))
                continue
            if isinstance(found, list):
                outcomes |= {recipient.tag: outcome for (recipient, _), outcome in zip(part, found, strict=True)}
                continue
            outcome = found or classify(_TOO_LARGE, b"", {})  # too large for one is too large for all
            outcomes |= {recipient.tag: outcome for recipient, _ in part}
            if outcome.action is not Action.ACCEPTED:
                rest = _NOT_REACHED if outcome.action is Action.AMBIGUOUS_RETRY else outcome
                return outcomes | {recipient.tag: rest for left in parts for recipient, _ in left}
        return outcomes

    async def _send_part(self, message: Prepared, part: Sequence[_Waiting]) -> list[Outcome] | Outcome | None:
        """One outcome each, or one for all; None where the request is too large."""
        recipients = [recipient for recipient, _ in part]
        request_id = message.request_id([recipient.tag for recipient in recipients])
        try:
            response = await self._post(request_id, message.body([entry_json for _, entry_json in part]))
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        if response.status_code == _TOO_LARGE:
            return None
        results = read_results(response.status_code, response.content, recipients)
        return results or classify(response.status_code, response.content, response.headers)

    async def _post(self, request_id: str, body: bytes) -> httpx.Response:
        headers = signed_headers(self._key, request_id, self._now(), body)
        headers |= {"content-type": "application/json", "idempotency-key": request_id}
        return await self._client.post(self._url, content=body, headers=headers)


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an account; raises `SettingsError` naming what is missing or malformed."""
    channel = kind_of(account.kind).channel
    url = checked_url(str(account.credentials.get("url") or ""), context.destinations)
    return WebhookAdapter(
        context.endpoints.get(account.kind) or url,
        signing_key(str(account.credentials.get("secret") or "")),
        channel,
        open_client(account, context, base_url=url),
        sender=sender_of(account.options) if channel is Channel.EMAIL else None,
        receipts_url=context.receipts_url,
    )


def checked_url(url: str, destinations: Destinations) -> str:
    """The url; raises `SettingsError` unless it is https, or http where the operator allows, and without a password.

    Where it leads is looked at when it is connected to.
    """
    url = url.strip()
    try:
        parts, _ = urlsplit(url), httpx.URL(url)
        host, user = "" if _BLANK.search(url) else parts.hostname or "", parts.username
    except (ValueError, httpx.InvalidURL):
        raise SettingsError("The webhook's url is no address: set one such as https://example.org/messages.") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and destinations.names(host))):
        raise SettingsError(
            "The webhook's url must begin https:// (http:// is for hosts of MESSAGING_PRIVATE_DESTINATIONS only):"
            " correct it."
        )
    if user is not None:
        raise SettingsError("The webhook's url holds a user name: remove it, for requests are signed with the secret.")
    return url


__all__ = ["WebhookAdapter", "checked_url", "open_adapter", "read_receipts"]
