"""One trace from whoever sends to each request to the provider, through the database and the broker, naming nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from sqlalchemy import text

from messaging import tracing
from messaging.errors import SettingsError
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.settings import Settings
from messaging.wire import TaskName
from tests.integration.road import Road
from workers import intake
from workers.intake import IntakeTask

TRACE, SPAN = "4bf92f35" * 4, "00f067aa" * 2
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
_GIVEN: dict[str, Any] = {
    "database_url": "postgresql://x",
    "broker_url": "redis://x",
    "secret_key": "x" * 32,
}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is exported while the test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def topic_of(road: Road, count: int) -> None:
    """A topic of so many, at a provider."""
    road.add_topic("news", road.add_push_targets(count, provider=road.add_provider("apns", "apns")))


def take(road: Road, traceparent: str | None, **kwargs: Any) -> None:
    """A task of a producer comes, and goes all the way."""
    said = {"title": "Hi"} | kwargs
    task = IntakeTask(task_id="t-1", name=TaskName.SEND_PUSH, kwargs=said, traceparent=traceparent)
    taken = intake.take(road.engine, road.vault, road.settings, task)
    number = road.view(taken.message_id).number
    road.expand(number)
    road.deliver()


def traced(spans: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    """Spans by name."""
    found: dict[str, list[ReadableSpan]] = {}
    for span in spans.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def parent_of(span: ReadableSpan) -> int | None:
    """The span above it."""
    return None if span.parent is None else int(span.parent.span_id)


def id_of(span: ReadableSpan) -> int:
    """Its own id."""
    assert span.context is not None
    return int(span.context.span_id)


def test_one_trace_leads_from_the_producers_task_to_each_request(road: Road, spans: InMemorySpanExporter) -> None:
    """Through intake, fan-out and batches, which carry ids only."""
    topic_of(road, 12)
    take(road, SAMPLED, topics=["news"])
    found = traced(spans)
    assert {name: len(each) for name, each in found.items()} == {
        "intake": 1,
        "fan-out": 1,
        "batch": 1,
        "provider request": 12,
    }
    assert {span.context.trace_id for each in found.values() for span in each if span.context} == {int(TRACE, 16)}
    (accepted,), (expanded,), (batch,) = found["intake"], found["fan-out"], found["batch"]
    assert parent_of(accepted) == int(SPAN, 16)
    assert parent_of(expanded) == parent_of(batch) == id_of(accepted)
    assert {parent_of(request) for request in found["provider request"]} == {id_of(batch)}


def test_a_message_to_a_few_is_traced_too(road: Road, spans: InMemorySpanExporter) -> None:
    """It is accepted by a function of the database, and has no fan-out."""
    topic_of(road, 3)
    take(road, SAMPLED, targets=["t0", "t1"])
    assert Counter(span.name for span in spans.get_finished_spans()) == {
        "intake": 1,
        "batch": 1,
        "provider request": 2,
    }


def test_spans_say_how_it_ended_and_never_to_whom(road: Road, spans: InMemorySpanExporter) -> None:
    """By our own words for answers."""
    topic_of(road, 12)
    dead = Outcome(Action.DISABLE_TARGET, "Unregistered", "gone")
    road.provider.answer = lambda recipient: dead if recipient.address.endswith("1") else ACCEPTED
    take(road, SAMPLED, topics=["news"])
    requests = traced(spans)["provider request"]
    said = Counter(next(key for key in each.attributes or () if key.startswith("outcome.")) for each in requests)
    assert said == {"outcome.accepted": 11, "outcome.disable_target": 1}
    told = " ".join(span.to_json() for span in spans.get_finished_spans())
    assert not [recipient.address for recipient in road.provider.received if recipient.address in told]
    assert "Unregistered" not in told


def test_what_its_producer_does_not_sample_is_not_traced(road: Road, spans: InMemorySpanExporter) -> None:
    """Nor remembered with the message."""
    topic_of(road, 12)
    take(road, NOT_SAMPLED, topics=["news"])
    assert spans.get_finished_spans() == ()
    assert kept(road) == [None]


def test_a_task_that_says_nothing_begins_a_trace(road: Road, spans: InMemorySpanExporter) -> None:
    """If the sampler wants one, which it does unless told otherwise."""
    topic_of(road, 12)
    take(road, None, topics=["news"])
    found = traced(spans)
    assert parent_of(found["intake"][0]) is None
    assert len({span.context.trace_id for each in found.values() for span in each if span.context}) == 1


@pytest.mark.parametrize("said", ["", "00-x", SAMPLED + "-more", SAMPLED.replace("4bf9", "4BF9"), 7, None, [SAMPLED]])
def test_what_is_no_traceparent_is_none(said: object) -> None:
    """Anybody may send anything."""
    assert tracing.parse(said) is None


def test_a_caller_in_python_hands_on_the_span_it_is_in() -> None:
    """Of whatever tracer it uses itself; what is not sampled it does not."""
    assert tracing.current() is None
    with TracerProvider().get_tracer("theirs").start_as_current_span("order") as span:
        context = span.get_span_context()
        assert tracing.current() == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("theirs").start_as_current_span("order"):
        assert tracing.current() is None


def test_where_nobody_traces_nothing_is_kept(road: Road) -> None:
    """Whatever comes."""
    topic_of(road, 12)
    take(road, SAMPLED, topics=["news"])
    assert kept(road) == [None]


def test_where_nobody_traces_nothing_of_the_sdk_is_imported() -> None:
    """Nor is it needed: it is an extra."""
    script = "import sys, workers.deliver, workers.intake\n"
    script += "print([name for name in sys.modules if 'opentelemetry.sdk.trace' in name or 'otlp' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_tracing_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, not at the first message."""
    monkeypatch.setattr(tracing, "_NEEDED", ("opentelemetry.no_such_thing",))
    with pytest.raises(SettingsError, match=r"heliograph\[otel\]"):
        tracing.set_up(Settings.load({}, **_GIVEN, tracing=True), "worker")


def test_spans_go_where_opentelemetrys_own_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over OTLP, with the role as the service's name; what waits is sent at the end."""
    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        tracing.set_up(Settings.load({}, **_GIVEN, tracing=True), "worker")
        with tracing.span("intake", SAMPLED):
            pass
        tracing.shut_down()
        server.shutdown()
    ((path, body),) = came
    assert path == "/v1/traces"
    assert b"heliograph-worker" in body
    assert bytes.fromhex(TRACE) in body


def kept(road: Road) -> list[str | None]:
    """What is remembered with messages."""
    with road.engine.begin() as connection:
        return list(connection.execute(text("SELECT traceparent FROM messages")).scalars())
