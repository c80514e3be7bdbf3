"""Traces: one from whoever asks for a message to each request to its provider.

A trace crosses the broker as the header `traceparent` (https://www.w3.org/TR/trace-context/) and the rest of the road
in a column of the message, for fan-outs and batches carry ids only. Where nothing is set up, which is the default,
nothing of OpenTelemetry is imported, and asking costs a comparison. A span says what was done, how often and how it
ended: never to whom, and nothing of what a message says.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from messaging.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OpenTelemetrySpan
    from opentelemetry.trace import TracerProvider

    from messaging.settings import Settings

HEADER = "traceparent"
"""Of HTTP requests, and of Celery's messages."""
_NAME = "heliograph"
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_LONGEST = 55
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

Said = str | int | float | bool


class _Tracer:
    """What makes spans in this process; None where nobody traces."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.spans: Any = None


_tracer = _Tracer()


class Span:
    """Something that was done and is traced."""

    def __init__(self, span: OpenTelemetrySpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """How those who go on with it name it; None where it is not recorded, so that nobody need."""
        context = self._span.get_span_context()
        if not (context.is_valid and context.trace_flags.sampled):
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def request(self, *, recipients: int) -> Span:
        """A span below this one, of one request to a provider."""
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415  there, where there is a span

        return Span(
            _tracer.spans.start_span(
                "provider request",
                context=set_span_in_context(self._span),
                kind=SpanKind.CLIENT,
                attributes={"recipients": recipients},
            )
        )

    def say(self, **attributes: Said) -> None:
        """Add what is known by now."""
        self._span.set_attributes(attributes)

    def end(self, *outcomes: str) -> None:
        """It is over; `outcomes` are the words for how."""
        for outcome in sorted(set(outcomes)):
            self._span.set_attribute(f"outcome.{outcome}", outcomes.count(outcome))
        self._span.end()


def require(settings: Settings) -> None:
    """Raise `SettingsError` where `tracing` is set and OpenTelemetry is not installed."""
    if not settings.tracing:
        return
    try:
        found = all(importlib.util.find_spec(name) for name in _NEEDED)
    except ImportError:
        found = False
    if not found:
        raise SettingsError("MESSAGING_TRACING needs OpenTelemetry. Run: pip install 'heliograph[otel]'")


def set_up(settings: Settings, role: str) -> None:
    """Make spans in this process, where `tracing` is set, and export them as `OTEL_*` says. Called after any fork.

    Raises what `require` raises.
    """
    if not settings.tracing or _tracer.spans is not None:
        return
    require(settings)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider as Provider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"{_NAME}-{role}"}
    provider = Provider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: TracerProvider | None) -> None:
    """Make spans with `provider`, in this process; None: no more."""
    _tracer.provider = provider
    _tracer.spans = None if provider is None else provider.get_tracer(_NAME)


def shut_down() -> None:
    """Export what waits."""
    end = getattr(_tracer.provider, "shutdown", None)
    if end is not None:
        end()
    use(None)


def parse(said: object) -> str | None:
    """`said` where it is a traceparent; anybody may send anything."""
    return said if isinstance(said, str) and len(said) <= _LONGEST and _TRACEPARENT.fullmatch(said) else None


def began(
    name: str, parent: str | None, *, root: bool = False, start_ns: int | None = None, **attributes: Said
) -> Span | None:
    """A span below `parent` that the caller ends; None where nothing is traced, or this is not sampled.

    With `root` a span without a parent begins a trace, if the sampler wants one. `start_ns` is when it began, since
    1970, where that was before.
    """
    if _tracer.spans is None or (parent is None and not root):
        return None
    from opentelemetry.trace import SpanKind  # noqa: PLC0415  there, where there is a tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier = {} if parent is None else {HEADER: parent}
    context = TraceContextTextMapPropagator().extract(carrier)
    kind = SpanKind.SERVER if root else SpanKind.INTERNAL
    made = _tracer.spans.start_span(name, context=context, kind=kind, attributes=attributes, start_time=start_ns)
    return Span(made) if made.is_recording() else None


@contextmanager
def span(name: str, parent: str | None, *, root: bool = False, **attributes: Said) -> Iterator[Span | None]:
    """The span of what is done in this block; see `began`."""
    found = began(name, parent, root=root)
    if found is None:
        yield None
        return
    found.say(**attributes)
    try:
        yield found
    except BaseException as error:
        found.say(error=type(error).__name__)
        raise
    finally:
        found.end()


def current() -> str | None:
    """The span the calling program is in, where it uses OpenTelemetry itself and this one is recorded."""
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else Span(trace.get_current_span()).traceparent


def of_headers(headers: Mapping[str, str]) -> str | None:
    """What a request says it belongs to, where anything is traced."""
    return None if _tracer.spans is None else parse(headers.get(HEADER))
