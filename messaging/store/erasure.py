"""Erase a person: their rows at once, every other trace of their addresses by the next sweeps.

At once, in the transaction of whoever asks: the user with sessions, targets and subscriptions, and the targets of
nobody for the same addresses. What is left to do is in `erasures`, and done for many people in one pass over each
table, since the ledger can't be searched by address or target without reading it: `docs/explanation/erasure.md` has the
columns.

The first pass follows within seconds, the second when whatever was in flight has come to its end. Then the addresses
are forgotten here too, and what receipts tell later is found by the numbers of the targets for as long as receipts are
kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.store import addresses, vault_keys
from messaging.store.addresses import PROJECT
from messaging.store.partitions import partition_name
from messaging.store.retention import RECEIPT_DAYS, months
from messaging.vault import Vault

GONE = "[erased]"
"""Stands where an address stood."""
_AT_ONCE = 100
_WORK_S = 600.0
"""A pass that died is begun again after that."""
_IN_FLIGHT_S = 900.0
"""From the first pass to the second: requests, retried tasks and waiting receipts of before have ended by then."""
_DAY_S = 86_400.0
_ASCII = 128
_FEWEST_DIGITS = 7
"""Fewer digits than that are found in every other number."""

_OF_PROJECT = "project_id = :project"
_OF_PROVIDER = "provider_id IN (SELECT id FROM providers WHERE project_id = :project)"
_OF_MESSAGE = "message_id IN (SELECT id FROM messages WHERE project_id = :project)"
_WORDS = (
    ("providers", "stopped_reason", _OF_PROJECT),
    ("provider_log", "reason", _OF_PROVIDER),
    ("provider_checks", "address", _OF_PROVIDER),
    ("messages", "failure", _OF_PROJECT),
    ("suppressions", "reason", _OF_PROJECT),
    ("quarantine", "reason", _OF_PROJECT),
    ("refusals", "reason", "true"),  # of no project: nobody could tell whose the task was
    ("refusals", "task_name", "true"),
    ("batches", "waiting_for", _OF_MESSAGE),
    ("deliveries", "error", _OF_MESSAGE),  # of others: those to the person's own targets go whatever they say
    ("delivery_events", "reason", _OF_MESSAGE),
    ("past_attempts", "reason", _OF_MESSAGE),
)
"""Where somebody's words may name an address: it is replaced."""
_OURS = ("target_deleted", "target_expired", "suppressed", "cancelled", "expired")
"""Reasons in our own words, which name nobody."""


@dataclass(frozen=True, slots=True)
class Trace:
    """An address to look for."""

    channel: Channel
    identifier: str


@dataclass(frozen=True, slots=True)
class _Job:
    """What is left to do for one request."""

    id: int
    project_id: int
    target_ids: Sequence[int]
    traces: Sequence[Trace]
    users: Sequence[str]
    passes: int


def erase(connection: Connection, vault: Vault, project_id: int, named: str) -> list[str]:
    """Erase the user of that id or address, or the targets of nobody for the address; the ids of the users who went.

    Raises `NotFoundError` where neither is there.
    """
    user = _user(connection, project_id, named)
    if user is not None:
        erase_user(connection, vault, project_id, user)
        return [named]
    try:
        channel = Channel.EMAIL if "@" in named else Channel.SMS
        trace = Trace(channel, normalise(channel, named))
    except InvalidArgumentError:
        raise NotFoundError("user", named) from None
    users = sorted(addresses.users_of(connection, project_id, trace.channel, trace.identifier))
    found = connection.execute(
        text("SELECT id, public_id FROM users WHERE id = ANY(:ids) ORDER BY id"), {"ids": users}
    ).all()
    for row in found:
        erase_user(connection, vault, project_id, row.id)
    gone = [] if found else _drop_nobodys(connection, project_id, [trace])
    if not found and not gone:
        raise NotFoundError("user", named)
    if not found:
        _leave(connection, vault, project_id, gone, [trace], users=[])
    return [row.public_id for row in found]


