"""An app channel around another one: whoever does more for some calls derives from it.

Owns passing on. See `AppChannel` for what every call means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

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


class WrappedChannel:
    """The app, told and asked what `inner` is."""

    def __init__(self, inner: AppChannel) -> None:
        self._inner = inner

    @property
    def slots(self) -> Slots | None:
        """The places at the app."""
        return self._inner.slots

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call of a path."""
        return await self._inner.send(method, path, body, headers)

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """What the app wants to hear."""
        return await self._inner.list_topic_subscriptions(compile_rule)

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message."""
        return await self._inner.on_topic_event(event)

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """Tell of several."""
        return await self._inner.on_bulk_topic_event(event)

    async def has_input_binding(self, name: str, path: str) -> bool:
        """Whether the app takes the events of a binding."""
        return await self._inner.has_input_binding(name, path)

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """Tell of what a binding has read."""
        return await self._inner.on_binding_event(event)

    async def is_well(self, path: str) -> bool:
        """One look at its health."""
        return await self._inner.is_well(path)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._inner.close()
