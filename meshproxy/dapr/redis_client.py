"""A connection to Redis by the metadata that every Redis component has. Knows no component.

Owns Dapr's names and defaults, what is refused by name, and the repeating of what may be repeated.

With `failover`, `redisHost` are Sentinels, by commas, which know the server `sentinelMasterName`;
with `redisType` `cluster` they are nodes of a cluster.

Metadata: `redisHost` (host:port), `redisPort`, `redisUsername`, `redisPassword`, `redisDB`,
`enableTLS`, `insecureSkipTLSVerify`, `clientCert`, `clientKey` (PEM), `redisMaxRetries`,
`redisMinRetryInterval`, `redisMaxRetryInterval`, `dialTimeout`, `readTimeout`, `poolSize`,
`poolTimeout`, `failover`, `sentinelMasterName`, `sentinelUsername`, `sentinelPassword`, `redisType`
(node|cluster).
Source: https://docs.dapr.io/reference/components-reference/supported-state-stores/setup-redis/.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.dapr.redis_cluster import NOT_WHOLE, Cluster
from meshproxy.dapr.redis_sentinel import Address, Sentinels, to_master
from meshproxy.dapr.tls_client import client_context
from meshproxy.network.tasks import TaskOwner

__all__ = ["RedisClient", "RedisError", "milliseconds", "stop"]

logger: Final = logging.getLogger("meshproxy.dapr.contrib")
T = TypeVar("T")

DEFAULT_PORT: Final = 6379
_CANCEL_AGAIN: Final = 0.1  # seconds
_PER_CPU: Final = 10  # connections, as in go-redis
_REFUSED: Final = ("useEntraID", "useAzureAD", "useOIDC")
"""Switches whose silence would connect to the wrong server, or without the right to."""
_WITHOUT_EFFECT: Final = (
    "idleCheckFrequency",
    "idleTimeout",
    "maxConnAge",
    "minIdleConns",
    "writeTimeout",
)
_OF_SENTINEL: Final = ("sentinelMasterName", "sentinelUsername", "sentinelPassword")


class RedisClient:
    """One server. Commands raise RedisError; `call` and `repeat` make it ComponentError."""

    def __init__(self, metadata: Metadata, name: str) -> None:
        """Read the metadata; nothing is connected. Raises ComponentError."""
        _refuse(metadata)
        for each in _WITHOUT_EFFECT:
            if each in metadata:
                logger.warning("%s: the metadata '%s' has no effect here", name, each)
        self.failover: Final = metadata.boolean("failover")
        if not self.failover:
            for each in _OF_SENTINEL:
                if metadata.get(each, ""):
                    logger.warning("%s: '%s' has no effect without failover", name, each)
        self.clustered: Final = _is_cluster(metadata, self.failover)
        several = self.failover or self.clustered
        self._addresses: Final = _addresses(metadata, several=several)
        self.database: Final = metadata.integer("redisDB", 0, minimum=0)
        self._retries: Final = metadata.integer("redisMaxRetries", 3, minimum=-1)
        self._wait: Final = milliseconds(metadata, "redisMinRetryInterval", 0.008)
        self._longest: Final = milliseconds(metadata, "redisMaxRetryInterval", 2.0)
        self.read_timeout: Final = milliseconds(metadata, "readTimeout", 3.0) or None
        options: dict[str, Any] = {
            "db": self.database,
            "username": metadata.get("redisUsername") or None,
            "password": metadata.get("redisPassword") or None,
            "socket_connect_timeout": milliseconds(metadata, "dialTimeout", 5.0) or None,
            "socket_timeout": self.read_timeout,
            "protocol": 2,  # of every server; nothing here needs the newer one
            # Whether a command may be sent again is for its caller to know: see `repeat`.
            "retry": Retry(NoBackoff(), 0),
        }
        connection: type[Connection] = Connection
        if metadata.boolean("enableTLS"):
            connection = _SecureConnection
            options["tls"] = _tls(metadata)
        size = metadata.integer("poolSize", 0, minimum=0) or _PER_CPU * (os.cpu_count() or 1)
        self._patience: Final = milliseconds(
            metadata, "poolTimeout", (self.read_timeout or 3.0) + 1.0
        )
        self._turns = asyncio.Semaphore(size) if self.clustered else None
        if self.failover:
            sentinels = _sentinels(metadata, self._addresses, connection, options)
            options |= {"sentinels": sentinels}
            options["connection_class"] = to_master(connection)
        elif not self.clustered:
            options["host"], options["port"] = self._addresses[0]
            options["connection_class"] = connection
        self._options: Final = options
        self.redis: Final = self._connected(size)

    def _connected(self, connections: int) -> Any:
        if self.clustered:
            return Cluster(self._addresses, self._options)
        pool = BlockingConnectionPool(
            max_connections=connections, timeout=self._patience, **self._options
        )
        return Redis.from_pool(pool)

    async def open(self) -> None:
        """Find out that the server is there. Raises ComponentError."""
        try:
            await (self.redis.initialize() if self.clustered else self.command("PING"))
        except RedisError as error:
            places = ",".join(f"{host}:{port}" for host, port in self._addresses)
            raise ComponentError(f"error connecting to redis at {places}: {error}") from error

    async def close(self) -> None:
        """Let go of every connection."""
        await self.redis.aclose(close_connection_pool=True)

    def command(self, *words: str | bytes | int, **options: Any) -> Awaitable[Any]:
        """A command that the package has no method for."""
        send: Callable[..., Awaitable[Any]] = self.redis.execute_command
        return send(*words, **options)

    def dedicated(self) -> Any:
        """One connection beside the others, for commands that wait; its taker closes it."""
        return self._connected(1)

    def groups(self, keys: Sequence[str]) -> list[list[int]]:
        """The places of the keys that one script may be about."""
        groups: list[list[int]]
        groups = self.redis.groups(keys) if self.clustered else [list(range(len(keys)))]
        return groups

    async def call(self, command: Awaitable[T]) -> T:
        """Once: for what may not happen twice, and whose outcome a lost answer leaves open."""
        try:
            return await (command if self._turns is None else self._in_turn(self._turns, command))
        except RedisError as error:
            raise ComponentError(f"redis: {error}") from error

    async def _in_turn(self, turns: asyncio.Semaphore, command: Awaitable[T]) -> T:
        """A cluster's nodes have no bound of their own."""
        try:
            async with asyncio.timeout(self._patience):
                await turns.acquire()
        except TimeoutError:
            if isinstance(command, Coroutine):
                command.close()
            raise RedisConnectionError("no connection available") from None
        try:
            return await command
        except NOT_WHOLE as error:
            raise RedisConnectionError(str(error)) from error
        finally:
            turns.release()

    async def repeat(self, command: Callable[[], Awaitable[T]]) -> T:
        """Again where the connection failed: for what does no harm when it happens twice."""
        wait = self._wait
        for _ in range(self._retries):
            try:
                return await self.call(command())
            except ComponentError as error:
                if not isinstance(error.__cause__, RedisConnectionError | RedisTimeoutError):
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, self._longest)
        return await self.call(command())


