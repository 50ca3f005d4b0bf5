"""Trace context in its headers."""

import pytest

from meshproxy.dapr.tracing.context import (
    MAX_BAGGAGE,
    MAX_TRACESTATE,
    TraceContext,
    from_binary,
    from_parent,
    is_baggage,
)

TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))
PARENT = b"00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"


def test_what_is_written_is_read():
    context = TraceContext(TRACE, SPAN, True, b"a=b")
    assert context.parent_header == PARENT
    assert from_parent(PARENT, b"a=b") == context
    assert from_binary(context.binary_header) == TraceContext(TRACE, SPAN, True)
    unsampled = TraceContext(TRACE, SPAN, False)
    assert from_parent(unsampled.parent_header) == unsampled
    assert from_binary(unsampled.binary_header) == unsampled


def test_a_later_version_may_say_more():
    assert from_parent(b"01" + PARENT[2:] + b"-more") == TraceContext(TRACE, SPAN, True)
    assert from_parent(PARENT[:-2] + b"fe") == TraceContext(TRACE, SPAN, False)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-" + b"0" * 32 + b"-0102030405060708-01",
        b"00-0102030405060708090a0b0c0d0e0f10-" + b"0" * 16 + b"-01",
        PARENT + b"-more",
        b"ff" + PARENT[2:],
        PARENT.upper().replace(b"0A", b"0A"),
        PARENT[:-1],
        b"x" + PARENT,
    ],
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(value):
    assert from_parent(value) is None


@pytest.mark.parametrize("value", [b"", b"!!", b"AAAA", b"A" * 39, b"/" * 39])
def test_what_is_no_binary_context_is_none(value):
    assert from_binary(value) is None


def test_a_long_tracestate_is_dropped():
    found = from_parent(PARENT, b"a" * (MAX_TRACESTATE + 1))
    assert found is not None
    assert found.state == b""


@pytest.mark.parametrize(
    "value", [b"a=b", b"a=", b"a=b,c=d", b" a = b ; p=1 ; q , c=%20d", b"a=" + b"x" * 8000]
)
def test_baggage_is_known(value):
    assert is_baggage(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"a", b"=b", b"a=b,", b"a=b c", b'a="b"', b"a b=c", b"a=b;=c", b"a=\xc3\xa9",
     b"a=" + b"x" * MAX_BAGGAGE],
)  # fmt: skip
def test_what_is_no_baggage_is_known_too(value):
    assert not is_baggage(value)
