"""The reference of metrics, from the one table that code, dashboard and alerts share."""

from __future__ import annotations

from docs.generate.markdown import code, codes, document, head, table
from messaging.metrics import METRICS, Kind, Metric, Where
from messaging.outcome import Action
from messaging.status import DeliveryStatus
from messaging.store.ledger import UNSENT

_LABELS = {
    "channel": "`push`, `email` or `sms`",
    "lane": "`high` or `bulk`",
    "kind": "the kind of provider: `apns`, `twilio`, …",
    "status": "of a delivery: "
    + ", ".join(code(each) for each in DeliveryStatus if each.is_settled)
    + "; of an answer over HTTP: its class, `2xx`",
    "reason": "what was answered, in our own words: "
    + ", ".join(code(each) for each in (Action.DISABLE_TARGET, Action.REJECT_MESSAGE, Action.SUPPRESS_TARGET))
    + f", `retry` after the last attempt, …; {code(UNSENT)} for what was claimed and not sent; `receipt` for what a"
    " receipt says; `target_expired`, `target_deleted`, `suppressed`, `content`, `worker_lost`, `expired`, `cancelled`."
    " Providers' own codes are in the ledger: `messaging status`.",
    "limit": "`second`, `minute`, `day` or `pause`",
    "why": "`outage`, `quota`, `stop_provider` or `dead_addresses`",
    "outcome": "what became of it",
    "what": "the subject, in one word",
    "task": "the name a producer sends, or `unknown`",
    "operation": "the `operationId` of the OpenAPI document",
    "queue": "a queue of ours",
    "state": "of a message, or of an account",
    "source": "`database` or `broker`",
    "project": "id of the project",
    "provider": "id of the account",
}


def page() -> str:
    """The page."""
    return document(
        head("Metrics", "`messaging/metrics.py`"),
        "In the text format of Prometheus, at `/metrics` of the API, and of each worker that has a"
        " `MESSAGING_METRICS_PORT`. [How to monitor](../howto/monitor.md) says how to get at them, and has a dashboard"
        " and alerts.",
        "No label holds an address, an id of a message, or a text that a provider chose.",
        "## From the workers",
        "Counters are of one worker, all its processes together; they begin at 0 when it does. Sum them over workers.",
        _table(Where.WORKERS),
        "## From the API",
        "Gauges say how things stand in the database and the broker, so every API process says the same: take the"
        " `max` over processes, not the sum. They are at most five seconds old, and missing where"
        " `heliograph_source_up` is 0.",
        _table(Where.API),
        "Beside these there are prometheus-client's own `process_…` and `python_…`.",
        "## Labels",
        table(("label", "values"), [(code(name), says) for name, says in _LABELS.items()]),
    )


def _table(where: Where) -> str:
    rows = [(code(each.name), each.kind, codes(each.labels), _says(each)) for each in METRICS if each.where is where]
    return table(("metric", "type", "labels", "what it says"), rows)


def _says(metric: Metric) -> str:
    if metric.kind is not Kind.HISTOGRAM:
        return metric.says
    return f"{metric.says} Buckets in seconds: {', '.join(f'{bound:g}' for bound in metric.buckets)}."
