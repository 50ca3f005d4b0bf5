"""A connection: the only place that touches a transport.

Owns reading, writing, backpressure, counting bytes, and closing. Refuses to know what the bytes
mean: `dispatch` takes them, `owner` hears what becomes of the connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.network.address import Address
from meshproxy.network.turns import Turns
from meshproxy.stats.store import Counter

if TYPE_CHECKING:
    from meshproxy.network.tls.info import TlsInfo
    from meshproxy.network.tls.socket import TlsSocket

logger = logging.getLogger("meshproxy.connection")
_ids = count(1)

# Held pieces up to this many bytes are joined; larger ones are not copied.
SMALL: Final = 8192
MANY: Final = 8
CROWD: Final = 32
"""Connections with something to send; more of them do not wait for the end of the turn."""
DRAIN_PAUSE: Final = 0.001
"""Seconds between two reads of what nobody wants any more."""


class ConnectionOwner(Protocol):
    """Who a connection belongs to: a connection manager, or a pool's client."""

    def on_connected(self, connection: Connection) -> Callable[[bytes], None]:
        """It is up. Returns who takes its bytes."""

    def on_eof(self) -> bool:
        """The peer sends no more. True: keep the connection for writing."""

    def on_watermark(self, high: bool) -> None:
        """The write buffer is over its limit, or has drained."""

    def on_closed(self, local: bool) -> None:
        """It is gone; `local`: we closed it."""


class ConnectionTracker(Protocol):
    """Who counts connections, whatever they are for: a listener."""

    def connected(self, connection: Connection) -> None:
        """A connection is up."""

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone."""


class WriteBatch:
    """What the reads of one turn of the loop make us write is sent when all have been dealt with.

    hot: a response's head and body come from two calls; sent apart they cost a system call each,
    15 us of the 90 us of a request. And whoever gets one write after another need not be woken for
    each: between two reads a peer has time to fall asleep, and waking it is 10 us of a request.
    Only large pieces go at once: while they wait they would leave the processor's caches.
    """

    __slots__ = ("_due", "dirty", "large", "open")

    def __init__(self) -> None:
        self.open = False
        self.large = False
        self.dirty: list[Connection] = []
        self._due = False

    def close(self) -> None:
        """A read has been dealt with."""
        self.open = False
        if self.large or len(self.dirty) >= CROWD:
            self.flush()
        elif self.dirty and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send everything."""
        self._due = self.large = False
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            try:
                connection.flush()
            except Exception:
                # What went wrong with one must not keep what the others wait for.
                logger.exception("[C%d] unhandled error, closing", connection.connection_id)
                connection.abort()


# One event loop a process, one batch a loop.
batch: Final = WriteBatch()
_turns: Final = Turns()


