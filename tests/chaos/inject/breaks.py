"""Builds that are broken on purpose, by name: each takes one promise away, and the judge must notice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any
from uuid import uuid4

Patches = Iterator[tuple[str, Callable[[ModuleType], None]]]


def patches(name: str) -> Patches:
    """What the build called `name` changes; nothing for the empty name. Raises `KeyError` for an unknown one."""
    if name:
        yield from BREAKS[name]


def _acks_early(module: ModuleType) -> None:
    """A producer's task is acknowledged before it is committed."""
    for task in (module.send_push, module.send_email, module.send_sms):
        task.acks_late = False


def _no_sweep(module: ModuleType) -> None:
    """Nobody looks for what is due, stuck or lost."""
    module.sweep = lambda *_: None  # type: ignore[attr-defined]


def _takes_for_sent(module: ModuleType) -> None:
    """What a dead worker left in flight is called accepted."""
    module._IN_DOUBT = module.text(_accepting(str(module._IN_DOUBT)))  # type: ignore[attr-defined]


def _accepting(statement: str) -> str:
    start, end = statement.index("status = CASE"), statement.index("END,") + len("END,")
    always = "status = CASE WHEN :hold OR :max_attempts > 0 THEN 3 ELSE 3 END,"
    return statement[:start] + always + statement[end:]


def _no_doubt(module: ModuleType) -> None:
    """What a dead worker left in flight is sent again as if it had never left."""
    module._IN_DOUBT = module.text(str(module._IN_DOUBT).replace("doubts = d.doubts + 1, ", ""))  # type: ignore[attr-defined]


def _function(name: str, without: str, instead: str) -> Callable[[ModuleType], None]:
    """A patch of the migrations: in the body of a function of the database, `without` becomes `instead`."""

    def patch(module: ModuleType) -> None:
        ensure_partitions = module.ensure_partitions

        @functools.wraps(ensure_partitions)
        def and_break(connection: Any) -> None:
            ensure_partitions(connection)
            body = connection.exec_driver_sql(f"SELECT pg_get_functiondef('{name}'::regproc)").scalar_one()
            assert without in body or instead in body
            connection.exec_driver_sql(body.replace(without, instead))

        module.ensure_partitions = and_break  # type: ignore[attr-defined]

    return patch


def _new_id_each_time(module: ModuleType) -> None:
    """A request that is sent again has another id."""
    module.delivery_uuid_prefix = lambda *_: str(uuid4())[:24]  # type: ignore[attr-defined]


def _throttling_counts(module: ModuleType) -> None:
    """To be throttled costs an attempt."""
    decide = module.decide

    @functools.wraps(decide)
    def counting(delivery: Any, outcome: Any, policy: Any, uniform: Any) -> Any:
        verdict = decide(delivery, outcome, policy, uniform)
        if verdict.refund and delivery.attempt >= policy.max_attempts:
            return module.Verdict(delivery.target_id, module.DeliveryStatus.FAILED, error_code=outcome.code or None)
        return verdict._replace(refund=0)

    module.decide = counting  # type: ignore[attr-defined]


def _early(module: ModuleType) -> None:
    """The time of a scheduled message is read from a clock that is five minutes fast."""
    module._START_DUE = module.text(  # type: ignore[attr-defined]
        str(module._START_DUE).replace("scheduled_at <= now()", "scheduled_at <= now() + interval '5 minutes'")
    )


def _patient_with_poison(module: ModuleType) -> None:
    """However many workers something ends, it is handed out again."""
    load = module.Settings.load.__func__

    @functools.wraps(load)
    def lenient(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return load(cls, *args, **(kwargs | {"max_deaths": 100}))

    module.Settings.load = classmethod(lenient)


def _told_again(module: ModuleType) -> None:
    """A receipt that comes twice counts twice."""
    module.event_key = lambda *_: uuid4().bytes  # type: ignore[attr-defined]


BREAKS: dict[str, Sequence[tuple[str, Callable[[ModuleType], None]]]] = {
    "acks-early": [("workers.tasks", _acks_early)],
    "no-sweep": [("workers.sweep", _no_sweep)],
    "takes-for-sent": [("messaging.store.ledger", _takes_for_sent)],
    "no-doubt": [("messaging.store.ledger", _no_doubt)],
    # a batch is anybody's, however many work on it, and whoever wakes late may write
    "no-lease": [
        (
            "messaging.store.migrate",
            _function(
                "lease_batch",
                "(b.state = 0 AND b.due_at <= now() OR b.state = 1 AND b.lease_until < now())",
                "b.state < 2",
            ),
        ),
        (
            "messaging.store.migrate",
            _function("hold_batch", "b.claim = p_claim AND b.state = 1 AND b.lease_until > now()", "p_claim > 0"),
        ),
    ],
    "new-id-each-time": [("messaging.ids", _new_id_each_time)],
    "throttling-counts": [("workers.retry", _throttling_counts)],
    # pause and cancel are not read while a batch is sent
    "deaf": [
        (
            "messaging.store.migrate",
            _function("claim_window", "o_state = 2 AND NOT v_held.o_expired AND", "o_state IS NOT NULL AND"),
        )
    ],
    "patient-with-poison": [("messaging.settings", _patient_with_poison)],
    "told-again": [("messaging.store.receipt_effects", _told_again)],
    "early": [("messaging.store.expansion", _early)],
}
