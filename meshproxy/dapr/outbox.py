"""The transactional outbox: what a transaction writes is published too, both or neither.

Owns the way of a message. Before the transaction it goes to an internal topic; the transaction
writes a marker beside the app's own keys; whoever takes the message from the internal topic waits
for the marker, publishes it, and removes the marker. Refuses to know protocols.

As in daprd, whose words the metadata are: `outboxPublishPubsub`, `outboxPublishTopic`,
`outboxPubsub` (the broker of the internal topic; by default the first), and
`outboxDiscardWhenMissingState`. Source: daprd v1.18, `pkg/runtime/pubsub/outbox.go`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from meshproxy.dapr.cloud_event import CLOUD_EVENT, NotAnEvent, Origin, Trace, envelope, is_json
from meshproxy.dapr.component import ComponentError, is_truthy
from meshproxy.dapr.pubsub.broker import Message, PublishRequest, Unsubscribe
from meshproxy.dapr.pubsub.brokers import Broker, Brokers
from meshproxy.dapr.state.items import DeleteItem, SaveItem
from meshproxy.dapr.state.outbox_settings import OutboxSettings, outbox_of
from meshproxy.dapr.state.store import DeleteRequest, GetRequest, SetRequest

if TYPE_CHECKING:
    from meshproxy.dapr.runtime import LoadedComponent, Runtime
    from meshproxy.dapr.state.store import StateStore

logger: Final = logging.getLogger("meshproxy.dapr.outbox")

PROJECTION: Final = "outbox.projection"
_WAITS: Final = (0.05, 0.2, 0.75, 0.5, 1.5, 3.0, 3.0, 2.0)
"""Seconds between two looks for a marker: 11 together, as in daprd, which first looks after 1."""
_KEPT: Final = ("data", "data_base64", "id")
"""What the metadata of an operation cannot change in its event."""
_GIVEN_UP: Final = 1024


class Outbox:
    """That of one state store."""

    def __init__(
        self,
        settings: OutboxSettings,
        loaded: LoadedComponent,
        runtime: Runtime,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._settings = settings
        self.pubsub: Final = settings.pubsub
        self._store = cast("StateStore", loaded.instance)
        self._runtime = runtime
        self._brokers = Brokers(runtime)
        self._sleep = sleep
        identity = runtime.identity
        # The topic between has the name that daprd gives it.
        # daprd has a namespace also where the environment gives none.
        space = identity.namespace or "default"
        self._topic = f"{space}{identity.app_id}{settings.publish_topic}outbox"
        self._end: Unsubscribe | None = None
        self._lock = asyncio.Lock()
        self._given_up: OrderedDict[str, None] = OrderedDict()

    # -- before the transaction --------------------------------------------------------------

    async def announce(
        self, items: Sequence[SaveItem | DeleteItem], trace: Trace
    ) -> tuple[list[SaveItem | DeleteItem], list[SetRequest]]:
        """Hand a message for each write to the internal topic.

        Returns the operations that are left for the store (those that are only there to be
        published instead of another are not) and the markers that go with them. Raises
        ComponentError.
        """
        settings = self._settings
        await self.begin()
        target = self._find(settings.publish_pubsub)
        if not target.scopes.may_publish(settings.publish_topic):
            raise ComponentError(
                f"topic {settings.publish_topic} is not allowed for app id "
                f"{self._runtime.identity.app_id}"
            )
        projections: dict[str, SaveItem] = {}
        left: list[SaveItem | DeleteItem] = []
        for item in items:
            if isinstance(item, SaveItem) and is_truthy(item.metadata.get(PROJECTION, "")):
                projections[item.key] = item
            else:
                left.append(item)
        markers: list[SetRequest] = []
        broker = self._find(settings.pubsub)
        for item in left:
            if isinstance(item, SaveItem):
                marker = f"outbox-{uuid.uuid4()}"
                event = self._event(marker, item, projections.get(item.key, item), trace)
                topic = broker.topic(self._topic)
                request = PublishRequest(topic, orjson.dumps(event), CLOUD_EVENT)
                await broker.component.publish(request)
                markers.append(SetRequest(marker, b'"0"'))
        return left, markers

    def give_up(self, markers: Sequence[SetRequest]) -> None:
        """The transaction has surely not happened: nobody needs to wait for these."""
        for marker in markers:
            self._given_up[marker.key] = None
        while len(self._given_up) > _GIVEN_UP:
            self._given_up.popitem(last=False)

    def _event(self, marker: str, item: SaveItem, shown: SaveItem, trace: Trace) -> dict[str, Any]:
        """`item` is what is written, `shown` what is told of it."""
        content_type = shown.metadata.get("contentType", "")
        data = shown.value
        if not shown.binary and not is_json(content_type):
            value = orjson.loads(data)
            data = value.encode() if isinstance(value, str) else data
        now, app = self._runtime.clock(), self._runtime.identity.app_id
        origin = Origin(app, self._settings.pubsub, "", now, trace.parent, trace.state)
        try:
            event = envelope(data, content_type, origin)
        except NotAnEvent as error:
            raise ComponentError(str(error)) from None
        event |= {name: text for name, text in item.metadata.items() if name not in _KEPT}
        return {**event, "id": marker}

    # -- after it ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Take messages from the internal topic. Raises ComponentError; nothing if it does so."""
        async with self._lock:
            if self._end is None:
                broker = self._find(self._settings.pubsub)
                topic = broker.topic(self._topic)
                self._end = await broker.component.subscribe(topic, {}, self._relay)

    async def end(self) -> None:
        """Take no more."""
        async with self._lock:
            end, self._end = self._end, None
            if end is not None:
                await end()

    async def _relay(self, message: Message) -> None:
        """One message, from the internal topic to that of the app."""
        settings = self._settings
        try:
            # Not orjson: here no number may lose a digit.
            event = json.loads(message.data)
            marker, content_type = event["id"], event.get("datacontenttype") or ""
        except (ValueError, TypeError, LookupError) as error:
            logger.error("a message of the outbox is dropped, as it is no event: %s", error)
            return
        reason = await self._wait_for(marker)
        if reason:
            verdict = "discarding message" if settings.discard else "rejecting for later processing"
            text = "failed to publish outbox topic to pubsub %s: %s, %s"
            logger.error(text, settings.publish_pubsub, reason, verdict)
            if settings.discard:
                return
            raise ComponentError(reason)
        if marker in self._given_up:
            del self._given_up[marker]
            return
        event |= {"topic": settings.publish_topic, "pubsubname": settings.publish_pubsub}
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        broker = self._find(settings.publish_pubsub)
        topic = broker.topic(settings.publish_topic)
        await broker.component.publish(PublishRequest(topic, data, content_type or CLOUD_EVENT))
        await self._store.delete(DeleteRequest(marker))

    async def _wait_for(self, marker: str) -> str:
        """Why there is no marker, nothing where there is one or nobody expects one."""
        topic, pubsub = self._settings.publish_topic, self._settings.publish_pubsub
        reason = ""
        for wait in (*_WAITS, 0.0):
            if marker in self._given_up:
                return ""
            try:
                if await self._store.get(GetRequest(marker)) is not None:
                    return ""
                reason = f"cannot publish outbox message to topic {topic} with pubsub {pubsub}: "
                reason += "outbox state not found"
            except ComponentError as error:
                reason = str(error)
            if wait:
                await self._sleep(wait)
        return reason

    def _find(self, name: str) -> Broker:
        broker = self._brokers.find(name)
        if broker is None:
            raise ComponentError(f"pubsub {name} is not found")
        return broker


