"""Spans, and the one who starts and ends them. Knows no header and no exporter.

Owns sampling, which is decided where a trace begins: whoever comes with a parent follows it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from meshproxy.dapr.tracing.context import TraceContext

_HALF: Final = 1 << 63


class Kind(IntEnum):
    """OpenTelemetry's `SpanKind`, by its numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(slots=True)
class Span:
    """One piece of work. Times are nanoseconds since 1970, `end` 0 while it runs.

    `parent_id` is empty where the trace begins here. `error` is why it failed, empty where it did
    not.
    """

    context: TraceContext
    name: str
    kind: Kind
    start: int
    parent_id: bytes = b""
    end: int = 0
    error: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


Export = Callable[[Span], None]
"""Takes a span that has ended; never waits."""


class Tracer:
    """Starts spans and hands those that are sampled on. `rate` is the part of traces, 0 to 1."""

    def __init__(
        self,
        rate: float,
        export: Export,
        now: Callable[[], int] = time.time_ns,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._bound: Final = int(min(max(rate, 0.0), 1.0) * _HALF)
        self._export = export
        self._now = now
        self._random = random

    def start(self, name: str, parent: TraceContext | None, kind: Kind) -> Span:
        """A span that begins now, in the trace of `parent` or in one of its own."""
        span_id = self._random(8)
        if parent is None:
            trace_id = self._random(16)
            context = TraceContext(trace_id, span_id, self._samples(trace_id))
            return Span(context, name, kind, self._now())
        context = TraceContext(parent.trace_id, span_id, parent.sampled, parent.state)
        return Span(context, name, kind, self._now(), parent.span_id)

    def end(self, span: Span, error: str = "", attributes: Mapping[str, str] | None = None) -> None:
        """It ends now."""
        if not span.context.sampled:
            return
        span.end, span.error = self._now(), error
        span.attributes.update(attributes or {})
        self._export(span)

    def _samples(self, trace_id: bytes) -> bool:
        """As OpenTelemetry's TraceIDRatioBased: every sampler of one rate decides the same."""
        return int.from_bytes(trace_id[8:], "big") >> 1 < self._bound
