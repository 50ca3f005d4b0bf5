"""`configuration.redis`: keys of Redis as configuration, changes by keyspace notifications.

Metadata: that of `redis_client.py`. A value is `value||version`, or a value alone. The server is
told to send notifications; where it lets nobody change its configuration, they must be on. Not of a
cluster, each of whose nodes tells of its own keys alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ResponseError

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.configuration.configuration_store import (
    ConfigurationItem,
    Items,
    Unsubscribe,
    UpdateHandler,
)
from meshproxy.dapr.redis_client import RedisClient, RedisError, stop
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

SEPARATOR: Final = "||"
_SETTING: Final = "notify-keyspace-events"
_EVENTS: Final = "KA"  # of keyspaces, all kinds
_GONE: Final = frozenset({"del", "expired", "evicted", "rename_from"})
_AGAIN: Final = 1.0  # seconds until a lost connection is made again


class RedisConfigurationStore:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._client: RedisClient | None = None
        self._owners: set[TaskOwner] = set()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._read(metadata)

    def _read(self, metadata: Metadata) -> RedisClient:
        client = RedisClient(metadata, self._context.name)
        if client.clustered:
            raise ComponentError("redisType is 'cluster'; expected node")
        return client

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        await self.close()
        self._client = client = self._read(metadata)
        await client.open()

    async def close(self) -> None:
        """End every subscription and let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            for owner in tuple(self._owners):
                await stop(owner)
            await client.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Items:
        """The items of these keys, or of all."""
        client = self._open()

        async def read() -> dict[str, Any]:
            wanted = list(keys)
            if not wanted:
                wanted = [key.decode() async for key in client.redis.scan_iter(_type="string")]
            pipe = client.redis.pipeline(transaction=False)
            for key in wanted:
                pipe.get(key)
            return dict(zip(wanted, await pipe.execute(raise_on_error=False), strict=True))

        items: dict[str, ConfigurationItem] = {}
        for key, answer in (await client.repeat(read)).items():
            if isinstance(answer, ResponseError):
                logger.warning("%s: the key %s is passed over: %s", self._name, key, answer)
            elif isinstance(answer, RedisError):
                raise ComponentError(f"redis: {answer}") from answer
            elif answer:
                value, _, version = answer.decode("utf-8", "replace").partition(SEPARATOR)
                items[key] = ConfigurationItem(value, version.partition(SEPARATOR)[0])
        return items

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> Unsubscribe:
        """Tell of changes from now on."""
        await self._ask_for_events()
        prefix = f"__keyspace@{self._open().database}__:"
        channel = await self._listen(keys, prefix)
        owner = TaskOwner()
        tell = self._tell(channel, keys, prefix, handler)
        spawn(owner, tell, f"{self._name} subscription")
        self._owners.add(owner)

        async def unsubscribe() -> None:
            self._owners.discard(owner)
            await stop(owner)

        return unsubscribe

    # -- parts -------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._context.name

    async def _ask_for_events(self) -> None:
        redis = self._open().redis
        try:
            current = (await redis.config_get(_SETTING)).get(_SETTING) or ""
            missing = "".join(event for event in _EVENTS if event not in current)
            if missing:
                await redis.config_set(_SETTING, current + missing)
        except ResponseError as error:
            logger.warning("%s: keyspace notifications cannot be turned on: %s", self._name, error)
        except RedisError as error:
            raise ComponentError(f"redis: {error}") from error

    async def _listen(self, keys: Sequence[str], prefix: str) -> Any:
        """A connection that the server has confirmed every key on."""
        channel: Any = self._open().redis.pubsub()
        try:
            if keys:
                await channel.subscribe(*(prefix + key for key in keys))
            else:
                await channel.psubscribe(prefix + "*")
            for _ in keys or ("*",):
                await channel.get_message(timeout=None)
        except RedisError as error:
            await channel.aclose()
            raise ComponentError(f"redis: {error}") from error
        return channel

    async def _tell(
        self, channel: Any, keys: Sequence[str], prefix: str, handler: UpdateHandler
    ) -> None:
        while True:
            try:
                await self._tell_from(channel, prefix, handler)
            except (RedisError, ComponentError) as error:
                logger.error("%s: the subscription is made again: %s", self._name, error)
            finally:
                await channel.aclose()
            channel = await self._listen_again(keys, prefix)

    async def _listen_again(self, keys: Sequence[str], prefix: str) -> Any:
        while True:
            await asyncio.sleep(_AGAIN)
            with suppress(ComponentError):
                await self._ask_for_events()  # of a server that may be another one
                return await self._listen(keys, prefix)

    async def _tell_from(self, channel: Any, prefix: str, handler: UpdateHandler) -> None:
        while True:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None:
                continue
            key = message["channel"].decode("utf-8", "replace").removeprefix(prefix)
            if message["data"].decode() in _GONE:
                items: Items = {key: ConfigurationItem("")}
            else:
                items = await self.get([key], {})
            if items:
                try:
                    await handler(items)
                except ComponentError as error:
                    logger.error("%s: the change of %s was not taken: %s", self._name, key, error)

    def _open(self) -> RedisClient:
        if self._client is None:
            raise ComponentError(f"{self._name} is closed")
        return self._client