class Outboxes:
    """Those of all state stores of one app; an Observer of the runtime."""

    def __init__(
        self, runtime: Runtime, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._runtime = runtime
        self._sleep = sleep
        self._made: dict[str, Outbox] = {}
        runtime.observers.append(self)

    def of(self, name: str) -> Outbox | None:
        """The outbox of a state store that is ready, None where it has none."""
        return self._made.get(name)

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """Take up what was left when the sidecar, or the component, ended."""
        name = loaded.spec.name
        if loaded.spec.category == "state":
            settings = outbox_of(loaded.metadata)
            if settings is not None:
                outbox = Outbox(settings, loaded, self._runtime, self._sleep)
                self._made[name] = outbox
                # Components start side by side: its broker may not be there yet.
                if self._runtime.loaded("pubsub", outbox.pubsub) is not None:
                    await _begin(outbox)
        elif loaded.spec.category == "pubsub":
            for outbox in self._by(name):
                await _begin(outbox)

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """Take no more for a store, or from a broker, that goes."""
        name = loaded.spec.name
        if loaded.spec.category == "state" and name in self._made:
            await self._made.pop(name).end()
        elif loaded.spec.category == "pubsub":
            for outbox in self._by(name):
                await outbox.end()

    async def end(self) -> None:
        """Take no more."""
        for outbox in self._made.values():
            await outbox.end()

    def _by(self, pubsub: str) -> list[Outbox]:
        return [each for each in self._made.values() if each.pubsub == pubsub]


async def _begin(outbox: Outbox) -> None:
    try:
        await outbox.begin()
    except ComponentError as error:
        logger.warning("could not subscribe to internal outbox topic: %s", error)
