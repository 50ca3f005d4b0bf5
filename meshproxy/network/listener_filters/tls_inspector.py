"""`envoy.filters.listener.tls_inspector`: is it TLS, and whom does the client want?

Owns the reading of a ClientHello (RFC 8446, 4.1.2) as far as SNI and ALPN. Takes no byte away, and
refuses to judge the rest: that is the handshake's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshproxy.network.filter_chain_match import SocketFacts
from meshproxy.network.listener_filters.base import CLOSE, WAIT
from meshproxy.stats.connection_metrics import TlsInspectorStats
from meshproxy.stats.store import Store

MAX_CLIENT_HELLO: Final = 16 * 1024

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16


@dataclass(frozen=True, slots=True)
class TlsInspectorConfig:
    """`TlsInspector`. A greeting of more than `max_client_hello_size` bytes is refused."""

    max_client_hello_size: int = MAX_CLIENT_HELLO
    close_on_errors: bool = False


class TlsInspectorFactory:
    """Makes inspectors."""

    __slots__ = ("_config", "_stats")

    def __init__(self, config: TlsInspectorConfig, store: Store) -> None:
        self._config = config
        self._stats = store.scope("tls_inspector.").block(TlsInspectorStats)

    def __call__(self) -> TlsInspector:
        """The inspector of one connection."""
        return TlsInspector(self._config, self._stats)


class TlsInspector:
    """The inspector of one connection."""

    __slots__ = ("_config", "_stats")

    def __init__(self, config: TlsInspectorConfig, stats: TlsInspectorStats) -> None:
        self._config = config
        self._stats = stats

    def on_data(self, data: bytes, facts: SocketFacts) -> int:
        """Look at the greeting so far."""
        stats = self._stats
        try:
            hello = _client_hello(data, self._config.max_client_hello_size)
            if hello is None:
                return WAIT
            server_name, protocols = parse_client_hello(hello)
        except TooLargeError:
            stats.client_hello_too_large.value += 1
            return CLOSE
        except NotTlsError:
            stats.tls_not_found.value += 1
            return CLOSE if self._config.close_on_errors and data[:1] == b"\x16" else 0
        stats.tls_found.value += 1
        facts.transport_protocol = "tls"
        facts.server_name = server_name
        facts.application_protocols = protocols
        (stats.sni_found if server_name else stats.sni_not_found).value += 1
        (stats.alpn_found if protocols else stats.alpn_not_found).value += 1
        return 0

    def on_eof(self) -> None:
        """The peer has gone: there is nothing to count."""


class NotTlsError(ValueError):
    """The bytes are no ClientHello."""


class TooLargeError(ValueError):
    """The ClientHello is larger than is allowed."""


def _client_hello(data: bytes, limit: int) -> bytes | None:
    """The body of the ClientHello that the records hold; None while it is not complete."""
    hello = bytearray()
    at = 0
    while True:
        record = data[at : at + 5]
        if record[:1] not in (b"", b"\x16") or (len(record) > 1 and record[1] != 3):
            raise NotTlsError
        if len(record) < 5:
            return None
        length = int.from_bytes(record[3:5], "big")
        if not 0 < length <= MAX_CLIENT_HELLO + 256:
            raise NotTlsError
        hello += data[at + 5 : at + 5 + length]
        if hello and hello[0] != _CLIENT_HELLO:
            raise NotTlsError
        if len(hello) >= 4:
            size = int.from_bytes(hello[1:4], "big")
            if size + 4 > limit:
                raise TooLargeError
            if len(hello) >= size + 4:
                return bytes(hello[4 : size + 4])
        at += 5 + length
        if at > len(data):
            return None


class _Reader:
    """A cursor over bytes with lengths before them."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises NotTlsError where there are fewer."""
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise NotTlsError
        self._at += size
        return data

    def number(self, size: int) -> int:
        """The next big-endian number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Reader:
        """What follows its own length, which has so many bytes."""
        return _Reader(self.take(self.number(size)))

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)


def parse_client_hello(hello: bytes) -> tuple[str, tuple[str, ...]]:
    """(server name in lower case, application protocols) of a ClientHello's body; empty: not said.

    Raises NotTlsError where its lengths do not fit.
    """
    reader = _Reader(hello)
    reader.take(2 + 32)  # legacy_version, random
    reader.vector(1)  # legacy_session_id
    reader.vector(2)  # cipher_suites
    reader.vector(1)  # legacy_compression_methods
    server_name = ""
    protocols: list[str] = []
    extensions = reader.vector(2) if reader.more else _Reader(b"")
    while extensions.more:
        kind = extensions.number(2)
        extension = extensions.vector(2)
        if kind == _SERVER_NAME:
            names = extension.vector(2)
            while names.more:
                name_type, name = names.number(1), names.vector(2).rest()
                if name_type == 0 and not server_name:
                    server_name = name.decode("ascii", "replace").lower()
        elif kind == _ALPN:
            offered = extension.vector(2)
            while offered.more:
                protocols.append(offered.vector(1).rest().decode("latin-1"))
    return server_name, tuple(protocols)
