"""`bindings.redis`: keys of Redis. Metadata: that of `redis_client.py`.

A call names its key by the metadata `key`; `ttlInSeconds` of a `create` is its time to live, and
`delete` of a `get` removes what was read.
"""

from __future__ import annotations

from meshproxy.dapr.bindings.binding import OUTPUT_BINDING, BindingData
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.message_ttl import message_ttl
from meshproxy.dapr.redis_client import RedisClient


class RedisBinding:
    """See the module."""

    features: frozenset[str] = frozenset({OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create", "delete", "get", "increment")

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._client: RedisClient | None = None

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        RedisClient(metadata, self._name)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        await self.close()
        self._client = client = RedisClient(metadata, self._name)
        await client.open()

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Do one of the operations."""
        client = self._client
        if client is None:
            raise ComponentError(f"{self._name} is closed")
        key = request.metadata.get("key", "")
        if not key:
            raise ComponentError("redis binding: missing key in request metadata")
        # Read before anything is written, so that what is refused has changed nothing.
        ttl = message_ttl(request.metadata) if operation in ("create", "increment") else None
        if operation == "create":
            seconds = None if ttl is None else int(ttl)
            await client.call(client.redis.set(key, request.data, ex=seconds or None))
            if seconds == 0:
                await client.call(client.command("EXPIRE", key, 0))
            return None
        if operation == "delete":
            await client.call(client.command("DEL", key))
            return None
        if operation == "increment":
            await client.call(client.command("INCR", key))
            if ttl is not None:
                await client.call(client.command("EXPIRE", key, int(ttl)))
            return None
        word = "GETDEL" if request.metadata.get("delete") == "true" else "GET"
        value = await client.call(client.command(word, key))
        return BindingData(value or b"")
