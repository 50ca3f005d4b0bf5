"""`auto_config`: the host says by ALPN which of the two protocols it speaks.

Owns that choice, made with every connection that is new. Refuses to know TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.upstream.conn_pool import ConnPool, PoolClient, PoolRequest
from meshproxy.upstream.http2_pool import Http2Client, Http2Pool

BOTH: Final = ("h2", "http/1.1")


class AutoPool:
    """A pool for each protocol. Until the first connection is up, HTTP/2's takes the requests."""

    __slots__ = ("_chosen", "http1", "http2")

    def __init__(self, cluster: Any, host: Any, connector: Any) -> None:
        self.http1 = ConnPool(cluster, host, connector)
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
        old, new = self.http2, self.http1
        self._chosen = new
        old.clients.discard(client)
        old.connecting -= 1
        waiting, old.pending = old.pending, new.pending
        new.pending = waiting
        heir = PoolClient(new)
        heir.opened = client.opened
        new.clients.add(heir)
        new.connecting += 1
        new.cluster.stats.upstream_cx_http1_total.value += 1
        new.cluster.count_http1()
        connection.owner = heir
        cluster = new.cluster
        for _ in range(len(waiting) - 1):  # each needs a connection of its own now
            if cluster.connections_active < cluster.config.circuit_breakers.max_connections:
                new.connect()
        return heir.on_connected(connection)

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
        if connection.tls is None or connection.tls.alpn != "h2":
            return pool.auto.speaks_http1(self, connection)
        pool.count_connection()
        return super().on_connected(connection)
