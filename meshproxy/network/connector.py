"""Making connections to upstream hosts: with a deadline, and with a reason where it fails.

Owns connect and its errors. Refuses to know pools.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.network.address import Address
from meshproxy.network.connection import Connection, ConnectionOwner
from meshproxy.stats.store import Counter

if TYPE_CHECKING:
    from meshproxy.network.tls.upstream import UpstreamTls

# Envoy's words for what goes wrong before a connection is up.
REMOTE: Final = "remote connection failure"
LOCAL: Final = "local connection failure"
TIMEOUT: Final = "connection timeout"
_TEXTS: Final = {
    errno.ECONNREFUSED: "Connection refused",
    errno.ENETUNREACH: "Network is unreachable",
    errno.EHOSTUNREACH: "No route to host",
    errno.ECONNRESET: "Connection reset by peer",
}
_LOCAL_ERRORS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS))


class ConnectingOwner(ConnectionOwner, Protocol):
    """An owner whose connection is still to be made."""

    def on_connect_failure(self, reason: str, text: str) -> None:
        """It could not be. `text` is what the system said."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to connect. Times are seconds, sizes bytes; `timeout` None: whoever asked has a clock.

    `tls` is the cluster's transport socket, None for plain bytes; `server_name` is what it asks for
    instead of its own, `alpn` what it offers where the configuration does not say,
    `override_alpn` what it offers whatever that says.
    """

    timeout: float | None
    buffer_limit: int
    received: Counter
    sent: Counter
    tls: UpstreamTls | None = None
    server_name: str = ""
    alpn: tuple[str, ...] = ()
    override_alpn: tuple[str, ...] = ()


class Connector:
    """Makes connections on the running loop."""

    __slots__ = ("dispatcher",)

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher

    def connect(self, owner: ConnectingOwner, address: Address, options: ConnectOptions) -> Any:
        """Begin. `owner.on_connected` or `owner.on_connect_failure` is called, never at once.

        `cancel()` of the result: neither is.
        """
        attempt = _Attempt(owner, address, options)
        return self.dispatcher.spawn(attempt.run(), f"connect {address.text}")


class _Attempt:
    """One connection that is being made. Owner of it until its TLS is up, where it has any."""

    __slots__ = ("_address", "_done", "_options", "_owner")

    def __init__(self, owner: ConnectingOwner, address: Address, options: ConnectOptions) -> None:
        self._owner = owner
        self._address = address
        self._options = options
        self._done: asyncio.Future[str | None] | None = None

    async def run(self) -> None:
        """Connect, and tell the owner how it went."""
        owner = self._owner
        connection: Any = None
        try:
            async with asyncio.timeout(self._options.timeout):
                connection = await self._open()
                reason = None if self._done is None else await self._done
        except TimeoutError:
            if connection is not None:
                connection.abort()
            owner.on_connect_failure(TIMEOUT, "")
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort()
            raise
        except OSError as error:
            kind = LOCAL if error.errno in _LOCAL_ERRORS else REMOTE
            text = _TEXTS.get(error.errno or 0, error.strerror or str(error))
            owner.on_connect_failure(kind, f"delayed_connect_error:_{text.replace(' ', '_')}")
        else:
            if reason is not None:
                owner.on_connect_failure(REMOTE, reason)

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address
        if self._options.tls is not None:
            self._done = loop.create_future()
        make: Callable[[], Any] = self._make
        if isinstance(address.sockaddr, str):
            _, connection = await loop.create_unix_connection(make, address.sockaddr)
        else:
            _, connection = await loop.create_connection(make, address.ip, address.port)
        assert isinstance(connection, Connection)
        return connection

    def _make(self) -> Connection:
        options = self._options
        owner = self._owner if options.tls is None else self
        return Connection(owner, options.buffer_limit, options.received, options.sent)

    # -- ConnectionOwner, until TLS is up ---------------------------------------------------------

    def on_connected(self, connection: Connection) -> Callable[[bytes], None]:
        """The wire is there: begin the handshake."""
        options = self._options
        assert options.tls is not None

        def done(reason: str | None) -> Callable[[bytes], None] | None:
            if self._done is None or self._done.done():
                return None
            self._done.set_result(reason)
            if reason is not None:
                return None
            return connection.hand_over(self._owner, options.received, options.sent)

        alpn = options.override_alpn or options.tls.config.alpn or options.alpn
        return options.tls.start(connection, options.server_name, alpn, done)

    def on_eof(self) -> bool:
        """The host has gone; its closing will say so."""
        return False

    def on_watermark(self, high: bool) -> None:
        """A handshake is short."""

    def on_closed(self, local: bool) -> None:
        """The TLS socket has said why."""
