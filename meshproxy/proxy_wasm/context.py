"""What hostcalls mean: for every context, and for a root.

Owns meaning. Refuses to know pointers (`hostcalls.py`) and how guest code is entered (`vm.py`).
`Context` is what streams and roots have in common; where only a stream could answer, it answers as
Envoy does outside of one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import mypyc_attr

from meshproxy.http.buffer import Buffer
from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    BUFFER_TYPES,
    CALL_DATA,
    GRPC_RECEIVE_BUFFER,
    HTTP_CALL_RESPONSE_BODY,
    MAP_TYPES,
    NOT_FOUND,
    OK,
    PLUGIN_CONFIGURATION,
    RESPONSE_BODY,
    RESPONSE_TRAILERS,
    STREAM_UPSTREAM,
    UNIMPLEMENTED,
    V0_1_0,
    VM_CONFIGURATION,
)
from meshproxy.proxy_wasm.foreign import FUNCTIONS
from meshproxy.proxy_wasm.guest_answers import change_buffer
from meshproxy.proxy_wasm.header_names import (
    NO_PSEUDO,
    REQUEST_PSEUDO,
    RESPONSE_PSEUDO,
    canonical,
    clean,
    known_name,
)
from meshproxy.proxy_wasm.pairs import Pair, encode
from meshproxy.proxy_wasm.properties import getter

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.proxy_wasm.root_context import RootContext
    from meshproxy.proxy_wasm.vm import Vm

LOGGER: Final = logging.getLogger("meshproxy.wasm")
LEVELS: Final = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
MAX_PROPERTIES: Final = 1 << 20
"""Bytes that one stream may remember with `proxy_set_property`."""


MAX_MAP: Final = 16 << 20
"""Bytes of a header map that a guest may make. Envoy has no limit, so that one callback fills the
memory; what is larger than LARGE, or one of more than MANY, is worth adding up."""
LARGE: Final = 4096
MANY: Final = 1024


def outgrows(headers: HeaderMap, name: bytes, value: bytes) -> bool:
    """Whether a map would become too large with this field."""
    size = sum([len(name) + len(value) for name, value in headers.pairs])
    return size + len(name) + len(value) > MAX_MAP


@mypyc_attr(allow_interpreted_subclasses=True)
class Context:
    """A context of a VM. `maps` holds, by map type, the maps that may be changed now.
    Only meaning, no constructor: a stream's context is an HTTP filter as well.
    """

    id: int
    vm: Vm
    root: RootContext
    maps: list[HeaderMap | None]
    encoded: tuple[int, bytes] | None  # map type and its encoding, until somebody changes a map

    # -- log -----------------------------------------------------------------------------------

    @property
    def log_prefix(self) -> str:
        """` NAME ROOT_ID VM_ID` of the plugin."""
        return self.root.prefix

    def log(self, level: int, message: bytes) -> None:
        """Write a guest's line, whatever bytes are in it. `level` as in the ABI."""
        number = LEVELS[level]
        if LOGGER.isEnabledFor(number):
            text = message.decode("utf-8", "backslashreplace")
            LOGGER.log(number, "wasm log%s: %s", self.root.prefix, text)

    def log_level(self) -> int:
        """The ABI's level from which on lines are written."""
        effective = LOGGER.getEffectiveLevel()
        return next((level for level, number in enumerate(LEVELS) if number >= effective), 5)

    def debug(self, text: str) -> None:
        """Write a line for whoever looks for a mistake of the guest."""
        LOGGER.debug("wasm log%s: %s", self.root.prefix, text)

    def warn(self, text: str) -> None:
        """Say once per root that a hostcall was ignored."""
        if text not in self.root.warned:
            self.root.warned.add(text)
            LOGGER.warning("wasm log%s: %s", self.root.prefix, text)

    # -- properties ----------------------------------------------------------------------------

    @property
    def info(self) -> StreamInfo | None:
        """The facts of the stream, None for a root."""
        return None

    def resolve_route(self) -> None:
        """Make sure that the stream knows its route, if it has one."""

    def get_property(self, path: bytes) -> bytes | int:
        """The encoded value, or a status."""
        return getter(path)(self)

    def set_property(self, path: bytes, value: bytes) -> int:
        """Remember a value under `wasm.<path>`. Returns a status."""
        return self.root.set_property(path, value)

    def stored_property(self, path: str) -> bytes | None:
        """What `set_property` remembered."""
        return self.root.properties.get(path)

    def set_filter_state(self, path: str, value: bytes, span: int) -> int:
        """Remember a value under exactly this path. Returns a status."""
        return NOT_FOUND

    def set_dynamic_metadata(self, document: Mapping[str, Mapping[str, Any]], size: int) -> int:
        """Add to the stream's metadata; `size` bytes count against its limit. Returns a status."""
        return NOT_FOUND

    # -- stream --------------------------------------------------------------------------------

    def continue_stream(self, stream_type: int) -> int:
        """There is no such stream here."""
        if stream_type == STREAM_UPSTREAM:
            return UNIMPLEMENTED
        return self._no_stream("proxy_continue_stream", stream_type)

    def close_stream(self, stream_type: int) -> int:
        """There is no such stream here."""
        return self._no_stream("proxy_close_stream", stream_type)

    def _no_stream(self, what: str, stream_type: int = 0) -> int:
        """The status of wanting something of a stream where there is none, or none any more."""
        if stream_type > STREAM_UPSTREAM:
            return BAD_ARGUMENT
        self.warn(f"{what} without a stream is ignored")
        return OK

    def clear_route_cache(self) -> int:
        """Nothing is routed here."""
        return OK

    def send_local_response(
        self,
        status: int,
        details: bytes,
        body: bytes,
        headers: list[Pair],
        grpc_status: int | None,
    ) -> int:
        """Nobody waits for an answer here."""
        return self._no_stream("proxy_send_local_response")

    def on_vm_failed(self) -> None:
        """The VM has failed: no callback will come any more."""

    # -- header maps ---------------------------------------------------------------------------

    def closed_map(self, map_type: int) -> HeaderMap | None:
        """A map that may only be read."""
        return self.root.call_maps.get(map_type)

    def missing_map(self, map_type: int) -> int:
        """The status of writing to a map that is not open."""
        if map_type >= MAP_TYPES or self.vm.strict:
            return BAD_ARGUMENT
        self.warn(f"changes to map {map_type} outside of its phase are ignored")
        return OK

    def unreadable_map(self, map_type: int) -> bytes | int:
        """The strict answer to reading a value of a map that is not there."""
        return BAD_ARGUMENT

    def writable(self, map_type: int) -> HeaderMap | None:
        """The map, where it may be changed now."""
        return self.maps[map_type] if map_type < MAP_TYPES else None

    def readable(self, map_type: int) -> HeaderMap | None:
        """The map, where it may be read now."""
        if map_type >= MAP_TYPES:
            return None
        headers = self.maps[map_type]
        return self.closed_map(map_type) if headers is None else headers

    def get_header_map_value(self, map_type: int, name: bytes) -> bytes | int:
        """The first value, or a status."""
        headers = self.maps[map_type] if map_type < MAP_TYPES else None
        if headers is None:
            headers = self.readable(map_type)
            if headers is None:
                if self.vm.strict or map_type >= MAP_TYPES:
                    return self.unreadable_map(map_type)
                return self.missing_value()
        key = known_name(name) or canonical(name)
        for known, value in headers.pairs:
            if known == key:
                return value
        return self.missing_value()

    def missing_value(self) -> bytes | int:
        """The answer where a map has no such name; ABI 0.1.0 cannot say so."""
        return b"" if self.vm.abi_version == V0_1_0 else NOT_FOUND

    def add_header_map_value(self, map_type: int, name: bytes, value: bytes) -> int:
        """Append a field. Returns a status."""
        headers = self.maps[map_type] if map_type < MAP_TYPES else None
        if headers is None:
            headers = self.writable(map_type)
            if headers is None:
                return self.missing_map(map_type)
        key = known_name(name) or canonical(name)
        if not key or 10 in value or 13 in value or 0 in value:
            return self._unfit(name)
        if (len(value) > LARGE or len(headers.pairs) > MANY) and outgrows(headers, key, value):
            return self._unfit(name)
        self.encoded = None
        if key[0] == 58:  # a colon: there is one value, and it stands in front
            if key not in PSEUDO[map_type]:
                return self._unfit(name)
            known = headers.get(key)
            set_pseudo(headers, key, value if known is None else b"%b,%b" % (known, value))
        elif key in INLINE:
            add_inline(headers, key, value)
        else:
            headers.pairs.append((key, value))
        self.map_changed(map_type, (key,))
        return OK

    def replace_header_map_value(self, map_type: int, name: bytes, value: bytes) -> int:
        """Set a field. Returns a status."""
        headers = self.maps[map_type] if map_type < MAP_TYPES else None
        if headers is None:
            headers = self.writable(map_type)
            if headers is None:
                return self.missing_map(map_type)
        key = known_name(name) or canonical(name)
        if not key or 10 in value or 13 in value or 0 in value:
            return self._unfit(name)
        if (len(value) > LARGE or len(headers.pairs) > MANY) and outgrows(headers, key, value):
            return self._unfit(name)
        self.encoded = None
        if key[0] != 58:
            headers.replace(key, value)
        elif key in PSEUDO[map_type]:
            set_pseudo(headers, key, value)
        else:
            return self._unfit(name)
        self.map_changed(map_type, (key,))
        return OK

    def remove_header_map_value(self, map_type: int, name: bytes) -> int:
        """Drop a field. Returns a status."""
        headers = self.writable(map_type)
        if headers is None:
            return self.missing_map(map_type)
        key = canonical(name)
        if headers.remove(key):
            self.encoded = None
            self.map_changed(map_type, (key,))
        return OK

    def get_header_map_pairs(self, map_type: int) -> bytes | None:
        """The encoded map, empty where there is none now; None where there never is."""
        if map_type >= MAP_TYPES:
            return None
        cached = self.encoded
        if cached is not None and cached[0] == map_type:
            return cached[1]
        headers = self.readable(map_type)
        if headers is None or not headers.pairs:
            # Four zero bytes are an empty map for every SDK; no bytes are an error to Go's.
            return b"" if self.vm.strict else b"\0\0\0\0"
        found = encode(headers.pairs)
        if map_type <= RESPONSE_TRAILERS and self.vm.current is self:
            # Only a stream's own callbacks know when it is out of date again: an answer's maps are
            # others each time, and who acts on a stream from outside does not see it go on.
            self.encoded = (map_type, found)
        return found

    def set_header_map_pairs(self, map_type: int, pairs: list[Pair]) -> int:
        """Another whole map. Returns a status."""
        headers = self.writable(map_type)
        if headers is None:
            return self.missing_map(map_type)
        before = headers.pairs
        headers.pairs, dropped = clean(pairs, PSEUDO[map_type])
        if dropped:
            self.warn("header fields that cannot be sent are ignored")
        self.encoded = None
        self.map_changed(map_type, [name for name, _ in (*before, *headers.pairs)])
        return OK

    def get_header_map_size(self, map_type: int) -> int | None:
        """The bytes of all names and values, None where there is no map now."""
        headers = self.readable(map_type)
        if headers is None or (self.vm.strict and map_type > RESPONSE_TRAILERS):
            return None
        return headers.byte_size()

    def map_changed(self, map_type: int, names: Collection[bytes]) -> None:
        """Fields were added, set or removed; their names are among these."""

    def _unfit(self, name: bytes) -> int:
        """A field that could not be sent, or is too much, is ignored. Returns a status.

        Envoy says OK and answers 503 later; the Rust SDK panics on every other status.
        """
        self.warn(f"header field {name!r} cannot be sent and is ignored")
        return OK

    # -- buffers -------------------------------------------------------------------------------

    def buffer(self, buffer_type: int) -> Buffer | bytes | None:
        """The buffer of this type, None where there is none now."""
        if buffer_type == VM_CONFIGURATION:
            return self.root.plugin.vm.configuration
        if buffer_type == PLUGIN_CONFIGURATION:
            return self.root.plugin.configuration if self.root.configuring else None
        if buffer_type == HTTP_CALL_RESPONSE_BODY:
            return self.root.call_body
        if buffer_type == GRPC_RECEIVE_BUFFER:
            return self.root.grpc.message
        if buffer_type == CALL_DATA:
            return self.vm.call_data
        return None

    def set_buffer(self, buffer_type: int, start: int, size: int, data: bytes) -> int:
        """Replace part of a buffer. Returns a status."""
        message = self.root.grpc.message
        if buffer_type == GRPC_RECEIVE_BUFFER and message is not None:
            changed = change_buffer(message, start, size, data, self.vm.strict)
            return OK if changed else BAD_ARGUMENT
        missing = self.buffer(buffer_type) is None
        if missing and buffer_type <= RESPONSE_BODY and not self.vm.strict:
            self.warn(f"changes to buffer {buffer_type} outside of its phase are ignored")
            return OK
        return NOT_FOUND if missing and missing_buffer(buffer_type) == NOT_FOUND else BAD_ARGUMENT

    # -- foreign functions ---------------------------------------------------------------------

    def call_foreign_function(self, name: bytes, arguments: bytes) -> bytes | int:
        """The result of a function of the host, or a status."""
        function = FUNCTIONS.get(name)
        if function is None:
            return NOT_FOUND
        self.vm.call_data = arguments
        return function(self, arguments)


