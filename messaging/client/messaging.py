"""`Messaging`: everything a Python program does with the system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Self

from messaging import tracing
from messaging.channel import Lane, OnUnknown
from messaging.client.audit import AuditLog
from messaging.client.messages import Messages
from messaging.client.overview import Overview, look
from messaging.client.projects import Keys, Projects
from messaging.client.providers import Providers
from messaging.client.quarantine import Quarantine
from messaging.client.runtime import read_runtime
from messaging.client.session import NO_BROKER, Session
from messaging.client.suppressions import Suppressions
from messaging.client.targets import Targets
from messaging.client.topics import Topics
from messaging.client.users import Users
from messaging.client.words import optional_word
from messaging.content import check_content
from messaging.message import Content
from messaging.producer import accept, expires_in_s
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.status import DeliveryStatus, MessageState
from messaging.store import clock, delivery_views, messages
from messaging.store.delivery_views import DeliveryView
from messaging.store.messages import MessageView
from messaging.store.retry_failed import Retried, retry_failed

_POLL_S = (0.05, 0.5)
"""First and longest pause between two looks at a message that is going out."""


class Messaging:
    """A connection to a running system. A call that returns has committed.

    `users`, `targets`, `topics`, `providers` and `suppressions` hold what messages refer to, `messages` finds them and
    their recipients, `keys`, `projects` and `audit` are for whoever runs it. Safe to share between threads; open one
    after any fork.
    """

    def __init__(self, settings: Settings | None = None, *, session: Session | None = None) -> None:
        """Connect with `settings`, else with those of the environment (`MESSAGING_*`); raises `SettingsError`.

        `session` shares connections that are open already.
        """
        self._session = session = session or Session(settings or Settings.load())
        self.users = Users(session)
        self.targets = Targets(session)
        self.topics = Topics(session)
        self.providers = Providers(session)
        self.suppressions = Suppressions(session)
        self.quarantine = Quarantine(session)
        self.messages = Messages(session)
        self.projects = Projects(session)
        self.keys = Keys(session)
        self.audit = AuditLog(session)

    @classmethod
    def connect(
        cls, *, database_url: str, secret_key: str, broker_url: str | None = None, project: str = "default"
    ) -> Self:
        """A client of the system with that database. Without a broker, messages wait for the next sweep (a second)."""
        settings = Settings.load(
            database_url=database_url,
            secret_key=secret_key,
            broker_url=broker_url or NO_BROKER,
            project=project,
        )
        return cls(settings)

    @classmethod
    def from_runtime(cls, path: str | os.PathLike[str] = "data", *, project: str | None = None) -> Self:
        """A client of the stack whose data directory is `path`, for its own project or another.

        Raises `SettingsError` where none runs.
        """
        found = read_runtime(path)
        outside: dict[str, Any] = {} if found.callback_url is None else {"callback_url": found.callback_url}
        settings = Settings.load(
            database_url=found.database_url,
            secret_key=found.secret_key,
            broker_url=found.broker_url,
            project=project or found.project,
            **({} if os.environ.keys() & {"MESSAGING_PUBLIC_URL", "MESSAGING_CALLBACK_URL"} else outside),
        )
        return cls(settings)

    def send(  # noqa: PLR0913  the parts of a message, all by keyword
        self,
        content: Content,
        *,
        users: Sequence[str] = (),
        targets: Sequence[str] = (),
        topics: Sequence[str] = (),
        addresses: Sequence[str] = (),
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        scheduled_at: datetime | None = None,
        expires_at: datetime | None = None,
        on_unknown: OnUnknown | str | None = None,
        lane: Lane | str | None = None,
        id: str | None = None,  # noqa: A002  the word the whole interface uses
        idempotency_key: str | None = None,
        draft: bool = False,
    ) -> MessageView:
        """The message, committed: it goes out whatever happens to this process from here on.

        `users`, `targets` and `topics` are ids, `addresses` raw addresses of the channel. Times carry a zone.
        Raises `InvalidArgumentError`, `ContentError`, `NotFoundError` (an id in the audience),
        `ConflictError` (`id` is taken), `IdempotencyConflictError`.
        """
        request = SendRequest(
            content=check_content(content),
            users=tuple(users),
            targets=tuple(targets),
            topics=tuple(topics),
            addresses=tuple(addresses),
            cc=tuple(cc),
            bcc=tuple(bcc),
            scheduled_at=scheduled_at,
            expires_at=expires_at,
            on_unknown=optional_word(OnUnknown, "on_unknown", on_unknown),
            lane=optional_word(Lane, "lane", lane),
            id=id,
            idempotency_key=idempotency_key,
            draft=draft,
            traceparent=tracing.current(),
        )
        with self._session.begin() as connection:
            accepted = accept(
                connection, self._session.vault, self._session.settings, self._session.project_id, request
            )
        self._session.publish(accepted.hints)
        return self.get(accepted.public_id)

    def get(self, message_id: str) -> MessageView:
        """The message with live totals; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return messages.view(connection, self._session.project_id, message_id)

    def list(self, *, limit: int = 25, before: str | None = None) -> Sequence[MessageView]:
        """Messages, newest first; `before` is the id of the last one of the page before."""
        with self._session.begin() as connection:
            return messages.list_views(connection, self._session.project_id, limit=limit, before=before)

    def cancel(self, message_id: str) -> MessageState:
        """Stop a message that is not finished; what is with the provider already can't be recalled."""
        with self._session.begin() as connection:
            return messages.cancel(connection, self._session.project_id, message_id)

    def pause(self, message_id: str) -> MessageState:
        """Send no more of a message until it is resumed; raises `ConflictError` unless it is processing."""
        with self._session.begin() as connection:
            return messages.pause(connection, self._session.project_id, message_id)

    def resume(self, message_id: str) -> MessageState:
        """Go on with exactly the rest of a paused message; raises `ConflictError` unless it is paused."""
        with self._session.begin() as connection:
            return messages.resume(connection, self._session.project_id, message_id)

    def retry_failed(self, message_id: str, *, codes: Sequence[str] = ()) -> Retried:
        """Send again what failed, and nothing else; only with one of the error `codes`, where any is given.

        How many deliveries that is, and how many stay failed because no enabled account may take over. Raises
        `NotFoundError`, and `StateConflictError` for a message that has not begun or was cancelled.
        """
        with self._session.begin() as connection:
            message = messages.view(connection, self._session.project_id, message_id)
            lives_s = expires_in_s(self._session.settings, message.channel, message.lane)
            retried = retry_failed(connection, message, codes=codes, expires_in_s=lives_s)
        self._session.publish(retried.hints)
        return retried

    def overview(self) -> Overview:
        """What goes out, what waits, what failed of late, and how the providers are."""
        return look(self._session)

    def now(self) -> datetime:
        """The time by the database's clock, which decides when a message is due: build `scheduled_at` from this."""
        with self._session.begin() as connection:
            return clock.ask(connection)

    def deliveries(
        self,
        message_id: str,
        status: DeliveryStatus | str | None = None,
        *,
        limit: int = 100,
        after: int | None = None,
    ) -> Sequence[DeliveryView]:
        """What became of whom, in target order; `after` is the `cursor` of the last row of the page before."""
        with self._session.begin() as connection:
            return delivery_views.page(
                connection,
                self._session.project_id,
                message_id,
                status=optional_word(DeliveryStatus, "status", status),
                after=after or 0,
                limit=limit,
            )

    def all_deliveries(self, message_id: str, status: DeliveryStatus | str | None = None) -> Iterator[DeliveryView]:
        """Every delivery of a message, read page by page."""
        after: int | None = None
        while page := self.deliveries(message_id, status, limit=1000, after=after):
            yield from page
            after = page[-1].cursor

    def wait(
        self, message_id: str, timeout_s: float, progress: Callable[[MessageView], None] | None = None
    ) -> MessageView:
        """The message once it is finished; `progress` sees it at every look. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        pause_s, longest_s = _POLL_S
        while True:
            message = self.get(message_id)
            if progress is not None:
                progress(message)
            if message.state.is_finished:
                return message
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(
                    f"The message '{message_id}' is {message.state} after {timeout_s:g} s"
                    f" ({message.settled:,} of {message.total:,} settled). Look again with `messaging status`."
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, longest_s)

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
