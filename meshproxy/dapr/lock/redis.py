"""`lock.redis`: a key for each lock, its value the owner, as daprd has it.

Metadata: that of `redis_client.py`, without clusters, as in daprd.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.lock.lock_store import UnlockStatus
from meshproxy.dapr.redis_client import RedisClient

_UNLOCK: Final = """
local owner = redis.call('GET', KEYS[1])
if not owner then return 1 end
if owner ~= ARGV[1] then return 2 end
redis.call('DEL', KEYS[1])
return 0
"""
"""Answers the numbers of UnlockStatus. Looking and removing is one atomic step."""


class RedisLock:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._client: RedisClient | None = None
        self._unlock: Any = None

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._read(metadata)

    def _read(self, metadata: Metadata) -> RedisClient:
        client = RedisClient(metadata, self._name)
        if client.clustered:
            raise ComponentError("this component does not support connecting to Redis Cluster")
        return client

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        await self.close()
        self._client = client = self._read(metadata)
        await client.open()
        self._unlock = client.redis.register_script(_UNLOCK)

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def try_lock(self, resource: str, owner: str, expiry: int) -> bool:
        """Take the lock for `expiry` seconds."""
        client = self._open()
        # Not repeated: where an answer was lost, the second attempt would meet our own lock.
        taken = await client.call(client.redis.set(resource, owner, nx=True, px=expiry * 1000))
        return bool(taken)

    async def unlock(self, resource: str, owner: str) -> UnlockStatus:
        """Give it back."""
        client = self._open()
        return UnlockStatus(await client.call(self._unlock(keys=[resource], args=[owner])))

    def _open(self) -> RedisClient:
        if self._client is None:
            raise ComponentError(f"{self._name} is closed")
        return self._client
