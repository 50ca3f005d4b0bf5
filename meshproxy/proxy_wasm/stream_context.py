"""One HTTP stream as a plugin sees it: the context, and at the same time the HTTP filter.

Owns Envoy's rules of pausing, of the order of callbacks, and of the end. Refuses to know what
hostcalls mean (`stream_calls.py`) and how a stream iterates its filters (`http/filter_path.py`).
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_AND_WATERMARK,
    STOP_ITERATION_NO_BUFFER,
    FilterCallbacks,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.metadata import MetadataMap
from meshproxy.proxy_wasm.abi import U32
from meshproxy.proxy_wasm.exports import FAILED
from meshproxy.proxy_wasm.guest_answers import (
    FAIL_STREAM,
    data_status,
    fault_of_request,
    fault_of_response,
    fix_content_length,
    headers_status,
)
from meshproxy.proxy_wasm.paused import REQUEST, RESPONSE
from meshproxy.proxy_wasm.root_context import RootContext
from meshproxy.proxy_wasm.stream_calls import StreamCalls

WAITED_TOO_LONG: Final = LocalReply(
    504, "wasm_paused_too_long", b"a filter did not let the request go on in time"
)


class StreamContext(StreamCalls):
    """A stream of one plugin, and its `http.filter.HttpFilter`. The guest learns of it with the
    first callback.

    Deliberately without `__slots__`: the class attributes are the initial values, so that a stream
    sets only what it needs (see `http/stream_info.py`).
    """

    id = 0
    encoded: tuple[int, bytes] | None = None
    _failed = False

    def __init__(self, root: RootContext, silent: frozenset[str]) -> None:
        self.root = root
        self.silent = silent
        root.streams += 1
        self.vm = root.vm
        self.maps = [None, None, None, None, None, None, None, None]

    def set_callbacks(self, callbacks: FilterCallbacks) -> None:
        """Called once, before any phase."""
        self.callbacks = callbacks

    # -- the guest's knowledge of the stream ---------------------------------------------------

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
        status = callback.enter(self, len(headers.pairs), end_stream)
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
        elif status != STOP_ITERATION or end_stream:
            self._waits(REQUEST, "proxy_on_request_headers")
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
            self.maps[0] = self.maps[1] = None
            if self._waiting:
                self.goes_on(REQUEST)
        elif end_stream or status == STOP_ITERATION_AND_WATERMARK:
            self._waits(REQUEST, "proxy_on_request_body")
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
            self._waits(REQUEST, "proxy_on_request_trailers")
            return STOP_ITERATION
        self.maps[1] = None
        if self._waiting:
            self.goes_on(REQUEST)
        return CONTINUE

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """`proxy_on_request_metadata`; of the map Envoy lets a guest know the size only."""
        callback = self.vm.exports.proxy_on_request_metadata
        if callback is not None:
            callback(self, len(metadata))
            self.encoded = None

    # -- response ------------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """`proxy_on_response_headers`."""
        self._in_response = True
        callback = self.vm.exports.proxy_on_response_headers
        if callback is None or not self.id:
            # A filter that has not seen the request, because one before it answered, does not see
            # the answer either; only the log phase makes a context of it.
            return CONTINUE
        maps = self.maps
        maps[2] = headers
        self._in_encode = True
        if self._replied:
            self._replied, self._answered = False, True
        status = callback.enter(self, len(headers.pairs), end_stream)
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
        elif status != STOP_ITERATION or end_stream:
            self._waits(RESPONSE, "proxy_on_response_headers")
        return status

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """`proxy_on_response_body`."""
        callback = self.vm.exports.proxy_on_response_body
        if callback is None or not self.id:
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
            self.maps[2] = self.maps[3] = None
            if self._waiting:
                self.goes_on(RESPONSE)
        elif end_stream or status == STOP_ITERATION_AND_WATERMARK:
            self._waits(RESPONSE, "proxy_on_response_body")
        return status

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """`proxy_on_response_trailers`."""
        callback = self.vm.exports.proxy_on_response_trailers
        if callback is None or not self.id:
            return STOP_ITERATION if self._failed else CONTINUE
        self.maps[3] = trailers
        self._in_encode = True
        status = callback(self, len(trailers.pairs))
        self._in_encode = False
        self.encoded = None
        if self._stops(status):
            self._waits(RESPONSE, "proxy_on_response_trailers")
            return STOP_ITERATION
        self.maps[3] = None
        if self._waiting:
            self.goes_on(RESPONSE)
        return CONTINUE

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """`proxy_on_response_metadata`."""
        callback = self.vm.exports.proxy_on_response_metadata
        if callback is not None and self.id:
            callback(self, len(metadata))
            self.encoded = None

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

    # -- pausing -------------------------------------------------------------------------------

    def _waits(self, direction: int, callback: str) -> None:
        """From now on only the guest can let this direction go on: no callback will come by
        itself."""
        over = self._ended or (self._answered and direction == REQUEST)
        if not (over or self._replied or self._failed):
            self._waiting |= direction
            self.root.paused.begin(self, direction, callback)

    def goes_on(self, direction: int) -> None:
        """This direction does not wait for the guest, or not any more."""
        if self._waiting & direction:
            self._waiting &= ~direction
            self.root.paused.end(self, direction)

    def waits_as(self) -> str:
        """What the log calls it."""
        head = self.info.request_headers
        method, host, path = (
            (head.get(name) or b"-").decode("utf-8", "backslashreplace") if head else "-"
            for name in (b":method", b":authority", b":path")
        )
        return f"stream {method} {host}{path}"

    def waited_too_long(self) -> None:
        """The guest had its time: answer, or reset where headers have been sent."""
        self._reply(WAITED_TOO_LONG)

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
            self._in_log = True
            callback(self)
            self._in_log = False

    def on_destroy(self) -> None:
        """`proxy_on_done`, then `proxy_on_delete`."""
        vm, root = self.vm, self.root
        self._ended = True
        if self._waiting:
            self.goes_on(REQUEST)
            self.goes_on(RESPONSE)
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
        self._failed = True
        self._reply(FAIL_STREAM)
        return STOP_ALL_ITERATION_AND_WATERMARK

    def _reply(self, reply: LocalReply) -> None:
        self._replied = True
        self.callbacks.send_local_reply(reply)
