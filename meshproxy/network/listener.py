"""A listener: a bound socket, what accepts on it, and how it stops.

Owns binding, accepting, counting and closing. Refuses to know what a connection speaks: its filter
chain does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshproxy.errors import StartupError
from meshproxy.network.address import Address
from meshproxy.network.admission import Admission
from meshproxy.network.connection import Connection
from meshproxy.network.filter_chain import FilterChain, FilterChainConfig
from meshproxy.network.listener_filters import LISTENER_FILTERS
from meshproxy.stats.metrics import ListenerStats, ListenerWorkerStats
from meshproxy.stats.store import Counter

if TYPE_CHECKING:
    from meshproxy.stats.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """A `Listener`. `name` is empty where the configuration gives none; sizes are bytes.

    `mode` are the permission bits of a Unix socket's file, 0 for those that the system gives.
    `listener_filters` are configurations of `network.listener_filters.LISTENER_FILTERS`, whose time
    is in seconds, 0.0: without limit.
    """

    name: str
    address: Address
    filter_chains: tuple[FilterChainConfig, ...]
    stat_prefix: str = ""
    per_connection_buffer_limit_bytes: int = 1024 * 1024
    tcp_backlog_size: int = 128
    reuse_port: bool = True
    ipv4_compat: bool = False
    traffic_direction: int = 0
    mode: int = 0
    default_filter_chain: FilterChainConfig | None = None
    listener_filters: tuple[Any, ...] = ()
    listener_filters_timeout: float = 15.0
    continue_on_listener_filters_timeout: bool = False

    @property
    def manager(self) -> Any:
        """The first terminal filter's configuration: the only one of most listeners."""
        chain = self.filter_chains[0] if self.filter_chains else self.default_filter_chain
        return chain.filters[-1].config if chain is not None else None

    @property
    def stat_name(self) -> str:
        """The name in metrics: `stat_prefix`, or the configured address with `:` as `_`."""
        text = self.stat_prefix or self.address.text
        return text.replace(":", "_")


class Listener:
    """A listener at run time. `open` binds; `stop_accepting` ends accepting and nothing else.

    `on_idle` is called when the last connection has gone.
    """

    def __init__(
        self,
        config: ListenerConfig,
        chains: Sequence[FilterChain],
        store: Store,
        default_chain: FilterChain | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.chains = chains
        self.default_chain = default_chain
        self.listener_filters = [
            LISTENER_FILTERS[type(each)](each, store) for each in config.listener_filters
        ]
        self.local_address = config.address
        self.connections: set[Connection] = set()
        self.on_idle: Callable[[], None] | None = None
        scope = store.scope(f"listener.{config.stat_name}.")
        self.stats = scope.block(ListenerStats)
        self.worker_stats = scope.scope("worker_0.").block(ListenerWorkerStats)
        self._server: asyncio.Server | None = None
        self._only_chain = self._find_only_chain()

    async def open(self) -> None:
        """Bind and begin to accept. StartupError where the address cannot be had."""
        sock = self._bind()
        self.local_address = Address.from_sockaddr(sock.getsockname())
        loop = asyncio.get_running_loop()
        make_server = loop.create_server
        if sock.family == socket.AF_UNIX:
            make_server = loop.create_unix_server  # type: ignore[assignment]
        accept: Callable[[], Any] = self._accept
        self._server = await make_server(accept, sock=sock, backlog=self.config.tcp_backlog_size)

    def _accept(self) -> Connection:
        limit = self.config.per_connection_buffer_limit_bytes
        chain = self._only_chain
        if chain is None:
            connection = Connection(Admission(self), limit, Counter(), Counter())
        else:
            # hot: there is nothing to find out about a connection first.
            connection = Connection(chain.make_owner(), limit, chain.received, chain.sent)
            connection.filter_chain_name = chain.config.name
        connection.tracker = self
        return connection

    def _find_only_chain(self) -> FilterChain | None:
        """The chain that every connection gets as it is, where there is one."""
        if self.listener_filters or len(self.chains) != 1:
            return None
        chain = self.chains[0]
        return chain if chain.tls is None and chain.match.is_empty else None

    @property
    def every_chain(self) -> Sequence[FilterChain]:
        """All chains, the default one last."""
        return [*self.chains, *([self.default_chain] if self.default_chain is not None else ())]

    def _bind(self) -> socket.socket:
        address = self.config.address
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            if address.family == socket.AF_UNIX:
                _remove_stale(address.text)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self.config.reuse_port:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if address.family == socket.AF_INET6:
                    only = 0 if self.config.ipv4_compat else 1
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            sock.bind(address.sockaddr)
            if self.config.mode and not address.text.startswith("@"):
                os.chmod(address.text, self.config.mode)  # noqa: PTH101  # a socket, not a file
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            reason = "Address already in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartupError(f"cannot bind '{address.text}': {reason}") from None
        return sock

    def stop_accepting(self) -> None:
        """Take no more connections; those that are there go on."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def drain(self) -> None:
        """Let every connection end as soon as nothing is under way on it."""
        for chain in self.every_chain:
            for each in chain.drainables:
                each.drain()

    def announce_drain(self) -> None:
        """Tell clients that they had better come no more; nothing is closed."""
        for chain in self.every_chain:
            for each in chain.drainables:
                each.draining = True

    def close(self) -> None:
        """Close every connection, whatever it is doing."""
        for connection in tuple(self.connections):
            connection.abort()

    @property
    def requests_active(self) -> int:
        """What a drain waits for."""
        return sum(each.requests_active for chain in self.every_chain for each in chain.drainables)

    def connected(self, connection: Connection) -> None:
        """A connection was accepted."""
        self.connections.add(connection)
        if self._only_chain is not None:
            self.admitted(connection)

    def admitted(self, connection: Connection) -> None:
        """A connection has a filter chain; before that Envoy does not count it."""
        connection.opened = time.monotonic()
        for stats in (self.stats, self.worker_stats):
            stats.downstream_cx_total.value += 1
            stats.downstream_cx_active.value += 1

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if connection.opened:
            self._count_end(connection)
        if not self.connections and self.on_idle is not None:
            self.on_idle()

    def _count_end(self, connection: Connection) -> None:
        for stats in (self.stats, self.worker_stats):
            stats.downstream_cx_active.value -= 1
        self.stats.downstream_cx_destroy.value += 1
        length = int((time.monotonic() - connection.opened) * 1000)
        self.stats.downstream_cx_length_ms.record(length)


def _remove_stale(path: str) -> None:
    """A socket file that nobody listens on any more is in the way of binding."""
    if path.startswith("@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)  # noqa: PTH108  # a socket, not a file to read
