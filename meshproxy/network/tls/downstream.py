"""TLS of a listener's filter chain: `DownstreamTlsContext` at run time.

Owns the choice of a certificate by server name, the handshake's outcome and its counters, and the
exchange of certificates while serving. Refuses to know filter chains and records.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from meshproxy.network.tls.certificate import Certificate, load_chain
from meshproxy.network.tls.config import DownstreamTlsConfig
from meshproxy.network.tls.context import server_context
from meshproxy.network.tls.info import TlsInfo
from meshproxy.network.tls.socket import TlsSocket
from meshproxy.network.tls.stats import SslCounters
from meshproxy.network.tls.verify import dns_name_matches, refusal
from meshproxy.stats.connection_metrics import SslSocketFactoryStats
from meshproxy.stats.store import Counter, Scope

if TYPE_CHECKING:
    from meshproxy.network.connection import Connection, ConnectionOwner

logger = logging.getLogger("meshproxy.connection")


class Receiving(Protocol):
    """The filter chain that a connection is for."""

    @property
    def received(self) -> Counter:
        """Counts bytes from the client."""

    @property
    def sent(self) -> Counter:
        """Counts bytes to it."""

    @property
    def on_rejected(self) -> Callable[[], None]:
        """Called when the handshake has failed."""


class _Shown:
    """One certificate, with the context that shows it."""

    __slots__ = ("context", "leaf", "names")

    def __init__(self, context: ssl.SSLContext, leaf: Certificate | None) -> None:
        self.context = context
        self.leaf = leaf
        names = leaf.sans_of("DNS") if leaf is not None else []
        self.names = [name.encode("latin-1") for name in names]


class DownstreamTls:
    """The transport socket of one filter chain. Raises ssl.SSLError where it cannot be built."""

    def __init__(self, config: DownstreamTlsConfig, scope: Scope) -> None:
        self.config = config
        self.counters = SslCounters(scope)
        self.socket_stats = scope.scope("server_ssl_socket_factory.").block(SslSocketFactoryStats)
        if config.secrets.sds_names:
            self.socket_stats.ssl_context_update_by_sds.value += 1
        self.timeouts = scope.counter("downstream_cx_transport_socket_connect_timeout")
        self._shown = self._build(config)

    def _build(self, config: DownstreamTlsConfig) -> list[_Shown]:
        shown = []
        for certificate in config.secrets.certificates:
            chain = load_chain(certificate.chain)
            self.counters.expirations("cert", certificate.name, chain)
            shown.append(_Shown(server_context(config, certificate), chain[0]))
        validation = config.secrets.validation
        if validation is not None and validation.trusted_ca is not None:
            self.counters.expirations("ca_cert", validation.name, load_chain(validation.trusted_ca))
        shown = shown or [_Shown(server_context(config, None), None)]
        for each in shown:
            each.context.sni_callback = self._on_server_name
        return shown

    def replace(self, config: DownstreamTlsConfig) -> None:
        """Show other certificates from the next handshake on. Raises ssl.SSLError."""
        self._shown = self._build(config)
        self.config = config
        self.socket_stats.ssl_context_update_by_sds.value += 1

    # -- the handshake -----------------------------------------------------------------------

    def start(
        self,
        connection: Connection,
        owner: ConnectionOwner,
        chain: Receiving,
        timeout: float | None,
    ) -> Callable[[bytes], None]:
        """Begin; `owner` gets the connection when the handshake is done, in `timeout` seconds."""
        handshake = _Handshake(self, connection, owner, chain)
        if timeout is not None:
            handshake.timer = connection.call_later(timeout, handshake.on_timeout)
        first = self._shown[0]

        def wrap(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
            tls = first.context.wrap_bio(incoming, outgoing, server_side=True)
            tls.shown = first  # type: ignore[attr-defined]  # ssl tells it by this object only
            return tls

        return connection.start_tls(lambda lower: TlsSocket(connection, lower, wrap, handshake))

    def _on_server_name(self, tls: Any, name: str | None, context: ssl.SSLContext) -> int | None:
        """The client's greeting has come: choose what to show it."""
        tls.requested_name = name
        if name is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if self.config.require_sni else None
        shown = self._for_name(name.lower().encode())
        if shown.context is not context:
            tls.context = shown.context
        tls.shown = shown
        return None

    def _for_name(self, name: bytes) -> _Shown:
        """The certificate for a server name: exact before wildcard, else the first."""
        if len(self._shown) > 1:
            for each in self._shown:
                if name in each.names:
                    return each
            for each in self._shown:
                if any(dns_name_matches(name, pattern) for pattern in each.names):
                    return each
        return self._shown[0]


class _Handshake:
    """One handshake (`socket.End`)."""

    __slots__ = ("_chain", "_connection", "_end", "_owner", "timer")

    def __init__(
        self,
        end: DownstreamTls,
        connection: Connection,
        owner: ConnectionOwner,
        chain: Receiving,
    ) -> None:
        self._end = end
        self._connection = connection
        self._owner = owner
        self._chain = chain
        self.timer: Any = None

    def on_timeout(self) -> None:
        """It takes too long."""
        self.timer = None
        self._end.timeouts.value += 1
        self._connection.abort()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def opened(self, socket: TlsSocket) -> Callable[[bytes], None] | None:
        """It is done: look at the peer, then hand over."""
        self._stop_timer()
        tls: Any = socket.tls
        end, connection = self._end, self._connection
        server_name = getattr(tls, "requested_name", None)
        info = TlsInfo(tls, tls.shown.leaf, server_name or "")
        refused = self._refusal(info)
        if refused:
            end.counters.refused(refused)
            _log(connection, refused)
            self._chain.on_rejected()
            connection.close_after_flush(False)
            return None
        end.counters.handshake(info)
        connection.tls = info
        return connection.hand_over(self._owner, self._chain.received, self._chain.sent)

    def _refusal(self, info: TlsInfo) -> str:
        """The counter of what is wrong with the peer's certificate."""
        validation = self._end.config.secrets.validation
        try:
            peer = info.peer
        except ValueError:
            return "fail_verify_error"
        if peer is None:
            self._end.counters.block.no_certificate.value += 1
            return ""
        return refusal(validation, peer, None) if validation is not None else ""

    def failed(self, error: ssl.SSLError | None) -> None:
        """It has failed."""
        self._stop_timer()
        self._end.counters.failed(error)
        self._chain.on_rejected()
        _log(self._connection, error.reason or str(error) if error is not None else "peer left")

    def closed(self, tls: ssl.SSLObject) -> None:
        """The connection is gone."""


def _log(connection: Connection, reason: str) -> None:
    where = connection.remote_address
    logger.info("[C%d] TLS handshake with %s failed: %s", connection.connection_id, where, reason)
