"""One HTTP stream as a plugin sees it: the context, and at the same time the HTTP filter.

Owns Envoy's rules of pausing, of which map and buffer is open when, of local replies and of the
end. Refuses to know how a stream iterates its filters (`http/filter_path.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_NO_BUFFER,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
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
    U32,
    UNIMPLEMENTED,
)
from meshproxy.proxy_wasm.context import MAX_PROPERTIES, Context
from meshproxy.proxy_wasm.exports import FAILED
from meshproxy.proxy_wasm.guest_answers import (
    FAIL_STREAM,
    change_buffer,
    data_status,
    fault_of_request,
    fault_of_response,
    fix_content_length,
    headers_status,
    local_reply,
)
from meshproxy.proxy_wasm.pairs import Pair
from meshproxy.proxy_wasm.root_context import RootContext, property_key

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo


class StreamContext(StreamFilter, Context):
    """A stream of one plugin. The guest learns of it with the first callback.

    Deliberately without `__slots__`: the class attributes are the initial values, so that a stream
    sets only what it needs (see `http/stream_info.py`).
    """

    id = 0
    encoded: tuple[int, bytes] | None = None
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
    _ended = False
    _in_response = False
    _failed = False

    def __init__(self, root: RootContext) -> None:
        self.root = root
        root.streams += 1
        self.vm = root.vm
        self.maps = [None, None, None, None, None, None, None, None]

    # -- the guest's knowledge of the stream ---------------------------------------------------

    @property
    def info(self) -> StreamInfo:
        """The facts of the stream."""
        return self.callbacks.info

    def _create(self) -> None:
        vm = self.vm
        self.id = number = vm.new_id()
        vm.contexts[number] = self
        create = vm.exports.proxy_on_context_create
        if create is not None:
            create(self, self.root.id)

    # -- request -------------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """`proxy_on_request_headers`."""
        if self.vm.failed is not None:
            return self._refuse()
        self._create()
        callback = self.vm.exports.proxy_on_request_headers
        if callback is None:
            return STOP_ITERATION if self._failed else CONTINUE
        maps = self.maps
        maps[0] = headers
        self._in_decode = True
        status = callback(self, len(headers.pairs), end_stream)
        self._in_decode = False
        if self._pseudo_changed and self._is_refused(fault_of_request(headers)):
            return STOP_ITERATION
        self.encoded = None
        if status == 0 and not self._replied:
            maps[0] = None
            return CONTINUE
        status = self._headers_status(status)
        if status == CONTINUE:
            maps[0] = None
        return status

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """`proxy_on_request_body`."""
        callback = self.vm.exports.proxy_on_request_body
        if callback is None:
            return STOP_ITERATION_NO_BUFFER if self._failed else CONTINUE
        if self._buffering_request:
            held = self.callbacks.decoding_buffer
            if held is not None and held is not data:
                held.append_buffer(data)
                data = held
        self._request_body = data
        self._in_decode = True
        status = callback(self, data.length & U32, end_stream)
        self._in_decode = False
        self._request_body = self.encoded = None
        status = self._data_status(status)
        self._buffering_request = status == STOP_ITERATION_AND_BUFFER
        if self._body_changed:
            self._fix_length(self.maps[0], data.length, end_stream)
        if status == CONTINUE:
            self.maps[0] = None
        return status

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """`proxy_on_request_trailers`."""
        callback = self.vm.exports.proxy_on_request_trailers
        if callback is None:
            return STOP_ITERATION if self._failed else CONTINUE
        self.maps[1] = trailers
        self._in_decode = True
        status = callback(self, len(trailers.pairs))
        self._in_decode = False
        self.encoded = None
        if self._stops(status):
            return STOP_ITERATION
        self.maps[1] = None
        return CONTINUE

    # -- response ------------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """`proxy_on_response_headers`."""
        self._in_response = True
        callback = self.vm.exports.proxy_on_response_headers
        if callback is None:
            return CONTINUE
        if not self.id:
            # Answered before this filter saw the request: Envoy shows it the answer all the same.
            self._create()
        maps = self.maps
        maps[2] = headers
        self._in_encode = True
        self._replied = False
        status = callback(self, len(headers.pairs), end_stream)
        self._in_encode = False
        if self._pseudo_changed and self._is_refused(fault_of_response(headers)):
            return STOP_ITERATION
        self.encoded = None
        if status == 0 and not self._replied:
            maps[2] = None
            return CONTINUE
        status = self._headers_status(status)
        if status == CONTINUE:
            maps[2] = None
        return status

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """`proxy_on_response_body`."""
        callback = self.vm.exports.proxy_on_response_body
        if callback is None:
            return STOP_ITERATION_NO_BUFFER if self._failed else CONTINUE
        if self._buffering_response:
            held = self.callbacks.encoding_buffer
            if held is not None and held is not data:
                held.append_buffer(data)
                data = held
        self._response_body = data
        self._in_encode = True
        status = callback(self, data.length & U32, end_stream)
        self._in_encode = False
        self._response_body = self.encoded = None
        status = self._data_status(status)
        self._buffering_response = status == STOP_ITERATION_AND_BUFFER
        if self._body_changed:
            self._fix_length(self.maps[2], data.length, end_stream)
        if status == CONTINUE:
            self.maps[2] = None
        return status

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """`proxy_on_response_trailers`."""
        callback = self.vm.exports.proxy_on_response_trailers
        if callback is None:
            return STOP_ITERATION if self._failed else CONTINUE
        self.maps[3] = trailers
        self._in_encode = True
        status = callback(self, len(trailers.pairs))
        self._in_encode = False
        self.encoded = None
        if self._stops(status):
            return STOP_ITERATION
        self.maps[3] = None
        return CONTINUE

    # -- statuses ------------------------------------------------------------------------------

    def _headers_status(self, answer: int) -> int:
        """What to answer after a headers callback."""
        if answer == FAILED and self.root.plugin.fail_open:
            return CONTINUE
        if answer == FAILED or self._replied:
            return STOP_ALL_ITERATION_AND_WATERMARK
        resume, self._resume = self._resume, False
        if resume:
            return CONTINUE
        return headers_status(answer, self.root.plugin.allow_on_headers_stop_iteration)

    def _data_status(self, answer: int) -> int:
        """What to answer after a body callback."""
        if answer == FAILED and self.root.plugin.fail_open:
            return CONTINUE
        if answer == FAILED or self._replied:
            return STOP_ITERATION_NO_BUFFER
        resume, self._resume = self._resume, False
        return CONTINUE if resume else data_status(answer)

    def _stops(self, status: int) -> bool:
        """Whether trailers are held back."""
        if status == FAILED and self.root.plugin.fail_open:
            return False
        if status == FAILED or self._replied:
            return True
        resume, self._resume = self._resume, False
        return status != 0 and not resume

    def _is_refused(self, fault: LocalReply | None) -> bool:
        """Whether the guest left a head that cannot go on; it is answered then."""
        self._pseudo_changed = False
        if fault is not None:
            self._reply(fault)
        return fault is not None

    def _fix_length(self, headers: HeaderMap | None, length: int, end_stream: bool) -> None:
        self._body_changed = False
        if headers is not None and not self.vm.strict:
            fix_content_length(headers, length, end_stream)

    # -- the end -------------------------------------------------------------------------------

    def on_stream_complete(self) -> None:
        """`proxy_on_log`."""
        self._ended = True
        if self.vm.failed is not None:
            return
        if not self.id:
            self._create()
        callback = self.vm.exports.proxy_on_log
        if callback is not None:
            self.encoded = None
            callback(self)

    def on_destroy(self) -> None:
        """`proxy_on_done`, then `proxy_on_delete`."""
        vm, root = self.vm, self.root
        self._ended = True
        if self.id and vm.failed is None:
            exports = vm.exports
            if exports.proxy_on_done is not None:
                exports.proxy_on_done(self)  # a stream cannot ask to live on; Envoy ignores false
            if exports.proxy_on_delete is not None:
                exports.proxy_on_delete(self)
            vm.contexts.pop(self.id, None)
        root.streams -= 1
        if root.finished is not None and not root.streams:
            root.last_stream_ended()

    def on_vm_failed(self) -> None:
        """The VM is gone: this stream is answered with 503, or reset if that is too late."""
        if self._ended:
            return
        if not self.root.plugin.fail_open:
            self._refuse()
        elif not (self._in_decode or self._in_encode):
            self._continue_request()
            self._continue_response()

    def _refuse(self) -> int:
        if self.root.plugin.fail_open:
            return CONTINUE
        self._failed = self._replied = True
        self._reply(FAIL_STREAM)
        return STOP_ALL_ITERATION_AND_WATERMARK

    def _reply(self, reply: LocalReply) -> None:
        self._replied = True
        self.callbacks.send_local_reply(reply)

    # -- hostcalls: maps -----------------------------------------------------------------------

    def closed_map(self, map_type: int) -> HeaderMap | None:
        """A map that has gone on or is not open yet; Envoy shows it in the log phase only."""
        if map_type <= RESPONSE_TRAILERS:
            if self.vm.strict and not self._ended:
                return None
            info = self.info
            if map_type == REQUEST_HEADERS:
                return info.request_headers
            if map_type == RESPONSE_HEADERS:
                return info.response_headers
            return info.request_trailers if map_type == REQUEST_TRAILERS else info.response_trailers
        return super().closed_map(map_type)

    def writable(self, map_type: int) -> HeaderMap | None:
        """The map, where it may be changed now; trailers are made with the last body bytes."""
        if map_type >= len(self.maps):
            return None
        found = self.maps[map_type]
        if found is None and (map_type in (REQUEST_TRAILERS, RESPONSE_TRAILERS)):
            found = self._new_trailers(map_type)
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

    def map_changed(self, map_type: int, name: bytes) -> None:
        """A changed request is routed anew; a pseudo header is checked before it goes on."""
        if map_type == REQUEST_HEADERS:
            self.callbacks.clear_route_cache()
        if name[:1] == b":":
            self._pseudo_changed = map_type in (REQUEST_HEADERS, RESPONSE_HEADERS)

    # -- hostcalls: bodies ---------------------------------------------------------------------

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
            if self.vm.strict or buffer_type > RESPONSE_BODY:
                return BAD_ARGUMENT
            self.warn(f"changes to buffer {buffer_type} outside of its phase are ignored")
            return OK
        if not change_buffer(buffer, start, size, data, self.vm.strict):
            return BAD_ARGUMENT
        self._body_changed = True
        return OK

    # -- hostcalls: going on -------------------------------------------------------------------

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
        if not self._ended:
            self.callbacks.continue_decoding()

    def _continue_response(self) -> None:
        self.maps[2] = self.maps[3] = None
        self._buffering_response = False
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

    # -- hostcalls: properties -----------------------------------------------------------------

    def get_property(self, path: bytes) -> bytes | int:
        """The encoded value, or a status."""
        if self.vm.strict and self._in_response and not self._ended:
            # Envoy has let go of the request's headers by then.
            head, _, name = path.partition(b"\0")
            if head == b"request" and name.partition(b"\0")[0] in FROM_REQUEST_HEADERS:
                return NOT_FOUND
        return super().get_property(path)

    def set_property(self, path: bytes, value: bytes) -> int:
        """Remember a value for the rest of the stream, for every filter and the access log."""
        info = self.info
        stored = info.filter_state
        if stored is not None and sum(map(len, stored.values())) + len(value) > MAX_PROPERTIES:
            return BAD_ARGUMENT
        info.set_filter_state(f"wasm.{property_key(path)}", value)
        return OK

    def stored_property(self, path: str) -> bytes | None:
        """What `set_property` remembered, on this stream or on the root."""
        stored = self.info.filter_state
        found = stored.get(f"wasm.{path}") if stored is not None else None
        return self.root.properties.get(path) if found is None else found


FROM_REQUEST_HEADERS: Final = frozenset(
    b"path url_path host scheme method referer useragent id query headers".split()
)
