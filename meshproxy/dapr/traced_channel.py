"""The app, and a span for everything it is told: messages and events of bindings.

Owns the spans' names, which are daprd's. The app gets the span as parent; where the message comes
with a trace, the span is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.tracing.context import TraceContext, from_parent
from meshproxy.dapr.tracing.span import Kind, Span, Tracer
from meshproxy.dapr.wrapped_channel import WrappedChannel

if TYPE_CHECKING:
    from meshproxy.dapr.app_channel import (
        AppChannel,
        BindingAnswer,
        BindingEvent,
        BulkTopicEvent,
        TopicEvent,
    )

_PARENT = "traceparent"
_STATE = "tracestate"


class TracedChannel(WrappedChannel):
    """The app."""

    def __init__(self, inner: AppChannel, tracer: Tracer) -> None:
        super().__init__(inner)
        self._tracer = tracer

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message."""
        with self._span(f"pubsub/{event.topic}", event.event) as span:
            span.attributes = {
                "messaging.system": "pubsub",
                "messaging.destination": event.topic,
                "messaging.destination_kind": "topic",
            }
            # Only what the app's headers are made of: the message stays as it was published.
            told = replace(event, event={**event.event, **_headers(span.context)})
            return await self._inner.on_topic_event(told)

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """Tell of several: one span, in no message's trace."""
        with self._span(f"pubsub/{event.topic}", {}):
            return await self._inner.on_bulk_topic_event(event)

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """Tell of what a binding has read."""
        with self._span(f"bindings/{event.name}", event.metadata) as span:
            told = replace(event, metadata={**event.metadata, **_headers(span.context)})
            return await self._inner.on_binding_event(told)

    @contextmanager
    def _span(self, name: str, carrier: Mapping[str, object]) -> Iterator[Span]:
        """What is done under it; `carrier` may name the trace that it is in."""
        span = self._tracer.start(name, _parent(carrier), Kind.CLIENT)
        error = "cancelled"
        try:
            yield span
            error = ""
        except ComponentError as failure:
            error = str(failure)
            raise
        finally:
            self._tracer.end(span, error)


def _parent(carrier: Mapping[str, object]) -> TraceContext | None:
    value, state = carrier.get(_PARENT), carrier.get(_STATE)
    if not isinstance(value, str):
        return None
    text = state if isinstance(state, str) else ""
    return from_parent(value.encode(), text.encode())


def _headers(context: TraceContext) -> dict[str, str]:
    found = {_PARENT: context.parent_header.decode()}
    if context.state:
        found[_STATE] = context.state.decode("latin-1")
    return found
