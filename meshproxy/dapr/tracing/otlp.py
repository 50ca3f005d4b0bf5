"""`ExportTraceServiceRequest`, OpenTelemetry's message of spans, written field by field.

Owns the field numbers. The generated classes stay on the floor of the configuration; what is sent
is one small message, and nothing comes back that is read.

Source: opentelemetry-proto, trace/v1/trace.proto (stable).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meshproxy import __version__
from meshproxy.dapr.tracing.span import Span
from meshproxy.proxy_wasm.wire_format import FIXED64, bytes_field, int_field, tag

_ERROR: Final = 2  # Status.STATUS_CODE_ERROR


def otlp_request(spans: Sequence[Span], service: str) -> bytes:
    """The message as bytes."""
    resource = bytes_field(1, _attribute(1, "service.name", service))
    scope = _text(1, "meshproxy") + _text(2, __version__)
    scope_spans = bytes_field(1, scope) + b"".join(bytes_field(2, _span(each)) for each in spans)
    return bytes_field(1, resource + bytes_field(2, scope_spans))


def _span(span: Span) -> bytes:
    context = span.context
    parts = [bytes_field(1, context.trace_id), bytes_field(2, context.span_id)]
    if context.state:
        parts.append(bytes_field(3, context.state))
    if span.parent_id:
        parts.append(bytes_field(4, span.parent_id))
    parts += [_text(5, span.name), int_field(6, int(span.kind))]
    parts += [_time(7, span.start), _time(8, span.end)]
    parts += [_attribute(9, name, value) for name, value in span.attributes.items()]
    if span.error:
        parts.append(bytes_field(15, _text(2, span.error) + int_field(3, _ERROR)))
    return b"".join(parts)


def _attribute(number: int, name: str, value: str) -> bytes:
    """A `KeyValue` with a text."""
    return bytes_field(number, _text(1, name) + bytes_field(2, _text(1, value)))


def _text(number: int, value: str) -> bytes:
    return bytes_field(number, value.encode("utf-8", "replace"))


def _time(number: int, nanoseconds: int) -> bytes:
    return tag(number, FIXED64) + nanoseconds.to_bytes(8, "little")
