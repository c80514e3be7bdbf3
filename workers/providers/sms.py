"""What adapters of text messages share: the checks of a text and of a number, and one request per recipient."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx

from messaging.clock import clock
from messaging.errors import ContentError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.sms_segments import segments
from workers.providers.base import Outgoing, Recipient
from workers.providers.http1 import lost
from workers.providers.http1_adapter import Http1Adapter, Message

Settings = TypeVar("Settings")

FORM = "application/x-www-form-urlencoded"

_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_LONGEST_WORDS = 200
_HALF_A_LETTER = "the text holds half a character (a lone surrogate): remove it"


class SmsAdapter(Http1Adapter[Message], Generic[Settings, Message]):
    """One account for text messages, with its settings and a clock."""

    def __init__(
        self,
        settings: Settings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        super().__init__(client)
        self._settings = settings
        self._now = now

    def _left(self, expires_at: datetime, limits: tuple[int, int], *, per_s: int = 1) -> int:
        """Seconds until then, or a finer unit of which there are `per_s`; neither less nor more than `limits`."""
        left = int((expires_at - self._now()).total_seconds() * per_s)
        return min(max(left, limits[0]), limits[1])


class OneByOne(SmsAdapter[Settings, Message]):
    """An account that takes one recipient a request: they are made side by side."""

    no_number: ClassVar[Outcome]
    """What an address comes to that is no number; see `not_a_number`."""

    async def _send(self, message: Message, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def _send_one(self, message: Message, recipient: Recipient) -> Outcome:
        if not is_number(recipient.address):
            return self.no_number
        try:
            response = await self._client.send(self._request(message, recipient))
        except httpx.HTTPError as error:
            return lost(error, self.title)
        return self._classify(response)

    @abstractmethod
    def _request(self, message: Message, recipient: Recipient) -> httpx.Request:
        """The request that sends `message` to a recipient whose address is a number."""

    @abstractmethod
    def _classify(self, response: httpx.Response) -> Outcome:
        """What the answer means."""


def is_number(address: str) -> bool:
    """Whether it is in E.164."""
    return _PHONE.match(address) is not None


def not_a_number(code: str, example: str) -> Outcome:
    """The outcome for an address that is no number; `code` is what the provider would say."""
    return Outcome(Action.DISABLE_TARGET, code, f"not a number in E.164, such as {example}")


def without_numbers(said: str) -> str:
    """A provider's words without what may be a phone number, 200 characters at most."""
    return _DIGITS.sub("<number>", said)[:_LONGEST_WORDS]


def text_of(outgoing: Outgoing, title: str, *, empty: str) -> str:
    """The text; raises `ContentError` for another channel's message, and with the code `empty` for no text."""
    sms = outgoing.content
    if not isinstance(sms, Sms):
        raise ContentError(f"{title} can't send a {outgoing.content.channel} message here", "wrong_channel")
    if not sms.content:
        raise ContentError("the text is empty: give a content", empty)
    return sms.content


def check_length(text: str, limit: int, title: str, code: str) -> None:
    """Raise `ContentError` for a text of more than `limit` characters."""
    if len(text) > limit:
        raise ContentError(f"the text has {len(text)} characters; {title} takes {limit}", code)


def check_parts(text: str, limit: int, title: str, code: str) -> None:
    """Raise `ContentError` for a text of more than `limit` parts."""
    parts = segments(text).parts
    if parts > limit:
        raise ContentError(f"the text takes {parts} parts; {title} takes {limit}", code)


def check_letters(text: str) -> None:
    """Raise `ContentError` for what UTF-8 can't hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ContentError(_HALF_A_LETTER) from None


def form_of(fields: Mapping[str, str]) -> str:
    """The fields as a form; raises `ContentError` for what UTF-8 can't hold."""
    try:
        return urlencode(fields)
    except UnicodeEncodeError:
        raise ContentError(_HALF_A_LETTER) from None


def tagged(address: str, tag: str) -> str:
    """A receipt address with the delivery's tag, for providers that hand back the address and no tag."""
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode({'delivery': tag})}"
