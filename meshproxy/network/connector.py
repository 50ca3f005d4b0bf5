"""Making connections to upstream hosts: with a deadline, and with a reason where it fails.

Owns connect and its errors. Refuses to know pools.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, Final, Protocol

from meshproxy.network.address import Address
from meshproxy.network.connection import Connection, ConnectionOwner
from meshproxy.stats.store import Counter

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


class Connector:
    """Makes connections on the running loop."""

    __slots__ = ("dispatcher",)

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher

    def connect(
        self,
        owner: ConnectingOwner,
        address: Address,
        timeout: float,
        buffer_limit: int,
        received: Counter,
        sent: Counter,
    ) -> Any:
        """Begin. `owner.on_connected` or `owner.on_connect_failure` is called, never at once.

        `cancel()` of the result: neither is.
        """

        def factory() -> Connection:
            return Connection(owner, buffer_limit, received, sent)

        return self.dispatcher.spawn(
            _connect(owner, address, timeout, factory), f"connect {address.text}"
        )


async def _connect(
    owner: ConnectingOwner, address: Address, timeout: float, factory: Callable[[], Connection]
) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            if isinstance(address.sockaddr, str):
                await loop.create_unix_connection(factory, address.sockaddr)
            else:
                await loop.create_connection(factory, address.ip, address.port)
    except TimeoutError:
        owner.on_connect_failure(TIMEOUT, "")
    except OSError as error:
        reason = LOCAL if error.errno in _LOCAL_ERRORS else REMOTE
        text = _TEXTS.get(error.errno or 0, error.strerror or str(error))
        owner.on_connect_failure(reason, f"delayed_connect_error:_{text.replace(' ', '_')}")