class Connection:
    """One transport. Implements `http.codec.Wire`, and `asyncio.Protocol`, from which a compiled
    class cannot inherit.
    """

    __slots__ = (
        "_buffer_limit",
        "_closing",
        "_delayed_close",
        "_dispatch",
        "_held",
        "_read_disabled",
        "_rx",
        "_secure",
        "_transport",
        "_tx",
        "above_high",
        "connection_id",
        "delayed_close_timeout",
        "delayed_closes",
        "direct_remote_address",
        "filter_chain_name",
        "local_address",
        "opened",
        "owner",
        "remote_address",
        "requested_server_name",
        "tls",
        "tracker",
        "was_reset",
    )

    def __init__(
        self, owner: ConnectionOwner, buffer_limit: int, received: Counter, sent: Counter
    ) -> None:
        self.owner = owner
        self.connection_id = next(_ids)
        self.local_address: Address | None = None
        self.remote_address: Address | None = None  # a listener filter may know a better one
        self.direct_remote_address: Address | None = None
        self.requested_server_name: str | None = None
        self.filter_chain_name = ""
        self.tls: TlsInfo | None = None  # what TLS has found out, once it is up
        self.tracker: ConnectionTracker | None = None
        self.opened = 0.0
        self.was_reset = False  # the peer has broken off
        self.above_high = False
        self.delayed_close_timeout = 1.0  # seconds
        self.delayed_closes: Counter | None = None  # how often it passed
        self._buffer_limit = buffer_limit
        self._transport: Any = None
        self._secure: TlsSocket | None = None  # then it is the transport, too
        self._dispatch: Callable[[bytes], None] = _discard
        self._held: list[bytes] = []  # written in the batch that is open
        self._read_disabled = 0
        self._rx = received
        self._tx = sent
        self._closing = False
        self._delayed_close: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is up."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local_address = Address.from_sockaddr(transport.get_extra_info("sockname"))
        self.remote_address = Address.from_sockaddr(transport.get_extra_info("peername"))
        self.direct_remote_address = self.remote_address
        limit = self._buffer_limit
        self._transport.set_write_buffer_limits(high=limit, low=limit // 2)
        if self.tracker is not None:
            self.tracker.connected(self)
        self._dispatch = self.owner.on_connected(self)
        if self._read_disabled > 0 and not self._closing:
            # Reading begins after this call, whatever was said in it.
            asyncio.get_running_loop().call_soon(self._pause_if_disabled)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes from the peer."""
        self._rx.value += len(data)
        batch.open = True
        try:
            self._dispatch(data)
        except Exception:
            # A bug of ours must cost one connection, not the process.
            logger.exception("[C%d] unhandled error, closing", self.connection_id)
            self.abort()
        batch.close()

    def eof_received(self) -> bool:
        """asyncio: the peer sends no more."""
        if self._closing:
            return False
        self.flush()  # the answer may be to close
        if self._secure is not None:
            return self._secure.on_wire_eof()
        return self.owner.on_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        local, self._closing = self._closing, True
        self._held = []
        if self._delayed_close is not None:
            self._delayed_close.cancel()
            local = False  # the peer closed while we waited for that
        self.was_reset = isinstance(exc, ConnectionResetError)
        self._dispatch = _discard
        if self._secure is not None:
            self._secure.on_wire_closed()
        self.owner.on_closed(local)
        if self.tracker is not None:
            self.tracker.disconnected(self)

    def pause_writing(self) -> None:
        """asyncio: more than the limit is waiting to be sent."""
        self.above_high = True
        self.owner.on_watermark(True)

    def resume_writing(self) -> None:
        """asyncio: half of the limit has been sent."""
        self.above_high = False
        self.owner.on_watermark(False)

    # -- before its owner -------------------------------------------------------------------------

    def hand_over(
        self, owner: ConnectionOwner, received: Counter, sent: Counter
    ) -> Callable[[bytes], None]:
        """Give it to another owner, who counts its bytes; returns who takes them."""
        self.owner = owner
        self._tx = sent
        if self._secure is None:
            self._rx = received
        else:
            self._secure.received = received
        return owner.on_connected(self)

    def redirect(self, dispatch: Callable[[bytes], None]) -> None:
        """From now on `dispatch` takes what comes from the wire."""
        if not self._closing:
            self._dispatch = dispatch

    def start_tls(self, make: Callable[[Any], TlsSocket]) -> Callable[[bytes], None]:
        """Put TLS between this and the wire; returns who takes the wire's bytes."""
        self._rx = Counter()  # what counts is inside of the records
        self._transport = self._secure = secure = make(self._transport)
        asyncio.get_running_loop().call_soon(secure.start)
        return secure.feed

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run `callback` once; the result has `cancel()`."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    # -- Wire ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._closing:
            return
        self._tx.value += len(data)
        held = self._held
        if not held:
            if not batch.open:
                self._transport.write(data)
                return
            batch.dirty.append(self)
        held.append(data)
        if len(data) > SMALL:
            batch.large = True

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Send pieces without joining them first."""
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        """Send what the batch has held."""
        held = self._held
        if not held or self._transport is None:
            return
        self._held = []
        if len(held) == 1:
            self._transport.write(held[0])
        elif len(held[1]) <= SMALL and len(held) <= MANY:
            self._transport.write(b"".join(held))
        else:
            self._transport.writelines(held)  # one system call, and no copy on uvloop

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading; calls nest."""
        self._read_disabled += 1 if disable else -1
        if self._closing or self._transport is None:
            return
        if self._read_disabled == 1 and disable:
            self._transport.pause_reading()
        elif self._read_disabled == 0:
            self._transport.resume_reading()

    def next_turn(self, work: Callable[[], None]) -> None:
        """Call `work` soon, unless the connection closes: after others had their turns."""
        _turns.add(partial(self._take_turn, work))

    def later(self, work: Callable[[], None]) -> None:
        """The same for what must be done even where the connection has closed meanwhile."""
        _turns.add(partial(self._work, work))

    def _take_turn(self, work: Callable[[], None]) -> None:
        if not self._closing:
            self._work(work)

    def _work(self, work: Callable[[], None]) -> None:
        if batch.dirty:
            batch.flush()  # nobody's answer waits for what another one has put off
        batch.open = True
        try:
            work()
        except Exception:
            logger.exception("[C%d] unhandled error, closing", self.connection_id)
            self.abort()
        batch.close()

    def _pause_if_disabled(self) -> None:
        if self._read_disabled > 0 and not self._closing:
            self._transport.pause_reading()

    def write_eof(self) -> None:
        """Send what is queued, then the end of our side; the peer may go on sending."""
        if self._closing or self._transport.is_closing():
            return
        self.flush()
        self._transport.write_eof()

    def finish(self) -> None:
        """Both sides have ended: let go of the connection. Nobody has closed it on the other."""
        if not self._closing:
            self.flush()
            self._transport.close()

    def close_after_flush(self, linger: bool) -> None:
        """Send what is queued, then close; `linger` waits for the peer to close first."""
        if self._closing:
            return
        self._closing = True
        self._dispatch = self._drain
        self.flush()
        if not linger or self.delayed_close_timeout <= 0:
            self._transport.close()
            return
        if self._read_disabled > 0:
            # What the peer is still sending is read and dropped; unread, it would become a reset.
            self._transport.resume_reading()
        loop = asyncio.get_running_loop()
        self._delayed_close = loop.call_later(self.delayed_close_timeout, self._waited_enough)

    def _drain(self, data: bytes) -> None:
        """Drop what the peer goes on sending, a read at a time: it may send as fast as it can."""
        if self._delayed_close is not None:
            self._transport.pause_reading()
            self.call_later(DRAIN_PAUSE, self._drain_more)

    def _drain_more(self) -> None:
        if self._delayed_close is not None:
            self._transport.resume_reading()

    def _waited_enough(self) -> None:
        self._delayed_close = None
        if self.delayed_closes is not None:
            self.delayed_closes.value += 1
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was written before has been sent as far as the system took it."""
        self.flush()
        self._closing = True
        self._dispatch = _discard
        if self._delayed_close is not None:
            self._delayed_close.cancel()
            self._delayed_close = None
        if self._transport is not None:
            self._transport.abort()

    def dispatch_to(self, dispatch: Callable[[bytes], None]) -> None:
        """From now on, `dispatch` takes what the peer sends."""
        if self._secure is None:
            self._dispatch = dispatch
        else:
            self._secure.deliver_to(dispatch)

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the system has not taken yet."""
        if self._transport is None:
            return 0
        size: int = self._transport.get_write_buffer_size()
        return size + sum(map(len, self._held))

    @property
    def closing(self) -> bool:
        """True when nothing can be sent any more."""
        return self._closing


def _discard(data: bytes) -> None:
    """Bytes of a connection that is being closed."""
