"""A request over HTTP is a span of its caller's trace, and the message it makes goes on in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

from messaging import tracing
from tests.integration.http.api import Api

TRACE, SPAN = "4bf92f35" * 4, "00f067aa" * 2


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is exported while the test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


@pytest.mark.parametrize("few", [True, False], ids=["to a few", "a draft"])
def test_a_message_goes_on_in_the_trace_of_its_request(api: Api, spans: InMemorySpanExporter, few: bool) -> None:
    """Below the span of the request, which is below the caller's."""
    name = "few" if few else "draft"
    account = {"accountSid": "AC" + "0" * 32, "authToken": "password", "from": "+15005550006", "enabled": True}
    api.ok("POST", "/messaging/providers/twilio", {"providerId": name, "name": name} | account)
    api.ok("POST", "/users", {"userId": name, "phone": "+15550001001" if few else "+15550001002"})
    spans.clear()
    body = {"messageId": name, "content": "Hi", "users": [name], "draft": not few}
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    api.ok("POST", "/messaging/messages/sms", body, headers=headers)
    (span,) = spans.get_finished_spans()
    assert span.name == "messagingCreateSms"
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert dict(span.attributes or {}) == {"http.response.status_code": 201}
    with api.engine.begin() as connection:
        kept = connection.execute(text("SELECT traceparent FROM messages WHERE public_id = :id"), {"id": name}).scalar()
    assert kept == f"00-{TRACE}-{span.context.span_id:016x}-01"
