"""`GET /metrics`: what this process counted, and how things stand in the database and the broker."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.routing import Route

from messaging import metrics, tracing
from messaging.http.dispatch import error_response
from messaging.http.errors import ApiError
from messaging.metrics_access import may_read
from messaging.publish import Publisher
from messaging.store import standing
from messaging.wire import Queue

if TYPE_CHECKING:
    from starlette.requests import Request

    from messaging.http.context import Context
    from messaging.http.operations import Operation
    from messaging.store.standing import Standing

_log = structlog.get_logger(__name__)

Endpoint = Callable[["Request"], Awaitable[Response]]

FRESH_S = 5.0
"""Asked again within this time, the database and the broker are not."""


class Requests:
    """Counts the requests of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = metrics.HTTP_REQUESTS.counter(registry)
        self._seconds = metrics.HTTP_SECONDS.histogram(registry)

    def counted(self, operation: Operation, answer: Endpoint) -> Endpoint:
        """`answer`, with its requests counted, and traced where somebody traces."""
        name = operation.name

        async def counting(request: Request) -> Response:
            began_s = time.perf_counter()
            with tracing.span(name, tracing.of_headers(request.headers), root=True) as span:
                if span is not None:
                    _let_go_on(request, span.traceparent)
                response = await answer(request)
                if span is not None:
                    span.say(**{"http.response.status_code": response.status_code})
            self._requests.labels(name, f"{response.status_code // 100}xx").inc()
            self._seconds.labels(name).observe(time.perf_counter() - began_s)
            return response

        return counting


def _let_go_on(request: Request, traceparent: str | None) -> None:
    """What is done for the request belongs to our span of it."""
    name = tracing.HEADER.encode()
    headers = [pair for pair in request.scope["headers"] if pair[0] != name]
    request.scope["headers"] = headers if traceparent is None else [*headers, (name, traceparent.encode())]
    request.__dict__.pop("_headers", None)  # Starlette keeps what it has read


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    standing: Standing | None
    queues: dict[str, int] | None


class Stands(Collector):
    """How things stand, read when it is asked for, and kept for a few seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reading: _Reading | None = None
        self._lock = threading.Lock()

    @functools.cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self._context.settings)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: so that nothing is asked when this is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge; those of a source that does not answer are left out."""
        with self._lock:  # several may ask at once; one reads
            now_s = time.monotonic()
            if self._reading is None or now_s - self._reading.at_s >= FRESH_S:
                self._reading = _Reading(now_s, self._standing(), self._queues())
            reading = self._reading
        up = metrics.READ.family()
        up.add_metric(["database"], float(reading.standing is not None))
        up.add_metric(["broker"], float(reading.queues is not None))
        yield up
        if reading.standing is not None:
            yield from _families(reading.standing)
        if reading.queues is not None:
            lengths = metrics.QUEUE_LENGTH.family()
            for queue, length in reading.queues.items():
                lengths.add_metric([queue], length)
            yield lengths

    def close(self) -> None:
        """Close the connection to the broker."""
        if "_publisher" in self.__dict__:
            self._publisher.close()

    def _standing(self) -> Standing | None:
        try:
            with self._context.engine.begin() as connection:
                return standing.read(connection)
        except SQLAlchemyError as error:
            _log.warning("The database did not say how things stand.", reason=type(error).__name__)
            return None

    def _queues(self) -> dict[str, int] | None:
        settings = self._context.settings
        return self._publisher.depths([*Queue, *settings.intake_queues])


def _families(found: Standing) -> Iterator[GaugeMetricFamily]:
    due: tuple[tuple[metrics.Metric, Callable[[standing.Due], float]], ...] = (
        (metrics.DUE_BATCHES, lambda each: each.batches),
        (metrics.DUE_DELIVERIES, lambda each: each.deliveries),
        (metrics.OLDEST_DUE_SECONDS, lambda each: each.oldest_s),
        (metrics.LEASED_BATCHES, lambda each: each.leased),
    )
    for metric, value in due:
        family = metric.family()
        for each in found.due:
            family.add_metric([each.channel, each.lane], value(each))
        yield family
    messages = metrics.MESSAGES.family()
    for state, count in found.messages.items():
        messages.add_metric([state], count)
    yield messages
    providers = metrics.PROVIDER_STATE.family()
    for account in found.providers:
        providers.add_metric([account.project, account.provider, account.channel, account.kind, account.state], 1)
    yield providers
    quarantine = metrics.QUARANTINE.family()
    for what in ("delivery", "batch", "fan_out", "task"):
        quarantine.add_metric([what], found.quarantine.get(what, 0))
    yield quarantine
    for metric, count in (
        (metrics.OVERDUE_MESSAGES, found.overdue),
        (metrics.RECEIPTS_WAITING, found.receipts_waiting),
    ):
        family = metric.family()
        family.add_metric([], count)
        yield family


class Metrics:
    """The metrics of one application."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._registry = CollectorRegistry()
        self._stands = Stands(context)
        self.requests = Requests(self._registry)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self._stands)

    def routes(self) -> list[Route]:
        """/metrics."""
        return [Route("/metrics", self._answer)]

    def close(self) -> None:
        """Close what was opened for it."""
        self._stands.close()

    async def _answer(self, request: Request) -> Response:
        secret = self._context.settings.metrics_token
        token = None if secret is None else secret.get_secret_value()
        peer = request.client.host if request.client else ""
        if not may_read(peer, request.headers, token):
            return error_response(_refusal(token))
        text = await self._context.in_thread(lambda: generate_latest(self._registry), long=True)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _refusal(token: str | None) -> ApiError:
    if token is None:
        sentence = "Metrics are read from this machine only. Set MESSAGING_METRICS_TOKEN to read them from elsewhere."
        return ApiError(HTTPStatus.FORBIDDEN, "general_access_forbidden", sentence)
    return ApiError(
        HTTPStatus.UNAUTHORIZED,
        "general_unauthorized_scope",
        "Send MESSAGING_METRICS_TOKEN as a bearer token.",
        headers={"WWW-Authenticate": "Bearer"},
    )
