"""The functions that a guest imports from `http_handler`. Owns marshalling; knows no stream.

Each takes unsigned numbers and returns one; a result of 64 bits is returned as it is, and cut by
`adapter.py`. What a guest may not do raises HostError, which traps it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http_wasm.exchange import SUPPORTED, Exchange, HostError
from meshproxy.http_wasm.memory import GuestMemory

MODULE: Final = "http_handler"
_HOST: Final = b"host"
_AUTHORITY: Final = b":authority"
_LEVELS: Final = {-1: logging.DEBUG, 0: logging.INFO, 1: logging.WARNING, 2: logging.ERROR}
_MAX_LOG: Final = 1 << 16

SIGNATURES: Final[dict[str, tuple[str, str]]] = {
    "enable_features": ("i32", "i32"),
    "get_config": ("i32 i32", "i32"),
    "log_enabled": ("i32", "i32"),
    "log": ("i32 i32 i32", ""),
    "get_method": ("i32 i32", "i32"),
    "set_method": ("i32 i32", ""),
    "get_uri": ("i32 i32", "i32"),
    "set_uri": ("i32 i32", ""),
    "get_protocol_version": ("i32 i32", "i32"),
    "get_source_addr": ("i32 i32", "i32"),
    "get_header_names": ("i32 i32 i32", "i64"),
    "get_header_values": ("i32 i32 i32 i32 i32", "i64"),
    "set_header_value": ("i32 i32 i32 i32 i32", ""),
    "add_header_value": ("i32 i32 i32 i32 i32", ""),
    "remove_header": ("i32 i32 i32", ""),
    "read_body": ("i32 i32 i32", "i64"),
    "write_body": ("i32 i32 i32", ""),
    "get_status_code": ("", "i32"),
    "set_status_code": ("i32", ""),
}
"""THE LIST of what a guest may import: parameters and result of each."""


class Hostcalls:
    """The functions of one guest. `exchange` is the request that is being handled."""

    def __init__(self, config: bytes, logger: logging.Logger) -> None:
        self._config = config
        self._logger = logger
        self.memory = GuestMemory()
        self.exchange = Exchange(HeaderMap())

    # -- the guest itself ------------------------------------------------------------------------

    def enable_features(self, features: int) -> int:
        """Turn on what is supported; which features are on now."""
        self.exchange.features |= features & SUPPORTED
        return self.exchange.features

    def get_config(self, at: int, limit: int) -> int:
        """The component's guestConfig."""
        return self.memory.give(at, limit, self._config)

    def log_enabled(self, level: int) -> int:
        """Whether a line of this level would be seen."""
        number = _LEVELS.get(_signed(level))
        return int(number is not None and self._logger.isEnabledFor(number))

    def log(self, level: int, at: int, size: int) -> int:
        """One line."""
        number = _LEVELS.get(_signed(level))
        if number is not None and self._logger.isEnabledFor(number):
            text = self.memory.read(at, min(size, _MAX_LOG)).decode("utf-8", "replace")
            self._logger.log(number, "%s", text)
        return 0

    # -- the request line ------------------------------------------------------------------------

    def get_method(self, at: int, limit: int) -> int:
        """The method."""
        return self.memory.give(at, limit, self.exchange.request.get(b":method") or b"")

    def set_method(self, at: int, size: int) -> int:
        """Another method."""
        self.exchange.before_next("set method")
        if not size:
            raise HostError("HTTP method cannot be empty")
        self.exchange.request.replace(b":method", _token(self.memory.read(at, size)))
        return 0

    def get_uri(self, at: int, limit: int) -> int:
        """The path with its query."""
        return self.memory.give(at, limit, self.exchange.request.get(b":path") or b"")

    def set_uri(self, at: int, size: int) -> int:
        """Another path and query."""
        self.exchange.before_next("set uri")
        uri = _value(self.memory.read(at, size)) or b"/"
        if not uri.startswith(b"/") or b" " in uri:
            raise HostError(f"{uri!r} is no path")
        self.exchange.request.replace(b":path", uri)
        return 0

    def get_protocol_version(self, at: int, limit: int) -> int:
        """`HTTP/1.1` or `HTTP/2.0`."""
        return self.memory.give(at, limit, self.exchange.protocol.encode())

    def get_source_addr(self, at: int, limit: int) -> int:
        """Who has sent the request."""
        return self.memory.give(at, limit, self.exchange.source.encode())

    # -- headers ---------------------------------------------------------------------------------

    def get_header_names(self, kind: int, at: int, limit: int) -> int:
        """Each name once, in lower case."""
        names = (_shown(name) for name, _ in self.exchange.headers(kind))
        return self._list(at, limit, dict.fromkeys(name for name in names if name))

    def get_header_values(self, kind: int, name: int, size: int, at: int, limit: int) -> int:
        """Every value of a name."""
        wanted = self._name(name, size)
        return self._list(at, limit, self.exchange.headers(kind).get_all(wanted))

    def set_header_value(self, kind: int, name: int, size: int, at: int, length: int) -> int:
        """One value in the place of all."""
        value = _value(self.memory.read(at, length))
        self.exchange.changeable(kind).replace(self._name(name, size), value)
        return 0

    def add_header_value(self, kind: int, name: int, size: int, at: int, length: int) -> int:
        """One value more."""
        value = _value(self.memory.read(at, length))
        self.exchange.changeable(kind).add(self._name(name, size), value)
        return 0

    def remove_header(self, kind: int, name: int, size: int) -> int:
        """No value any more."""
        self.exchange.changeable(kind).remove(self._name(name, size))
        return 0

    def _name(self, at: int, size: int) -> bytes:
        if not size:
            raise HostError("HTTP header name cannot be empty")
        name = _token(self.memory.read(at, size)).lower()
        return _AUTHORITY if name == _HOST else name

    def _list(self, at: int, limit: int, values: Iterable[bytes]) -> int:
        """Values with a zero after each: their number and size; not written where too long."""
        found = list(values)
        data = b"".join(value + b"\0" for value in found)
        return len(found) << 32 | self.memory.give(at, limit, data)

    # -- body and status -------------------------------------------------------------------------

    def read_body(self, kind: int, at: int, limit: int) -> int:
        """The next piece of a body: its size, and above that whether it was the last one."""
        if not limit:
            raise HostError("buf_limit==0 reading body")
        piece, last = self.exchange.body(kind, "read").read(limit)
        self.memory.write(at, piece)
        return int(last) << 32 | len(piece)

    def write_body(self, kind: int, at: int, size: int) -> int:
        """More of a body; the first write replaces what was there."""
        self.exchange.body(kind, "write").write(self.memory.read(at, size))
        return 0

    def get_status_code(self) -> int:
        """The response's status."""
        self.exchange.with_response("get status code")
        return self.exchange.status

    def set_status_code(self, status: int) -> int:
        """Another status."""
        self.exchange.with_response("set status code")
        if not 100 <= status <= 999:
            raise HostError(f"{status} is no status code")
        self.exchange.status = status
        return 0


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _shown(name: bytes) -> bytes:
    """A header's name as guests know it; other pseudo headers are none."""
    if name == _AUTHORITY:
        return _HOST
    return b"" if name.startswith(b":") else name


def _token(name: bytes) -> bytes:
    """A name that may go on the wire. Raises HostError."""
    if any(byte <= 0x20 or byte >= 0x7F or byte in b'"(),/:;<=>?@[\\]{}' for byte in name):
        raise HostError(f"{name!r} is no name in HTTP")
    return name


def _value(value: bytes) -> bytes:
    """A value that may go on the wire. Raises HostError."""
    if any(byte in b"\r\n\0" for byte in value):
        raise HostError(f"{value!r} is no value in HTTP")
    return value