async def stop(owner: TaskOwner) -> None:
    """End tasks that wait for Redis. The package may swallow a cancellation: then once more."""
    while owner.tasks:
        owner.cancel()
        await asyncio.wait(tuple(owner.tasks), timeout=_CANCEL_AGAIN)


def milliseconds(metadata: Metadata, name: str, default: float) -> float:
    """A duration, where a bare number is milliseconds; in seconds. -1 is 0: none."""
    text = metadata.get(name, "")
    if not text:
        return default
    try:
        return max(int(text) / 1000, 0.0)
    except ValueError:
        pass
    try:
        return max(seconds_of(text), 0.0)
    except DurationError as error:
        raise ComponentError(f"{name}: {error}") from None


def _refuse(metadata: Metadata) -> None:
    for name in _REFUSED:
        if metadata.boolean(name):
            raise ComponentError(f"the metadata '{name}' is not supported")


def _is_cluster(metadata: Metadata, failover: bool) -> bool:
    kind = metadata.get("redisType", "").lower() or "node"
    if kind not in ("node", "cluster"):
        raise ComponentError(f"redisType is '{kind}'; expected node or cluster")
    if kind == "node":
        return False
    if failover:
        raise ComponentError("failover of a cluster is its own; expected redisType node")
    if metadata.integer("redisDB", 0, minimum=0):
        raise ComponentError("a cluster has the database 0 alone, and redisDB is another")
    if metadata.boolean("enableTLS"):
        raise ComponentError("enableTLS is not supported with redisType cluster")
    return True


def _addresses(metadata: Metadata, *, several: bool) -> list[Address]:
    text = metadata.get("redisHost", "")
    if not text:
        raise ComponentError("missing redisHost")
    if "," in text and not several:
        raise ComponentError(f"redisHost is '{text}'; expected one host:port")
    given = metadata.integer("redisPort", 0, minimum=0)
    return [_address(each.strip(), given) for each in text.split(",")]


def _address(text: str, given: int) -> Address:
    """`given` is the port of an address that has none, 0 where nothing says it."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), given or DEFAULT_PORT
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ComponentError(f"redisHost is '{text}'; expected host:port")
    if given not in (0, int(port)):
        raise ComponentError(f"redisHost has the port {port}, and redisPort is {given}")
    return host.strip("[]"), int(port)


def _sentinels(
    metadata: Metadata,
    addresses: Sequence[Address],
    connection: type[Connection],
    options: Mapping[str, Any],
) -> Sentinels:
    """Spoken to as the server is, but for the login."""
    own = {
        **options,
        "db": 0,
        "username": metadata.get("sentinelUsername") or None,
        "password": metadata.get("sentinelPassword") or None,
    }
    return Sentinels(addresses, metadata.required("sentinelMasterName"), connection, own)


def _tls(metadata: Metadata) -> ssl.SSLContext:
    return client_context(metadata, verify=not metadata.boolean("insecureSkipTLSVerify"))


class _SecureConnection(Connection):
    """With a context of ours: the package's own class reads certificates from files only."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        self._tls = tls
        super().__init__(**options)

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}
