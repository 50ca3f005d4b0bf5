"""All subscriptions of one app: which count, when they begin, and when they end.

Owns the merge of declarative and programmatic ones, and their life with the app's health, with
their components and with resources that change. Refuses to know files and brokers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.at_once import with_bulk
from meshproxy.dapr.pubsub.broker import Unsubscribe
from meshproxy.dapr.pubsub.brokers import Brokers
from meshproxy.dapr.pubsub.bulk import BulkDelivery
from meshproxy.dapr.pubsub.delivery import Delivery
from meshproxy.dapr.pubsub.programmatic import Compile
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.resiliency import INITIALIZATION_RETRIES
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.component import Component
    from meshproxy.dapr.runtime import LoadedComponent

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

ATTEMPTS: Final = 3
"""At the app's list, and at each subscription: daprd's DaprBuiltInInitializationRetries."""
_FIRST_WAIT: Final = 0.5  # seconds


Topic = tuple[str, str]
"""The names of a pub/sub component and of a topic: one subscription of an app is for it."""


@dataclass(frozen=True, slots=True)
class _Active:
    """A subscription that runs at a component, and how it ends."""

    subscription: Subscription
    component: Component
    end: Unsubscribe


class Subscriptions:
    """Those of one sidecar; `active` shows the ones that run. An observer of the runtime."""

    def __init__(
        self,
        sidecar: Sidecar,
        declared: Iterable[Subscription],
        compile_rule: Compile,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        *,
        ask: bool = True,
    ) -> None:
        """`ask`: the app is asked for its own ones too."""
        self._sidecar = sidecar
        self._brokers = Brokers(sidecar.runtime)
        self._compile = compile_rule
        self._sleep = sleep
        self._declared = self._mine(declared)
        self._asked: list[Subscription] | None = None if ask else []
        self._lock = asyncio.Lock()
        self._app_is_well = False
        self._active: dict[Topic, _Active] = {}
        sidecar.runtime.observers.append(self)

    @property
    def active(self) -> list[Subscription]:
        """Those that run, in the order in which they began."""
        return [each.subscription for each in self._active.values()]

    @property
    def known(self) -> list[Subscription]:
        """Those that the resources and the app name, whether they run or not."""
        return _merged(self._declared, self._asked or [])

    async def begin(self) -> None:
        """The app is there and well: ask it once, and subscribe to everything."""
        async with self._lock:
            self._app_is_well = True
            await self._follow()

    async def end(self) -> None:
        """The app is not well, or the sidecar ends: take nothing more; what runs, ends first."""
        async with self._lock:
            self._app_is_well = False
            await self._end(self._active)

    async def declare(self, declared: Iterable[Subscription]) -> None:
        """Other resources: those that are the same run on, the rest ends or begins."""
        async with self._lock:
            self._declared = self._mine(declared)
            await self._follow()

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """Subscribe at a component that has come late, or come back."""
        if loaded.spec.category == "pubsub":
            async with self._lock:
                await self._follow()

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """End what runs at it."""
        async with self._lock:
            gone = [
                topic for topic, each in self._active.items() if each.component is loaded.instance
            ]
            await self._end(gone)

    # -- parts -------------------------------------------------------------------------------

    def _mine(self, declared: Iterable[Subscription]) -> list[Subscription]:
        app_id = self._sidecar.identity.app_id
        return _first_of_each(each for each in declared if not each.scopes or app_id in each.scopes)

    async def _follow(self) -> None:
        """End what is no longer wanted and begin what is not there yet, while the app is well."""
        if self._sidecar.channel is None or not self._app_is_well or not self._brokers.any():
            return
        if self._asked is None:
            self._asked = await self._ask()
        wanted = {_topic(each): each for each in _merged(self._declared, self._asked)}
        await self._end(
            [
                topic
                for topic, each in self._active.items()
                if wanted.get(topic) != each.subscription
            ]
        )
        missing = [each for topic, each in wanted.items() if topic not in self._active]
        failed = [each for each in missing if not await self._subscribe(each)]
        # Side by side: a broker that is away keeps no other one waiting.
        await asyncio.gather(*(self._subscribe_again(each) for each in failed))

    async def _end(self, topics: Iterable[Topic]) -> None:
        ends = [self._active.pop(topic).end for topic in list(topics)]
        await asyncio.gather(*(end() for end in ends))

    async def _ask(self) -> list[Subscription]:
        """What the app says; nothing where it cannot be asked, after the built-in retries."""
        channel = self._sidecar.channel
        assert channel is not None

        async def ask() -> list[Subscription]:
            try:
                return await channel.list_topic_subscriptions(self._compile)
            except ComponentError as error:
                logger.error("error getting the subscriptions of the app: %s", error)
                raise

        try:
            return await self._sidecar.resiliency.built_in(INITIALIZATION_RETRIES).run(ask)
        except ComponentError:
            return []

    async def _subscribe_again(self, subscription: Subscription) -> None:
        wait = _FIRST_WAIT
        for _ in range(ATTEMPTS):
            await self._sleep(wait)
            if await self._subscribe(subscription):
                return
            wait *= 2

    async def _subscribe(self, subscription: Subscription) -> bool:
        """False: another attempt may have more luck."""
        broker = self._brokers.find(subscription.pubsub)
        name, topic = subscription.pubsub, subscription.topic
        if broker is None:
            logger.error("failed to subscribe to %s: pubsub %s is not found", topic, name)
            return True
        if not broker.scopes.may_subscribe(topic):
            app_id = self._sidecar.identity.app_id
            text = "subscription to topic %s on pubsub %s is not allowed for app id %s"
            logger.error(text, topic, name, app_id)
            return True
        kind = Delivery if subscription.bulk is None else BulkDelivery
        handler = kind(subscription, broker, self._brokers, self._sidecar)
        metadata = with_bulk(subscription.metadata, subscription.bulk)
        try:
            end = await broker.component.subscribe(broker.topic(topic), metadata, handler)
        except ComponentError as error:
            logger.error("failed to subscribe to topic %s on %s: %s", topic, name, error)
            return False
        self._active[_topic(subscription)] = _Active(subscription, broker.component, end)
        logger.info("app is subscribed to topic %s through pubsub=%s", topic, name)
        return True


def _topic(subscription: Subscription) -> Topic:
    return subscription.pubsub, subscription.topic


def _first_of_each(subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Of two for one topic the first counts."""
    found: dict[Topic, Subscription] = {}
    for each in subscriptions:
        if found.setdefault(_topic(each), each) is not each:
            text = "two declarative subscriptions to topic %s on %s: the first counts"
            logger.warning(text, each.topic, each.pubsub)
    return list(found.values())


def _merged(declared: list[Subscription], asked: list[Subscription]) -> list[Subscription]:
    """What the app asks for takes the place of what is declared for the same topic."""
    return list({_topic(each): each for each in (*declared, *asked)}.values())
