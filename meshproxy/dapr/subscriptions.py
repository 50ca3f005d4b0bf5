"""All subscriptions of one app: which count, when they begin, and when they end.

Owns the merge of declarative and programmatic ones and the life with the app's health. Refuses to
know files and brokers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Unsubscribe
from meshproxy.dapr.pubsub.brokers import Brokers
from meshproxy.dapr.pubsub.delivery import Delivery
from meshproxy.dapr.pubsub.programmatic import Compile, parse_subscriptions
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.sidecar import Sidecar

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

ATTEMPTS: Final = 3
"""At the app's list, and at each subscription: daprd's DaprBuiltInInitializationRetries."""
_FIRST_WAIT: Final = 0.5  # seconds


class Subscriptions:
    """Those of one sidecar; `active` are the ones that run."""

    def __init__(
        self,
        sidecar: Sidecar,
        declared: Iterable[Subscription],
        compile_rule: Compile,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sidecar = sidecar
        self._brokers = Brokers(sidecar.runtime)
        self._compile = compile_rule
        self._sleep = sleep
        app_id = sidecar.identity.app_id
        mine = [each for each in declared if not each.scopes or app_id in each.scopes]
        self._declared = _first_of_each(mine)
        self._asked: list[Subscription] | None = None
        self._lock = asyncio.Lock()
        self._ends: list[Unsubscribe] = []
        self.active: list[Subscription] = []

    async def begin(self) -> None:
        """The app is there and well: ask it once, and subscribe to everything."""
        channel = self._sidecar.channel
        if channel is None:
            return
        async with self._lock:
            if self._ends or not self._brokers.any():
                return
            if self._asked is None:
                self._asked = await self._ask()
            for subscription in _merged(self._declared, self._asked):
                await self._subscribe(subscription)

    async def end(self) -> None:
        """The app is not well, or the sidecar ends: take nothing more; what runs, ends first."""
        async with self._lock:
            ends, self._ends = self._ends, []
            self.active.clear()
            await asyncio.gather(*(end() for end in ends))

    # -- parts -------------------------------------------------------------------------------

    async def _ask(self) -> list[Subscription]:
        channel = self._sidecar.channel
        assert channel is not None
        wait = _FIRST_WAIT
        for attempt in range(ATTEMPTS + 1):
            try:
                answer = await channel.send("GET", "/dapr/subscribe")
            except ComponentError as error:
                logger.error("error getting the subscriptions of the app: %s", error)
            else:
                if answer.status == 404:
                    return []
                if answer.status == 200:
                    return self._parsed(answer.body)
                text = "app returned http status code %d from subscription endpoint"
                logger.warning(text, answer.status)
            if attempt < ATTEMPTS:
                await self._sleep(wait)
                wait *= 2
        return []

    def _parsed(self, body: bytes) -> list[Subscription]:
        try:
            return parse_subscriptions(body, self._compile)
        except ValueError as error:
            logger.error("failed reading the subscriptions of the app: %s", error)
            return []

    async def _subscribe(self, subscription: Subscription) -> None:
        broker = self._brokers.find(subscription.pubsub)
        name, topic = subscription.pubsub, subscription.topic
        if broker is None:
            logger.error("failed to subscribe to %s: pubsub %s is not found", topic, name)
            return
        if not broker.scopes.may_subscribe(topic):
            app_id = self._sidecar.identity.app_id
            text = "subscription to topic %s on pubsub %s is not allowed for app id %s"
            logger.error(text, topic, name, app_id)
            return
        channel = self._sidecar.channel
        assert channel is not None
        clock = self._sidecar.runtime.clock
        handler = Delivery(subscription, broker, self._brokers, channel, clock)
        wait = _FIRST_WAIT
        for attempt in range(ATTEMPTS + 1):
            try:
                end = await broker.component.subscribe(
                    broker.topic(topic), subscription.metadata, handler
                )
            except ComponentError as error:
                logger.error("failed to subscribe to topic %s on %s: %s", topic, name, error)
                if attempt < ATTEMPTS:
                    await self._sleep(wait)
                    wait *= 2
            else:
                self._ends.append(end)
                self.active.append(subscription)
                logger.info("app is subscribed to topic %s through pubsub=%s", topic, name)
                return


def _first_of_each(subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Of two for one topic the first counts."""
    found: dict[tuple[str, str], Subscription] = {}
    for each in subscriptions:
        if found.setdefault((each.pubsub, each.topic), each) is not each:
            text = "two declarative subscriptions to topic %s on %s: the first counts"
            logger.warning(text, each.topic, each.pubsub)
    return list(found.values())


def _merged(declared: list[Subscription], asked: list[Subscription]) -> list[Subscription]:
    """What the app asks for takes the place of what is declared for the same topic."""
    found = {(each.pubsub, each.topic): each for each in declared}
    found |= {(each.pubsub, each.topic): each for each in asked}
    return list(found.values())
