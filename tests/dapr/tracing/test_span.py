"""Which spans there are, and which go on."""

import pytest

from meshproxy.dapr.tracing.context import TraceContext
from meshproxy.dapr.tracing.span import Kind, Span, Tracer


def tracer(rate: float, trace_id: bytes = bytes(15) + b"\1"):
    ended: list[Span] = []
    clock = iter(range(1000, 9999, 500))
    sizes = {8: b"newspan!", 16: trace_id}
    return Tracer(rate, ended.append, lambda: next(clock), sizes.__getitem__), ended


def test_a_span_ends_with_its_times_and_attributes():
    source, ended = tracer(1.0)
    span = source.start("name", None, Kind.CLIENT)
    source.end(span, "why", {"a": "b"})
    assert ended == [span]
    assert (span.start, span.end, span.error, span.attributes) == (1000, 1500, "why", {"a": "b"})
    assert span.parent_id == b""


@pytest.mark.parametrize("sampled", [True, False])
def test_who_comes_with_a_parent_follows_it_whatever_the_rate(sampled):
    source, ended = tracer(0.0 if sampled else 1.0)
    parent = TraceContext(b"t" * 16, b"p" * 8, sampled, b"k=v")
    span = source.start("name", parent, Kind.SERVER)
    source.end(span)
    assert span.context == TraceContext(b"t" * 16, b"newspan!", sampled, b"k=v")
    assert span.parent_id == b"p" * 8
    assert bool(ended) is sampled


@pytest.mark.parametrize(
    ("rate", "last", "sampled"),
    [(0.0, b"\0" * 8, False), (1.0, b"\xff" * 8, True), (0.5, b"\x7f" + b"\xff" * 7, True),
     (0.5, b"\x80" + b"\0" * 7, False), (7.0, b"\xff" * 8, True)],
)  # fmt: skip
def test_a_trace_that_begins_is_sampled_by_its_id(rate, last, sampled):
    source, _ = tracer(rate, b"\1" * 8 + last)
    assert source.start("name", None, Kind.CLIENT).context.sampled is sampled
