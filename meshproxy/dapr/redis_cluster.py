"""A client of a Redis Cluster, as the components use one of a single server. Knows no component.

Nothing is sent twice but what was not done (a slot that has moved, or is moving); whether a command
whose answer was lost is repeated is for its caller to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, RedisClusterException, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

Address = tuple[str, int]
NOT_WHOLE: Final = (RedisClusterException, ClusterDownError, TryAgainError, AttributeError)
"""What the package raises where a node is missing, beside redis' errors. AttributeError: another
call has found nodes anew, and with that closed the connection that this one was making.
"""
_NO_BOUND: Final = 2**31
"""Connections to a node: whoever calls has a bound of its own, which makes others wait."""


class Cluster(RedisCluster):
    """Found by any of its nodes. That it is not there, or not whole, is redis' ConnectionError."""

    def __init__(self, addresses: Sequence[Address], options: dict[str, Any]) -> None:
        """`options` are of connections, without where to."""
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in addresses],
            require_full_coverage=False,
            reinitialize_steps=0,  # never close what others use because slots have moved
            max_connections=_NO_BOUND,
            **{**options, "db": 0, "retry": Retry(NoBackoff(), 0)},
        )

    async def initialize(self, *arguments: Any, **options: Any) -> Any:
        """Find the nodes."""
        try:
            return await super().initialize(*arguments, **options)
        except (RedisClusterException, OSError) as error:
            raise RedisConnectionError(str(error)) from error

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """One command, on the node that has its key."""
        try:
            return await super().execute_command(*words, **options)
        except NOT_WHOLE as error:
            raise RedisConnectionError(str(error)) from error

    async def _determine_slot(self, command: str, *words: Any) -> int:
        """As the package, which asks one node for ever where the key of this command is: when that
        node is gone, it asks in vain.
        """
        if command == "XREADGROUP":
            at = next(place for place, word in enumerate(words) if word in ("STREAMS", b"STREAMS"))
            return self.keyslot(words[at + 1])
        return await super()._determine_slot(command, *words)

    async def aclose(self, close_connection_pool: bool = False) -> None:
        """Let go of the connections, where it is asked for.

        The package itself calls this, without asking, to find the nodes anew: it would close the
        connections of calls that run.
        """
        if close_connection_pool:
            await super().aclose()
        else:
            self._initialize = True

    def groups(self, keys: Sequence[str]) -> list[list[int]]:
        """The places of the keys that are in one slot each, in their order."""
        found: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            found.setdefault(self.keyslot(key), []).append(place)
        return list(found.values())

    async def and_wait(self, key: str, command: Sequence[Any], longest: int) -> Any:
        """A command on a key, and then WAIT for the replicas of its node, `longest` milliseconds.

        WAIT is about its own connection, so both go there.
        """
        await self.initialize()
        try:
            return await self._waited(key, command, longest)
        except MovedError:
            # It was not done. A command of the package's own learns where the slot is now.
            await self.execute_command("EXISTS", key)
            return await self._waited(key, command, longest)

    async def _waited(self, key: str, command: Sequence[Any], longest: int) -> Any:
        primary, *replicas = self.nodes_manager.slots_cache[self.keyslot(key)]
        connection: Any = primary.acquire_connection()
        try:
            await connection.connect()
            await connection.send_command(*command)
            answer = await connection.read_response()
            if replicas:
                await connection.send_command("WAIT", len(replicas), longest)
                await connection.read_response()
            return answer
        except BaseException:
            await connection.disconnect(nowait=True)  # an answer may be on its way
            self._initialize = True  # as the package does: the next command finds the nodes anew
            raise
        finally:
            primary.release(connection)
