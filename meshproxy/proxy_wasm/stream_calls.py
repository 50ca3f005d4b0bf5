"""What hostcalls mean on an HTTP stream: maps, bodies, going on, answering, properties.

Owns which map and buffer is open when. Refuses to know when a callback is made, and what its answer
does (`stream_context.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    MAP_TYPES,
    NOT_FOUND,
    OK,
    REQUEST_BODY,
    REQUEST_HEADERS,
    REQUEST_TRAILERS,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    RESPONSE_TRAILERS,
    STREAM_DOWNSTREAM,
    STREAM_REQUEST,
    STREAM_UPSTREAM,
    UNIMPLEMENTED,
)
from meshproxy.proxy_wasm.context import MAX_PROPERTIES, Context
from meshproxy.proxy_wasm.foreign_state import DOWNSTREAM_CONNECTION, UNDECLARED
from meshproxy.proxy_wasm.guest_answers import change_buffer, local_reply
from meshproxy.proxy_wasm.pairs import Pair, encode
from meshproxy.proxy_wasm.paused import REQUEST, RESPONSE
from meshproxy.proxy_wasm.root_context import property_key

if TYPE_CHECKING:
    from meshproxy.http.filter import FilterCallbacks
    from meshproxy.http.stream_info import StreamInfo


class StreamCalls(Context):
    """The hostcalls of a stream. Only meaning, no constructor: the filter has it.

    The class attributes are the initial values, so that a stream sets only what it needs.
    """

    callbacks: FilterCallbacks
    # The body pieces being shown now, and whether earlier ones are held back with them.
    _request_body: Buffer | None = None
    _response_body: Buffer | None = None
    _buffering_request = False
    _buffering_response = False
    _body_changed = False
    # What the running callback asked for: its own answer would come too late otherwise.
    _in_decode = False
    _in_encode = False
    _resume = False
    _pseudo_changed = False
    _replied = False
    _answered = False  # and the answer has begun, maybe within that very callback
    _ended = False
    _in_log = False
    _metadata_size = 0
    _in_response = False
    _waiting = 0  # directions that only the guest can let go on

    def goes_on(self, direction: int) -> None:
        """This direction does not wait for the guest, or not any more."""
        raise NotImplementedError

    @property
    def info(self) -> StreamInfo:
        """The facts of the stream."""
        return self.callbacks.info

    # -- maps ----------------------------------------------------------------------------------

    def closed_map(self, map_type: int) -> HeaderMap | None:
        """A map that has gone on or is not open yet; Envoy shows it in the log phase only."""
        if map_type <= RESPONSE_TRAILERS:
            if self.vm.strict and (not self._in_log or map_type == REQUEST_TRAILERS):
                return None
            info = self.info
            if map_type == REQUEST_HEADERS:
                return info.request_headers
            if map_type == RESPONSE_HEADERS:
                return info.response_headers
            return info.request_trailers if map_type == REQUEST_TRAILERS else info.response_trailers
        return super().closed_map(map_type)

    def unreadable_map(self, map_type: int) -> bytes | int:
        """The strict answer to reading a value of a map that is not there."""
        return self.missing_value() if self._in_log and map_type < MAP_TYPES else BAD_ARGUMENT

    def get_header_map_size(self, map_type: int) -> int | None:
        """The bytes of all names and values, None where there is no map now."""
        if self.vm.strict and self._in_log:
            return None
        return super().get_header_map_size(map_type)

    def writable(self, map_type: int) -> HeaderMap | None:
        """The map, where it may be changed now; trailers are made with the last body bytes."""
        if map_type >= len(self.maps):
            return None
        found = self.maps[map_type]
        if found is None and (map_type in (REQUEST_TRAILERS, RESPONSE_TRAILERS)):
            found = self.maps[map_type] = self._new_trailers(map_type)
        return found

    def _new_trailers(self, map_type: int) -> HeaderMap | None:
        callbacks = self.callbacks
        try:
            if map_type == REQUEST_TRAILERS and self._in_decode:
                return callbacks.add_decoded_trailers()
            if map_type == RESPONSE_TRAILERS and self._in_encode:
                return callbacks.add_encoded_trailers()
        except ValueError:  # not with the last body bytes
            pass
        return None

    def map_changed(self, map_type: int, names: Collection[bytes]) -> None:
        """A changed request is routed anew; a pseudo header is checked before it goes on."""
        if map_type == REQUEST_HEADERS:
            self.callbacks.request_headers_changed(names)
        elif map_type != RESPONSE_HEADERS:
            return
        for name in names:
            if name[:1] == b":":
                self._pseudo_changed = True

    # -- bodies --------------------------------------------------------------------------------

    def buffer(self, buffer_type: int) -> Buffer | bytes | None:
        """The body shown now, or held back for this filter; the others as everywhere."""
        if buffer_type == REQUEST_BODY:
            if self._request_body is not None:
                return self._request_body
            return self.callbacks.decoding_buffer if self._buffering_request else None
        if buffer_type == RESPONSE_BODY:
            if self._response_body is not None:
                return self._response_body
            return self.callbacks.encoding_buffer if self._buffering_response else None
        return super().buffer(buffer_type)

    def set_buffer(self, buffer_type: int, start: int, size: int, data: bytes) -> int:
        """Replace `size` bytes from `start` of a body. Returns a status."""
        buffer = self.buffer(buffer_type) if buffer_type <= RESPONSE_BODY else None
        if not isinstance(buffer, Buffer):
            return super().set_buffer(buffer_type, start, size, data)
        if not change_buffer(buffer, start, size, data, self.vm.strict):
            return BAD_ARGUMENT
        self._body_changed = True
        return OK

    # -- going on ------------------------------------------------------------------------------

    def continue_stream(self, stream_type: int) -> int:
        """Let go of what this filter holds back, after the callback. Returns a status."""
        if stream_type >= STREAM_UPSTREAM:
            return UNIMPLEMENTED if stream_type == STREAM_UPSTREAM else BAD_ARGUMENT
        if self._ended or stream_type == STREAM_DOWNSTREAM:
            return OK
        if stream_type == STREAM_REQUEST:
            if self._in_decode:
                self._resume = True  # the answer of this very callback is overruled
            else:
                self.vm.deferred.append(self._continue_request)
        elif self._in_encode:
            self._resume = True
        else:
            self.vm.deferred.append(self._continue_response)
        return OK

    def _continue_request(self) -> None:
        self.maps[0] = self.maps[1] = None
        self._buffering_request = False
        if self._waiting:
            self.goes_on(REQUEST)
        if not self._ended:
            self.callbacks.continue_decoding()

    def _continue_response(self) -> None:
        self.maps[2] = self.maps[3] = None
        self._buffering_response = False
        if self._waiting:
            self.goes_on(RESPONSE)
        if not self._ended:
            self.callbacks.continue_encoding()

    def close_stream(self, stream_type: int) -> int:
        """Reset the stream, after the callback. Returns a status."""
        if stream_type > STREAM_UPSTREAM:
            return BAD_ARGUMENT
        if not self._ended and stream_type < STREAM_DOWNSTREAM:
            self._replied = True
            self.vm.deferred.append(lambda: self.callbacks.reset_stream("wasm_close_stream"))
        return OK

    def clear_route_cache(self) -> int:
        """Match the route again."""
        self.callbacks.clear_route_cache()
        return OK

    def send_local_response(
        self,
        status: int,
        details: bytes,
        body: bytes,
        headers: list[Pair],
        grpc_status: int | None,
    ) -> int:
        """Answer after the callback, whose own answer does not count then. Returns a status.

        A second answer, and one in the log phase, is ignored; Envoy recurses to death on the
        latter.
        """
        if self._ended or (self._replied and (self._in_decode or self._in_encode)):
            return OK
        self._replied = True
        reply = local_reply(status, details, body, headers, grpc_status)
        self.vm.deferred.append(lambda: self._send(reply))
        return OK

    def _send(self, reply: LocalReply) -> None:
        if not self._ended:
            self.callbacks.send_local_reply(reply)

    # -- properties ----------------------------------------------------------------------------

    def resolve_route(self) -> None:
        """Match the route, unless it has been or the stream is over."""
        info = self.info
        if info.route is None and info.request_headers is not None and not self._ended:
            info.route = self.callbacks.route

    def get_property(self, path: bytes) -> bytes | int:
        """The encoded value, or a status."""
        if self.vm.strict:
            # Envoy knows headers only while their callback runs, holds them back, or logs.
            head, _, name = path.partition(b"\0")
            kind = (head, name.partition(b"\0")[0])
            if kind == (b"request", b"trailers"):
                return NOT_FOUND
            needed = FROM_HEADERS.get(kind)
            if needed is not None and self.maps[needed] is None and not self._in_log:
                return NO_MAP if name in (b"headers", b"trailers") else NOT_FOUND
        return super().get_property(path)

    def set_property(self, path: bytes, value: bytes) -> int:
        """Remember a value, for every filter and the access log, for as long as it was declared."""
        key = property_key(path)
        declared = self.root.declared.get(key, UNDECLARED)
        if declared.readonly and self.stored_property(key) is not None:
            return BAD_ARGUMENT
        return self.set_filter_state(f"wasm.{key}", value, declared.span)

    def set_filter_state(self, path: str, value: bytes, span: int) -> int:
        """Remember a value under exactly this path, for the stream or its connection."""
        info = self.info
        of_connection = span == DOWNSTREAM_CONNECTION and info.connection is not None
        owner = info.connection if of_connection else info
        stored = owner.filter_state
        if stored is not None and sum(map(len, stored.values())) + len(value) > MAX_PROPERTIES:
            return BAD_ARGUMENT
        if stored is None:
            owner.filter_state = {path: value}
        else:
            stored[path] = value
        return OK

    def stored_property(self, path: str) -> bytes | None:
        """What `set_property` remembered, on this stream, its connection or the root."""
        info = self.info
        for owner in (info, info.connection):
            stored = owner.filter_state if owner is not None else None
            found = stored.get(f"wasm.{path}") if stored is not None else None
            if found is not None:
                return found
        return self.root.properties.get(path)

    def set_dynamic_metadata(self, document: Mapping[str, Mapping[str, Any]], size: int) -> int:
        """Add to the stream's metadata; `size` bytes count against its limit. Returns a status."""
        self._metadata_size += size
        if self._metadata_size > MAX_PROPERTIES:
            return BAD_ARGUMENT
        for namespace, fields in document.items():
            for key, value in fields.items():
                self.info.set_dynamic_metadata(namespace, key, value)
        return OK


NO_MAP: Final = encode([])
FROM_HEADERS: Final = {
    (b"request", name): REQUEST_HEADERS
    for name in b"path url_path host scheme method referer useragent id query headers".split()
} | {
    (b"response", b"headers"): RESPONSE_HEADERS,
    (b"response", b"trailers"): RESPONSE_TRAILERS,
}
"""The properties that are read from a map, with the map's type."""
