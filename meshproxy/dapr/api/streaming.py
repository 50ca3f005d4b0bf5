"""Streaming subscriptions: those that last as long as a call of the app. Knows no protocol.

Owns which there are, and their end with the component or the sidecar. They are besides all others
of the same topic, and do not ask whether the app is well: who calls, is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.dapr.api import pubsub_errors
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Unsubscribe
from meshproxy.dapr.pubsub.brokers import Brokers
from meshproxy.dapr.pubsub.delivery import Delivery, Taker
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.component import Component
    from meshproxy.dapr.runtime import LoadedComponent

logger: Final = logging.getLogger("meshproxy.dapr.runtime")


class Client(Taker, Protocol):
    """Whoever is subscribed."""

    def refuse(self, reason: str) -> None:
        """End the call: the subscription cannot go on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Active:
    subscription: Subscription
    component: Component
    client: Client
    end: Unsubscribe


class StreamingApi:
    """SubscribeTopicEventsAlpha1. An observer of the runtime."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._brokers = Brokers(sidecar.runtime)
        self._active: dict[int, _Active] = {}
        self._closed = False
        sidecar.runtime.observers.append(self)

    async def subscribe(
        self, subscription: Subscription, client: Client
    ) -> Callable[[], Awaitable[None]]:
        """Deliver the messages of a topic to the client, until the result is called."""
        name, topic = subscription.pubsub, subscription.topic
        broker = self._brokers.find(name)
        if self._closed:
            raise ApiError("ERR_PUBSUB_CLOSING", "the sidecar ends", 503, Grpc.UNAVAILABLE)
        if broker is None:
            raise pubsub_errors.not_found(name, None)
        if not broker.scopes.may_subscribe(topic):
            text = f"failed to create subscription for {name}: "
            text += f"subscription to topic '{topic}' on pubsub '{name}' is not allowed"
            raise ApiError("ERR_PUBSUB_FORBIDDEN", text, 403, Grpc.PERMISSION_DENIED)
        handler = Delivery(subscription, broker, self._brokers, self._sidecar, client)
        try:
            end = await broker.component.subscribe(
                broker.topic(topic), subscription.metadata, handler
            )
        except ComponentError as error:
            text = f"failed to subscribe to topic {topic} on {name}: {error}"
            raise ApiError("ERR_PUBSUB_SUBSCRIBE", text) from error
        active = _Active(subscription, broker.component, client, end)
        self._active[id(active)] = active
        logger.info("a stream is subscribed to topic %s through pubsub=%s", topic, name)

        async def finish() -> None:
            if self._active.pop(id(active), None) is not None:
                await end()

        return finish

    def shown(self) -> list[dict[str, Any]]:
        """Those that run, as `GET /v1.0/metadata` has them."""
        return [each.subscription.shown() for each in self._active.values()]

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """Nobody waits for one."""

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """End what runs at it."""
        for key, each in list(self._active.items()):
            if each.component is loaded.instance:
                each.client.refuse(f"pubsub {loaded.spec.name} is closing")
                self._active.pop(key, None)
                await each.end()

    def close(self) -> None:
        """The sidecar ends."""
        self._closed = True
        for each in list(self._active.values()):
            each.client.refuse("the sidecar ends")
