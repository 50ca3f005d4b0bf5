"""A listener: a bound socket, what accepts on it, and how it stops.

Owns binding, accepting, counting and closing. Refuses to know what a connection speaks: the
connection manager that it is built with does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshproxy.errors import StartupError
from meshproxy.http.conn_manager import HttpConnection, HttpConnectionManager
from meshproxy.network.address import Address
from meshproxy.network.connection import Connection
from meshproxy.stats.metrics import ListenerStats, ListenerWorkerStats

if TYPE_CHECKING:
    from meshproxy.http.conn_manager import HttpConnectionManagerConfig
    from meshproxy.stats.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """A `Listener` with one filter chain that ends in an HttpConnectionManager.

    `name` is empty where the configuration gives none; sizes are bytes.
    """

    name: str
    address: Address
    manager: HttpConnectionManagerConfig
    stat_prefix: str = ""
    per_connection_buffer_limit_bytes: int = 1024 * 1024
    tcp_backlog_size: int = 128
    reuse_port: bool = True
    ipv4_compat: bool = False
    traffic_direction: int = 0

    @property
    def stat_name(self) -> str:
        """The name in metrics: `stat_prefix`, or the configured address with `:` as `_`."""
        text = self.stat_prefix or self.address.text
        return text.replace(":", "_")


class Listener:
    """A listener at run time. `open` binds; `stop_accepting` ends accepting and nothing else."""

    def __init__(
        self, config: ListenerConfig, manager: HttpConnectionManager, store: Store
    ) -> None:
        self.config = config
        self.name = config.name
        self.manager = manager
        self.local_address = config.address
        scope = store.scope(f"listener.{config.stat_name}.")
        self.stats = scope.block(ListenerStats)
        self.worker_stats = scope.scope("worker_0.").block(ListenerWorkerStats)
        self._server: asyncio.Server | None = None
        manager.connection_listener = self

    async def open(self) -> None:
        """Bind and begin to accept. StartupError where the address cannot be had."""
        sock = self._bind()
        self.local_address = Address.from_sockaddr(sock.getsockname())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._accept, sock=sock, backlog=self.config.tcp_backlog_size
        )

    def _accept(self) -> Connection:
        stats = self.manager.stats
        return Connection(
            HttpConnection(self.manager),
            self.config.per_connection_buffer_limit_bytes,
            stats.downstream_cx_rx_bytes_total,
            stats.downstream_cx_tx_bytes_total,
        )

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

    def connected(self) -> None:
        """A connection was accepted."""
        for stats in (self.stats, self.worker_stats):
            stats.downstream_cx_total.value += 1
            stats.downstream_cx_active.value += 1

    def disconnected(self, milliseconds: int) -> None:
        """A connection is gone, after so long."""
        for stats in (self.stats, self.worker_stats):
            stats.downstream_cx_active.value -= 1
        self.stats.downstream_cx_destroy.value += 1
        self.stats.downstream_cx_length_ms.record(milliseconds)


def _remove_stale(path: str) -> None:
    """A socket file that nobody listens on any more is in the way of binding."""
    if path.startswith("@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)  # noqa: PTH108  # a socket, not a file to read