def erase_user(connection: Connection, vault: Vault, project_id: int, user: int) -> None:
    """Erase the user of that number."""
    row = connection.execute(
        text("SELECT public_id, email, phone FROM users WHERE id = :id FOR UPDATE"), {"id": user}
    ).one()
    own = connection.execute(
        text("SELECT id, channel, identifier FROM targets WHERE user_id = :id ORDER BY id"), {"id": user}
    ).all()
    found = [(Channel(each.channel), each.identifier) for each in own]
    found += [(Channel.EMAIL, row.email)] if row.email else []
    found += [(Channel.SMS, row.phone)] if row.phone else []
    traces = [Trace(channel, identifier) for channel, identifier in dict.fromkeys(found)]
    connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": user})
    gone = _drop_nobodys(connection, project_id, traces)
    _leave(connection, vault, project_id, [*(each.id for each in own), *gone], traces, users=[row.public_id])


def any_due(connection: Connection) -> bool:
    """Whether there is something to do."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT 1 FROM erasures WHERE due_at <= now())")).scalar_one())


def work_off(engine: Engine, vault: Vault) -> int:
    """One pass for those who are due, in many short transactions; for how many. May be killed and doubled."""
    with engine.begin() as connection:
        jobs = _take(connection, vault)
    for project_id in sorted({job.project_id for job in jobs}):
        of_project = [job for job in jobs if job.project_id == project_id]
        left = _pass(engine, vault, project_id, of_project)
        with engine.begin() as connection:
            _settle(connection, vault, of_project, left=left)
    return len(jobs)


def _user(connection: Connection, project_id: int, public_id: str) -> int | None:
    found: int | None = connection.execute(
        text("SELECT id FROM users WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).scalar()
    return found


def _drop_nobodys(connection: Connection, project_id: int, traces: Sequence[Trace]) -> list[int]:
    """Delete the targets of nobody for these addresses; their numbers."""
    gone: list[int] = []
    for trace in traces:
        gone += connection.execute(
            text(
                f"DELETE FROM targets WHERE project_id = {PROJECT} AND channel = :channel AND identifier = :identifier"
                " AND coalesce(provider_id, 0) = ANY (ARRAY(SELECT 0 UNION ALL SELECT id FROM providers"
                "   WHERE project_id = :project AND channel = :channel)) AND user_id IS NULL RETURNING id"
            ),
            {"project": project_id, "channel": trace.channel, "identifier": trace.identifier},
        ).scalars()
    return gone


def _leave(
    connection: Connection,
    vault: Vault,
    project_id: int,
    target_ids: Sequence[int],
    traces: Sequence[Trace],
    *,
    users: Sequence[str],
) -> None:
    said = {"addresses": [[trace.channel, trace.identifier] for trace in traces], "users": list(users)}
    connection.execute(
        text("INSERT INTO erasures (project_id, target_ids, traces) VALUES (:project, :targets, :traces)"),
        {
            "project": project_id,
            "targets": list(target_ids),
            "traces": vault_keys.seal(connection, vault, said),
        },
    )


def _take(connection: Connection, vault: Vault) -> list[_Job]:
    rows = connection.execute(
        text("""
        WITH taken AS (SELECT id FROM erasures WHERE due_at <= now() ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
        UPDATE erasures e SET due_at = now() + make_interval(secs => :work_s) FROM taken WHERE e.id = taken.id
        RETURNING e.id, e.project_id, e.target_ids, e.traces, e.passes
        """),
        {"limit": _AT_ONCE, "work_s": _WORK_S},
    ).all()
    jobs = []
    for row in sorted(rows, key=lambda row: row.id):
        said: Any = vault.open(bytes(row.traces))
        traces = [Trace(Channel(channel), identifier) for channel, identifier in said["addresses"]]
        jobs.append(_Job(row.id, row.project_id, row.target_ids, traces, said["users"], row.passes))
    return jobs


def _settle(connection: Connection, vault: Vault, jobs: Sequence[_Job], *, left: bool) -> None:
    """Say when to look again; addresses are forgotten after the second pass, unless something had to be `left`."""
    for job in jobs:
        forget = job.passes >= 1 and not left
        said: dict[str, list[str]] = {"addresses": [], "users": []}
        connection.execute(
            text("""
            UPDATE erasures SET passes = passes + 1, due_at = now() + make_interval(secs => :wait_s),
                   traces = coalesce(CAST(:traces AS bytea), traces) WHERE id = :id
            """),
            {
                "id": job.id,
                "wait_s": _DAY_S if job.passes else _IN_FLIGHT_S,
                "traces": vault_keys.seal(connection, vault, said) if forget else None,
            },
        )
        connection.execute(
            text("""DELETE FROM erasures WHERE id = :id AND :forget
                       AND created_at < now() - make_interval(days => :days)"""),
            {"id": job.id, "forget": forget, "days": RECEIPT_DAYS},
        )


# -- one pass --------------------------------------------------------------------------------------


def _pass(engine: Engine, vault: Vault, project_id: int, jobs: Sequence[_Job]) -> bool:
    """Erase what is found; whether something had to be left because it is still in use."""
    traces = list(dict.fromkeys(trace for job in jobs for trace in job.traces))
    targets = sorted({target for job in jobs for target in job.target_ids})
    users = sorted({user for job in jobs for user in job.users})
    with engine.begin() as connection:
        for month in months(connection):
            _forget_words_of(connection, month, targets)
    left = False
    tags = [rf"d[0-9a-f]+-[0-9a-f]+-{target:x}(?![0-9a-f])" for target in targets]
    pattern = "|".join(sorted({form for trace in traces for form in _forms(trace)}))
    with engine.begin() as connection:
        left |= _receipts(connection, project_id, "|".join([*tags, *([pattern] if pattern else [])]))
    if not pattern:
        return left
    with engine.begin() as connection:
        for table, column, where in _WORDS:
            connection.execute(
                text(
                    f"UPDATE {table} SET {column} = regexp_replace({column}, :pattern, :gone, 'gi')"
                    f" WHERE {column} ~* :pattern AND {where}"
                ),
                {"pattern": pattern, "gone": GONE, "project": project_id},
            )
        _answers(connection, project_id, pattern, users)
        _checks(connection, project_id, pattern)
        _quarantined(connection, vault, project_id, pattern)
    with engine.begin() as connection:
        left |= _messages(connection, project_id, pattern, {trace.identifier.casefold() for trace in traces})
    return left


def _forms(trace: Trace) -> Iterable[str]:
    """Regular expressions (PostgreSQL's and Python's) for the ways an address is written."""
    address = trace.identifier
    if trace.channel is Channel.SMS and len(address.lstrip("+")) >= _FEWEST_DIGITS:
        yield rf"(?:\+|%2B)?{re.escape(address.lstrip('+'))}"
        return
    whole = [address]
    if address.startswith("{"):  # a Web Push subscription: its endpoint is what tells people apart
        whole += [str(json.loads(address).get("endpoint") or address)]
    for one in whole:
        octal = "".join(chr(byte) if byte < _ASCII else f"\\{byte:03o}" for byte in one.encode())
        for written in (one, quote(one, safe=""), quote(one, safe="+"), json.dumps(one)[1:-1], octal):
            # a backslash is doubled in what is JSON inside of JSON, and in how PostgreSQL shows bytes
            yield re.escape(written).replace("@", r"(?:@|%40|\\u0040)").replace(r"\\", r"\\+")


def _forget_words_of(connection: Connection, month: date, targets: Collection[int]) -> None:
    """The providers' words about deliveries to these targets, whatever they say."""
    said = {"targets": list(targets), "ours": list(_OURS)}
    connection.execute(
        text(
            f"UPDATE {partition_name('deliveries', month)} SET error = NULL"
            " WHERE target_id = ANY(CAST(:targets AS bigint[]))"
            " AND error IS NOT NULL AND NOT coalesce(error_code = ANY(CAST(:ours AS text[])), false)"
        ),
        said,
    )
    for table in ("delivery_events", "past_attempts"):
        connection.execute(
            text(
                f"UPDATE {partition_name(table, month)} SET reason = NULL"
                " WHERE target_id = ANY(CAST(:targets AS bigint[])) AND reason IS NOT NULL"
            ),
            said,
        )


def _receipts(connection: Connection, project_id: int, pattern: str) -> bool:
    """Empty the requests that name somebody; whether one waits to be applied first, which is a matter of seconds.

    One that was put aside can't be applied later: what it says of others is lost with it.
    """
    if not pattern:
        return False
    named = f"""
        r.{_OF_PROVIDER} AND r.body <> ''
        AND (encode(r.body, 'escape') ~* :pattern OR r.url ~* :pattern OR r.headers::text ~* :pattern)
    """
    parameters = {"project": project_id, "pattern": pattern}
    connection.execute(
        text(f"""
        UPDATE receipts r SET body = '', url = '', headers = '{{}}', state = CASE state WHEN 3 THEN 2 ELSE state END,
               reason = CASE state WHEN 1 THEN NULL ELSE 'Erased: it named somebody who was deleted.' END
         WHERE r.state <> 0 AND {named}"""),
        parameters,
    )
    waiting = connection.execute(
        text(f"SELECT EXISTS (SELECT 1 FROM receipts r WHERE r.state = 0 AND {named})"), parameters
    )
    return bool(waiting.scalar_one())


def _answers(connection: Connection, project_id: int, pattern: str, users: Sequence[str]) -> None:
    """Kept answers that show a person: repeated, the request gets an empty one."""
    connection.execute(
        text("""
        UPDATE http_answers SET body = '{}' WHERE project_id = :project
           AND (body::text ~* :pattern OR body->>'$id' = ANY(CAST(:users AS text[]))
                OR body->>'userId' = ANY(CAST(:users AS text[])))
        """),
        {"project": project_id, "pattern": pattern, "users": list(users)},
    )


def _checks(connection: Connection, project_id: int, pattern: str) -> None:
    rows = connection.execute(
        text(f"SELECT id, steps FROM provider_checks WHERE steps::text ~* :pattern AND {_OF_PROVIDER} FOR UPDATE"),
        {"pattern": pattern, "project": project_id},
    ).all()
    for row in rows:
        connection.execute(
            text("UPDATE provider_checks SET steps = CAST(:steps AS jsonb) WHERE id = :id"),
            {"id": row.id, "steps": json.dumps(_without(row.steps, _replacing(pattern)))},
        )


def _quarantined(connection: Connection, vault: Vault, project_id: int, pattern: str) -> None:
    """A task put aside that names somebody can't be replayed any more."""
    rows = connection.execute(
        text("SELECT id, sealed FROM quarantine WHERE project_id = :project AND sealed IS NOT NULL"),
        {"project": project_id},
    ).all()
    named = [
        row.id
        for row in rows
        if re.search(pattern, json.dumps(vault.open(bytes(row.sealed)), ensure_ascii=False), re.IGNORECASE)
    ]
    connection.execute(text("UPDATE quarantine SET sealed = NULL WHERE id = ANY(:ids)"), {"ids": named})


def _messages(connection: Connection, project_id: int, pattern: str, identifiers: Collection[str]) -> bool:
    """Take addresses out of audiences and of what was sent; whether an unsent content names one, which others read."""
    rows = connection.execute(
        text("""
        SELECT id, audience, content, coalesce(finished_at, deleted_at) IS NOT NULL AS finished
          FROM messages
         WHERE project_id = :project AND (audience::text ~* :pattern OR content::text ~* :pattern) FOR UPDATE
        """),
        {"project": project_id, "pattern": pattern},
    ).all()
    replace = _replacing(pattern)
    left = False
    for row in rows:
        content = _without(row.content, replace) if row.finished else row.content
        left |= not row.finished and _without(row.content, replace) != row.content
        connection.execute(
            text(
                "UPDATE messages SET audience = CAST(:audience AS jsonb), content = CAST(:content AS jsonb)"
                " WHERE id = :id"
            ),
            {
                "id": row.id,
                "audience": json.dumps(_without(row.audience, replace, dropped=identifiers)),
                "content": json.dumps(content),
            },
        )
    return left


def _replacing(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda said: compiled.sub(GONE, said)


def _without(value: Any, replace: Callable[[str], str], *, dropped: Collection[str] = ()) -> Any:  # noqa: ANN401  JSON
    """JSON without the addresses: replaced in texts, left out of lists where an entry is one of `dropped`."""
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, list):
        kept = (one for one in value if not (isinstance(one, str) and one.casefold() in dropped))
        return [_without(one, replace, dropped=dropped) for one in kept]
    if isinstance(value, dict):
        return {replace(name): _without(one, replace, dropped=dropped) for name, one in value.items()}
    return value
