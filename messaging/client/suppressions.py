"""The suppression list, as the client offers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word, word
from messaging.errors import InvalidArgumentError
from messaging.store import suppressions
from messaging.store.suppression_import import IMPORTED, ImportProgress, ImportResult, import_rows
from messaging.store.suppression_rows import read_rows
from messaging.store.suppressions import BY_HAND, Scope, SuppressionView


class Suppressions:
    """Addresses that must not be written to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, channel: Channel | str, address: str, *, scope: Scope | str = Scope.EVERYTHING, reason: str = BY_HAND
    ) -> SuppressionView:
        """The entry of an address; one that reaches further stays as it is."""
        with self._session.begin() as connection:
            return suppressions.add(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
                scope=word(Scope, "scope", scope),
                reason=reason,
            )

    def find(self, channel: Channel | str, address: str) -> SuppressionView | None:
        """The entry of an address, or None."""
        with self._session.begin() as connection:
            return suppressions.find(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
            )

    def list(
        self,
        *,
        channel: Channel | str | None = None,
        scope: Scope | str | None = None,
        reason: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[SuppressionView]:
        """Entries, newest first; those whose reason begins with `reason`, e.g. `complained`."""
        with self._session.begin() as connection:
            return suppressions.page(
                connection,
                self._session.project_id,
                channel=optional_word(Channel, "channel", channel),
                scope=optional_word(Scope, "scope", scope),
                reason=reason,
                limit=limit,
                offset=offset,
            )

    def remove(self, channel: Channel | str, address: str) -> bool:
        """Take an address off the list; False if it was not on it."""
        with self._session.begin() as connection:
            return suppressions.remove(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
            )

    def lift(self, suppression_id: str) -> None:
        """Take the entry of that id off the list; raises `NotFoundError`."""
        with self._session.begin() as connection:
            suppressions.lift(connection, self._session.project_id, suppression_id)

    def import_csv(
        self,
        file: Path | str | Iterable[str],
        *,
        scope: Scope | str = Scope.EVERYTHING,
        reason: str = IMPORTED,
        progress: Callable[[ImportProgress], None] | None = None,
    ) -> ImportResult:
        """Put every address of a CSV file, named by its path or given as lines, on the list.

        Its first line names one column `email`, `phone` or `token`, or the two columns `address` and `channel`; and
        any of `scope` and `reason`, which stand for `scope` and `reason` where a row is not empty. Committed 10,000
        rows at a time; bad rows are reported, not raised. Raises `InvalidArgumentError` for another header, and where
        the file is not UTF-8: the rows before that place are on the list then.
        """
        with ExitStack() as opened:
            lines = (
                opened.enter_context(Path(file).open(encoding="utf-8-sig", newline=""))
                if isinstance(file, (Path, str))
                else file
            )
            connection = opened.enter_context(self._session.engine.connect())
            try:
                return import_rows(
                    connection,
                    self._session.vault,
                    self._session.project_id,
                    read_rows(lines),
                    scope=word(Scope, "scope", scope),
                    reason=reason,
                    progress=progress,
                    commit=True,
                )
            except UnicodeDecodeError as error:
                raise InvalidArgumentError(
                    "csv", f"is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8 and import it again"
                ) from None
