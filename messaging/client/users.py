"""Users, as the client offers them."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.client.session import Session
from messaging.store import erasure, users
from messaging.store.users import UNSET, Unset, UserView


class Users:
    """The people of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self, user_id: str | None = None, *, name: str = "", email: str | None = None, phone: str | None = None
    ) -> UserView:
        """A new user with targets for the addresses; raises `ConflictError`, `InvalidArgumentError`."""
        with self._session.begin() as connection:
            return users.create(
                connection,
                self._session.vault,
                self._session.project_id,
                user_id=user_id,
                name=name,
                email=email,
                phone=phone,
            )

    def get(self, user_id: str) -> UserView:
        """The user; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return users.get(connection, self._session.project_id, user_id)

    def list(self, *, after: str | None = None, search: str | None = None, limit: int = 100) -> Sequence[UserView]:
        """Users in order of creation, those after the user `after`."""
        with self._session.begin() as connection:
            return users.page(connection, self._session.project_id, after=after, search=search, limit=limit)

    def update(
        self,
        user_id: str,
        *,
        name: str | None = None,
        email: str | Unset | None = UNSET,
        phone: str | Unset | None = UNSET,
    ) -> UserView:
        """The user after the change; None removes an address and its target."""
        with self._session.begin() as connection:
            return users.update(
                connection,
                self._session.vault,
                self._session.project_id,
                user_id,
                name=name,
                email=email,
                phone=phone,
            )

    def block(self, user_id: str, *, blocked: bool = True) -> None:
        """Shut the user out of the HTTP API, or let them in again; messages still reach them.

        Raises `NotFoundError`.
        """
        with self._session.begin() as connection:
            users.set_attributes(connection, self._session.project_id, user_id, blocked=blocked)

    def delete(self, user_id: str) -> None:
        """Erase the user: with targets and subscriptions at once, every other trace of their addresses within minutes.

        Raises `NotFoundError`.
        """
        with self._session.begin() as connection:
            users.delete(connection, self._session.vault, self._session.project_id, user_id)

    def erase(self, id_or_address: str) -> Sequence[str]:
        """The same for the user of an id, an email address or a phone number; the ids of the users who went.

        An address that belongs to nobody is erased too. Raises `NotFoundError` where nothing has it.
        """
        with self._session.begin() as connection:
            return erasure.erase(connection, self._session.vault, self._session.project_id, id_or_address)