def missing_buffer(buffer_type: int) -> int:
    """The status for a buffer that is not there now: an empty one, unless it never is there."""
    if buffer_type >= BUFFER_TYPES:
        return BAD_ARGUMENT
    configuration = buffer_type in (VM_CONFIGURATION, PLUGIN_CONFIGURATION)
    return NOT_FOUND if configuration or buffer_type == HTTP_CALL_RESPONSE_BODY else OK


PSEUDO: Final = (REQUEST_PSEUDO, NO_PSEUDO, RESPONSE_PSEUDO) + (NO_PSEUDO,) * 5
"""The pseudo headers that may stand in a map, by map type."""

INLINE: Final = frozenset(
    b"accept accept-encoding access-control-request-headers access-control-request-method "
    b"authentication authorization cache-control client-trace-id connection content-encoding "
    b"content-length content-type date expect forwarded-client-cert grpc-accept-encoding "
    b"grpc-message grpc-status grpc-timeout if-match if-modified-since if-none-match if-range "
    b"if-unmodified-since keep-alive location origin pragma proxy-connection proxy-status referer "
    b"server te transfer-encoding upgrade user-agent via www-authenticate x-forwarded-client-cert "
    b"x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id".split()
)
"""Names that Envoy keeps one value of: adding another joins them with a comma."""


def add_inline(headers: HeaderMap, key: bytes, value: bytes) -> None:
    """Add to a field of which there is one."""
    known = headers.get(key)
    if known:
        headers.replace(key, b"%b,%b" % (known, value))
    else:
        headers.replace(key, value)


def set_pseudo(headers: HeaderMap, key: bytes, value: bytes) -> None:
    """Set a pseudo header, in front where it is new."""
    if key in headers:
        headers.replace(key, value)
    else:
        headers.pairs.insert(0, (key, value))
