"""The pub/sub components of one app, with what each lets the app do. Knows no broker and no API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.scopes import TopicScopes
from meshproxy.dapr.runtime import LoadedComponent, Runtime

if TYPE_CHECKING:
    from meshproxy.dapr.pubsub.broker import PubSub

_NAMESPACED: Final = "{namespace}"


class Broker:
    """One component. Topics are the app's own words; `topic` makes the broker's of them."""

    def __init__(self, loaded: LoadedComponent, runtime: Runtime) -> None:
        self.name: Final = loaded.spec.name
        self.metadata: Final = loaded.metadata
        self.component: Final = cast("PubSub", loaded.instance)
        self.scopes: Final = TopicScopes(loaded.metadata, runtime.identity.app_id)
        namespaced = any(_NAMESPACED in item.value for item in loaded.spec.metadata)
        self._prefix = runtime.identity.namespace if namespaced else ""

    def topic(self, topic: str) -> str:
        """The topic as the broker has it."""
        return self._prefix + topic


class Brokers:
    """Finds them by name."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def find(self, name: str) -> Broker | None:
        """The component of a name if it is ready."""
        loaded = self._runtime.loaded("pubsub", name)
        return None if loaded is None else Broker(loaded, self._runtime)

    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._runtime.ready("pubsub"))

    async def publish(self, name: str, request: PublishRequest) -> None:
        """Hand over a message as it is. Raises ComponentError."""
        broker = self.find(name)
        if broker is None:
            raise ComponentError(f"pubsub {name} is not found")
        await broker.component.publish(request)
