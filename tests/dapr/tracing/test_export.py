"""The queue is bounded, and collectors get what they understand."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from meshproxy.dapr.tracing.collectors import otlp_url, zipkin_spans
from meshproxy.dapr.tracing.context import TraceContext
from meshproxy.dapr.tracing.export import MAX_BATCH, MAX_QUEUE, SendError, SpanQueue
from meshproxy.dapr.tracing.otlp import otlp_request
from meshproxy.dapr.tracing.settings import OtelSettings
from meshproxy.dapr.tracing.span import Kind, Span

CONTEXT = TraceContext(b"t" * 16, b"s" * 8, True, b"k=v")


def span(name: str = "a", **more) -> Span:
    return Span(CONTEXT, name, Kind.CLIENT, 1_000_000, b"p" * 8, 5_000_000, **more)


class Collector:
    """Takes batches, or refuses them."""

    def __init__(self, error: str = "") -> None:
        self.batches: list[list[str]] = []
        self.error = error
        self.closed = False

    async def send(self, spans: Sequence[Span]) -> None:
        self.batches.append([each.name for each in spans])
        if self.error:
            raise SendError(self.error)

    async def close(self) -> None:
        self.closed = True


def test_spans_that_come_faster_than_they_go_are_dropped_and_said(caplog):
    async def main():
        collector = Collector()
        queue = SpanQueue([collector])
        for number in range(MAX_QUEUE + 3):
            queue.add(span(str(number)))
        await queue.flush()
        return collector

    with caplog.at_level(logging.WARNING):
        collector = asyncio.run(main())
    assert sum(map(len, collector.batches)) == MAX_QUEUE
    assert max(map(len, collector.batches)) == MAX_BATCH
    assert "3 spans were dropped" in caplog.text


def test_a_collector_that_fails_does_not_keep_the_others_from_theirs(caplog):
    async def main():
        collectors = [Collector("is full"), Collector()]
        queue = SpanQueue(collectors)
        queue.add(span())
        await queue.close()
        return collectors

    bad, good = asyncio.run(main())
    assert good.batches == bad.batches == [["a"]]
    assert bad.closed
    assert good.closed
    assert "1 spans were not taken: is full" in caplog.text


def test_the_task_sends_what_comes():
    async def main():
        collector = Collector()
        queue = SpanQueue([collector], interval=0.0)
        task = asyncio.get_running_loop().create_task(queue.run())
        queue.add(span())
        while not collector.batches:  # noqa: ASYNC110 (the turns of the loop are what is awaited)
            await asyncio.sleep(0)
        task.cancel()
        return collector.batches

    assert asyncio.run(main()) == [["a"]]


def test_opentelemetrys_message():
    failed = span(error="no", attributes={"x": "y"})
    request = ExportTraceServiceRequest.FromString(otlp_request([failed], "app"))
    [resource] = request.resource_spans
    [attribute] = resource.resource.attributes
    assert (attribute.key, attribute.value.string_value) == ("service.name", "app")
    [group] = resource.instrumentation_library_spans
    [shown] = group.spans
    assert shown.trace_id == b"t" * 16
    assert (shown.span_id, shown.parent_span_id) == (b"s" * 8, b"p" * 8)
    assert (shown.name, shown.kind, shown.trace_state) == ("a", 3, "k=v")
    assert (shown.start_time_unix_nano, shown.end_time_unix_nano) == (1_000_000, 5_000_000)
    assert (shown.status.code, shown.status.message) == (2, "no")
    assert shown.attributes[0].value.string_value == "y"


def test_zipkins_document():
    root = Span(CONTEXT, "root", Kind.INTERNAL, 1_000_000, end=1_000_100)
    assert zipkin_spans([span(error="no", attributes={"x": "y"}), root], "app") == [
        {
            "traceId": b"t".hex() * 16,
            "id": b"s".hex() * 8,
            "parentId": b"p".hex() * 8,
            "name": "a",
            "kind": "CLIENT",
            "timestamp": 1000,
            "duration": 4000,
            "localEndpoint": {"serviceName": "app"},
            "tags": {"x": "y", "error": "no"},
        },
        {
            "traceId": b"t".hex() * 16,
            "id": b"s".hex() * 8,
            "name": "root",
            "timestamp": 1000,
            "duration": 1,
            "localEndpoint": {"serviceName": "app"},
            "tags": {},
        },
    ]


@pytest.mark.parametrize(
    ("endpoint", "secure", "url"),
    [("h:4318", False, "http://h:4318/v1/traces"), ("h:1", True, "https://h:1/v1/traces"),
     ("h:1/own", True, "https://h:1/own")],
)  # fmt: skip
def test_where_spans_are_posted(endpoint, secure, url):
    assert otlp_url(OtelSettings(endpoint, secure=secure)) == url
