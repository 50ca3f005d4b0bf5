"""The app, and a span for everything it is told: messages and events of bindings.

Owns the spans' names, which are daprd's. The app gets the span as parent; where the message comes
with a trace, the span is in it. See `AppChannel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.tracing.context import TraceContext, from_parent
from meshproxy.dapr.tracing.span import Kind, Span, Tracer

if TYPE_CHECKING:
    from meshproxy.dapr.app_channel import (
        AppAnswer,
        AppChannel,
        BindingAnswer,
        BindingEvent,
        BulkTopicEvent,
        TopicEvent,
    )
    from meshproxy.dapr.concurrency import Slots
    from meshproxy.dapr.pubsub.subscription import Match, Subscription

_PARENT = "traceparent"
_STATE = "tracestate"


class TracedChannel:
    """The app."""

    def __init__(self, inner: AppChannel, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    @property
    def slots(self) -> Slots | None:
        """The places at the app."""
        return self._inner.slots

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call of a path; nothing that is traced."""
        return await self._inner.send(method, path, body, headers)

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """What the app wants to hear; nothing that is traced."""
        return await self._inner.list_topic_subscriptions(compile_rule)

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message."""
        span = self._start(f"pubsub/{event.topic}", event.event)
        span.attributes = {
            "messaging.system": "pubsub",
            "messaging.destination": event.topic,
            "messaging.destination_kind": "topic",
        }
        # Only what the app's headers are made of: the message itself stays as it was published.
        told = replace(event, event={**event.event, **_headers(span.context)})
        error = "cancelled"
        try:
            verdict = await self._inner.on_topic_event(told)
            error = ""
        except ComponentError as failure:
            error = str(failure)
            raise
        finally:
            self._tracer.end(span, error)
        return verdict

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """Tell of several: one span, in no message's trace."""
        span = self._start(f"pubsub/{event.topic}", {})
        error = "cancelled"
        try:
            verdicts = await self._inner.on_bulk_topic_event(event)
            error = ""
        except ComponentError as failure:
            error = str(failure)
            raise
        finally:
            self._tracer.end(span, error)
        return verdicts

    async def has_input_binding(self, name: str, path: str) -> bool:
        """Whether the app takes the events of a binding; nothing that is traced."""
        return await self._inner.has_input_binding(name, path)

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """Tell of what a binding has read."""
        span = self._start(f"bindings/{event.name}", event.metadata)
        told = replace(event, metadata={**event.metadata, **_headers(span.context)})
        error = "cancelled"
        try:
            answer = await self._inner.on_binding_event(told)
            error = ""
        except ComponentError as failure:
            error = str(failure)
            raise
        finally:
            self._tracer.end(span, error)
        return answer

    async def is_well(self, path: str) -> bool:
        """One look at its health; never traced."""
        return await self._inner.is_well(path)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._inner.close()

    def _start(self, name: str, carrier: Mapping[str, object]) -> Span:
        return self._tracer.start(name, _parent(carrier), Kind.CLIENT)


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
