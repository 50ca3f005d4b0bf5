"""`auto_config`: the host says by ALPN which of the two protocols it speaks.

Owns that choice, made with every connection that is new. Refuses to know TLS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from meshproxy.upstream.conn_pool import ConnPool, PoolClient, PoolRequest
from meshproxy.upstream.http2_pool import Http2Client, Http2Pool

BOTH: Final = ("h2", "http/1.1")


class AutoPool:
    """A pool for each protocol. What the last new connection spoke takes the requests, as in Envoy;
    until the first is up, HTTP/2.
    """

    __slots__ = ("_chosen", "http1", "http2")

    def __init__(self, cluster: Any, host: Any, connector: Any) -> None:
        self.http1 = AskingHttp1Pool(self, cluster, host, connector)
        self.http2 = AskingPool(self, cluster, host, connector)
        self._chosen: ConnPool = self.http2

    def new_stream(self, request: PoolRequest) -> None:
        """Serve `request` in what the host was found to speak."""
        self._chosen.new_stream(request)

    def cancel(self, request: PoolRequest) -> None:
        """`request` does not wait any more."""
        self.http2.cancel(request)
        self.http1.cancel(request)

    def speaks_http1(self, client: AskingClient, connection: Any) -> Callable[[bytes], None]:
        """The connection that was made for HTTP/2 goes to the other pool, and who waits with it."""
        new = self.http1
        waiting = self._move(self.http2, new, client)
        heir = PoolClient(new)
        new.count_connection()
        took = self._inherit(client, heir, connection)
        cluster = new.cluster
        for _ in range(waiting - 1):  # each needs a connection of its own now
            if cluster.connections_active < cluster.config.circuit_breakers.max_connections:
                new.connect()
        return took

    def speaks_http2(self, client: AskingHttp1Client, connection: Any) -> Callable[[bytes], None]:
        """The host has learned HTTP/2: one connection is enough for all who wait."""
        self._move(self.http1, self.http2, client)
        self.http2.count_connection()
        return self._inherit(client, Http2Client(self.http2), connection)

    def _move(self, old: ConnPool, new: ConnPool, client: Any) -> int:
        """Another pool is the one that is asked from now on; how many wait in it now."""
        self._chosen = new
        old.clients.discard(client)
        old.connecting -= 1
        waiting, old.pending = old.pending, deque()
        new.pending.extend(waiting)
        return len(waiting)

    def _inherit(self, client: Any, heir: Any, connection: Any) -> Callable[[bytes], None]:
        heir.opened = client.opened
        heir.pool.clients.add(heir)
        heir.pool.connecting += 1
        connection.owner = heir
        took: Callable[[bytes], None] = heir.on_connected(connection)
        return took

    def name_server(self, name: str) -> None:
        """Ask for this name in TLS."""
        self.http1.name_server(name)
        self.http2.name_server(name)

    @property
    def in_use(self) -> bool:
        """Whether there is a connection, or somebody who waits for one."""
        return self.http1.in_use or self.http2.in_use

    @property
    def pending(self) -> list[PoolRequest]:
        """Who waits for a connection."""
        return [*self.http1.pending, *self.http2.pending]

    def drain(self) -> None:
        """The host is gone."""
        self.http1.drain()
        self.http2.drain()


class AskingHttp1Pool(ConnPool):
    """HTTP/1's half, whose connections may turn out to be the other's."""

    __slots__ = ("auto",)

    def __init__(self, auto: AutoPool, cluster: Any, host: Any, connector: Any) -> None:
        super().__init__(cluster, host, connector)
        self.auto = auto
        self.alpn = BOTH

    def make_client(self) -> Any:
        """A connection that is still to be made; what it speaks is counted when it is known."""
        return AskingHttp1Client(self)

    def count_connection(self) -> None:
        """One more connection speaks HTTP/1."""
        self.cluster.stats.upstream_cx_http1_total.value += 1
        self.cluster.count_http1()


class AskingHttp1Client(PoolClient):
    """A connection to a host that spoke HTTP/1 at last."""

    __slots__ = ()

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up, and so ALPN has decided."""
        pool = self.pool
        assert isinstance(pool, AskingHttp1Pool)
        if speaks_http2(connection):
            return pool.auto.speaks_http2(self, connection)
        pool.count_connection()
        return super().on_connected(connection)


class AskingPool(Http2Pool):
    """HTTP/2's half, whose connections may turn out to be the other's."""

    __slots__ = ("auto",)

    def __init__(self, auto: AutoPool, cluster: Any, host: Any, connector: Any) -> None:
        super().__init__(cluster, host, connector)
        self.auto = auto
        self.alpn = BOTH

    def make_client(self) -> Any:
        """A connection that is still to be made; what it speaks is counted when it is known."""
        return AskingClient(self)


class AskingClient(Http2Client):
    """A connection that does not know yet what it speaks."""

    __slots__ = ()

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up, and so ALPN has decided."""
        pool = self.pool
        assert isinstance(pool, AskingPool)
        if not speaks_http2(connection):
            return pool.auto.speaks_http1(self, connection)
        pool.count_connection()
        return super().on_connected(connection)


def speaks_http2(connection: Any) -> bool:
    """What the host has chosen."""
    return connection.tls is not None and bool(connection.tls.alpn == "h2")
