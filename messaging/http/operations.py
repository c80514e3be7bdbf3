"""Operations: method, path, scope, parameters and the function that answers. One declaration each.

The router, the checks and our OpenAPI document are all made from these, so none of them can be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection

from messaging.http.caller import Caller
from messaging.http.parameters import Parameter, Values
from messaging.http.spool import Spooled
from messaging.settings import Settings
from messaging.store.accept_small import Small
from messaging.store.batches import Hint
from messaging.vault import Vault

_PLACE = re.compile(r"{(\w+)}")


class Access(StrEnum):
    """Who may call an operation, scopes apart."""

    ANYONE = "anyone"
    """No session or key is needed; a project is."""
    KEY = "key"
    """A server's API key."""
    SESSION = "session"
    """A signed-in user."""
    EITHER = "either"
    """An API key or a signed-in user."""
    PUBLIC = "public"
    """Not even a project is needed."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The file of a `multipart/form-data` request."""

    filename: str
    content_type: str
    content: bytes


@dataclass(kw_only=True)
class Call:
    """One request, checked, inside its own transaction; what `work` raises rolls it back."""

    operation: Operation
    transaction: Connection | None
    """None while nothing may be asked of the database."""
    settings: Settings
    vault: Vault
    caller: Caller
    values: Values
    headers: Mapping[str, str]
    """Request headers, lower-case names."""
    address: str = ""
    """Address of the peer."""
    secure: bool = False
    """Whether the request came over TLS, as far as can be told."""
    upload: Upload | None = None
    body: Spooled | None = None
    """The body, where it came as a file."""
    queries: Sequence[str] = ()
    """`queries[]` as they came."""
    hints: list[Hint] = field(default_factory=list)
    """To be published after commit."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  its parameter's check made it
        """The checked value of a parameter, or its default."""
        return self.values[name]

    def is_given(self, name: str) -> bool:
        """Whether the caller gave a value, null not counted."""
        return name in self.values.named

    @property
    def project_id(self) -> int:
        """Number of the project."""
        return self.caller.project_id

    @property
    def connection(self) -> Connection:
        """Its transaction."""
        if self.transaction is None:
            raise RuntimeError(f"{self.operation.name} asks the database before it may.")
        return self.transaction


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Bytes that are read while they are sent, a piece at a time and each in a transaction of its own."""

    size: int
    pieces: int
    read: Callable[[Connection, int], bytes]
    """The piece of that number, from 0; an error ends the answer early, and its reader notices."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back: a JSON value, bytes, or nothing."""

    body: Any = None
    """A JSON value; None sends an empty body."""
    content: bytes | None = None
    """Bytes instead, with their `content_type`."""
    stream: Stream | None = None
    """Many bytes instead, with their `content_type`."""
    content_type: str = "application/json"
    status: int | None = None
    """Another status than the operation's."""
    headers: Sequence[tuple[str, str]] = ()


Work = Callable[[Call], Any]
"""Answers a call: an `Answer`, or a JSON value for the operation's status."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many calls of an operation in a window of time, counted apart by what `by` names."""

    calls: int
    window_s: int
    by: tuple[str, ...]
    """`address` (of the caller), `user`, or names of parameters."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    """Below /v1, with `{name}` places."""
    work: Work
    name: str
    """`operationId` of our document: tag and the function's name."""
    tag: str
    scopes: tuple[str, ...] = ()
    """An API key needs one of them."""
    access: Access = Access.KEY
    parameters: tuple[Parameter, ...] = ()
    """Those of the path, and of the body (POST, PUT, PATCH) or the query (GET, DELETE)."""
    status: int = HTTPStatus.OK
    model: str | None = None
    """Name of the answer's schema; None for no body."""
    taken: str = "general_conflict"
    """Error type where an id is taken."""
    listed: bool = False
    """Takes `queries[]`."""
    multipart: bool = False
    """Takes `multipart/form-data` with a part `file` instead of JSON."""
    files: tuple[str, ...] = ()
    """Media types of which it takes a whole body as a file, instead of JSON."""
    largest_file_bytes: int = 0
    limits: tuple[Limit, ...] = ()
    """How often it may be called without an API key."""
    small: Callable[[Call], Small | None] | None = None
    """The message it would accept, where it is to a few: that takes one statement, and no transaction around it. It
    asks no database; None leaves it to `work`."""
    hashes: bool = False
    """It hashes a password, which takes a core for a while: few of these are worked on at once."""
    keyed: bool = True
    """A POST takes an `Idempotency-Key`."""
    raw: str | None = None
    """Media type of an answer that is no JSON."""
    errors: tuple[int, ...] = ()
    """Statuses of errors beside those every operation of its kind may answer with."""

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.work.__doc__ or self.name).strip().splitlines()[0]

    @property
    def is_long(self) -> bool:
        """Whether it may take long: it moves files, reads lists, or looks at whole audiences."""
        return (
            self.multipart or self.listed or self.raw is not None or bool(self.files) or self.path.endswith("resolve")
        )

    @property
    def places(self) -> frozenset[str]:
        """Names of the parameters in the path."""
        return frozenset(_PLACE.findall(self.path))


class Operations:
    """The operations of one subject, gathered by decorator."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._found: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._found)

    def add(self, method: str, path: str, *parameters: Parameter, **more: Any) -> Callable[[Work], Work]:  # noqa: ANN401
        """Declare the decorated function as the answer to `method` `path`; `more` are fields of `Operation`."""

        def declare(work: Work) -> Work:
            name = self._tag + "".join(part.title() for part in work.__name__.split("_"))
            found = Operation(
                method=method, path=path, work=work, name=name, tag=self._tag, parameters=parameters, **more
            )
            undeclared = found.places - {parameter.name for parameter in parameters}
            if undeclared:
                raise TypeError(f"{method} {path}: declare {', '.join(sorted(undeclared))}")
            self._found.append(found)
            return work

        return declare
