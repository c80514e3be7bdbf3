"""Accounts that stop: until somebody acts (misconfigured), or for a while (quota, outage), then tried again.

The circuit breaker of an account is a stop with an end. It is open while that lies ahead, half open once it is past
(`probe` lets one worker try), and closed by `start`. The state is a row, so all workers share it, it survives, and
whoever routes or fails over sees it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from messaging.outcome import Action

OUTAGE_S = (10.0, 600.0)
"""First and longest pause after an outage; each one twice as long as the one before."""
QUOTA_S = (900.0, 6 * 3600.0)
"""The same where a quota or credit is used up."""
BY_OPERATOR = "by an operator"
"""Why an account works again that nobody found working."""
PROBE_S = 30.0
"""How long one worker has to try; then another may."""

_STOP = text("""
UPDATE providers SET stopped_at = coalesce(stopped_at, now()), stopped_reason = :reason,
       stopped_until = now()
           + make_interval(secs => least(CAST(:first AS float8) * power(2, least(stops, 20)),
                                         CAST(:longest AS float8))),
       stops = least(stops + 1, 100)
 WHERE id = :id AND (stopped_at IS NULL OR stopped_until IS NOT NULL
                     AND (stopped_until <= now() OR CAST(:first AS float8) IS NULL OR :again))
RETURNING (SELECT before.stopped_at FROM providers before WHERE before.id = :id) IS NULL AS fresh, stopped_until
""")


def stop_for(
    connection: Connection, provider_id: int, reason: str, *, action: Action | None, again: bool = False
) -> bool:
    """Stop the account: for `STOP_PROVIDER` until it is started, for `QUOTA` and outages (None) for a while.

    `again` prolongs the pause of an account whose trial failed. A stop without an end stands, and takes the place of
    one that has one. True when the account worked before: that is when somebody should be told.
    """
    if action is None:
        first, longest = OUTAGE_S
    elif action is Action.QUOTA:
        first, longest = QUOTA_S
    else:
        first, longest = None, None
    row = connection.execute(
        _STOP, {"id": provider_id, "reason": reason, "first": first, "longest": longest, "again": again}
    ).one_or_none()
    if row is None:
        return False
    if row.fresh or first is None:
        log(connection, provider_id, "stopped" if row.stopped_until is None else "paused", reason)
    return bool(row.fresh)


def start(connection: Connection, provider_id: int, *, why: str = "works again") -> bool:
    """Let a stopped account work again. False if it was not stopped."""
    started = connection.execute(
        text("""UPDATE providers SET stopped_at = NULL, stopped_reason = NULL, stopped_until = NULL, stops = 0
                 WHERE id = :id AND stopped_at IS NOT NULL RETURNING id"""),
        {"id": provider_id},
    ).one_or_none()
    if started is None:
        return False
    log(connection, provider_id, "started", why)
    return True


def probe(connection: Connection, provider_id: int) -> bool:
    """Whether the caller is the one to try an account whose pause is over; nobody else is for `PROBE_S` seconds."""
    won = connection.execute(
        text("""UPDATE providers SET stopped_until = now() + make_interval(secs => :probe_s)
                 WHERE id = :id AND stopped_at IS NOT NULL AND stopped_until <= now() RETURNING id"""),
        {"id": provider_id, "probe_s": PROBE_S},
    ).one_or_none()
    return won is not None


def log(connection: Connection, provider_id: int, what: str, reason: str) -> None:
    """Put down what happened to an account."""
    connection.execute(
        text("INSERT INTO provider_log (provider_id, what, reason) VALUES (:id, :what, :reason)"),
        {"id": provider_id, "what": what, "reason": reason},
    )
