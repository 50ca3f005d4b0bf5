"""One connection as a plugin sees it: the context, and all of a network filter but its base class.

Owns Envoy's order of callbacks, and which data are open when. Refuses to know how a connection
iterates its filters (`network_filters/filter_manager.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.buffer import Buffer
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    DOWNSTREAM_DATA,
    MAP_TYPES,
    OK,
    STREAM_DOWNSTREAM,
    STREAM_UPSTREAM,
    UNIMPLEMENTED,
    UPSTREAM_DATA,
)
from meshproxy.proxy_wasm.context import MAX_PROPERTIES, Context
from meshproxy.proxy_wasm.exports import FAILED
from meshproxy.proxy_wasm.guest_answers import change_buffer
from meshproxy.proxy_wasm.paused import REQUEST, RESPONSE
from meshproxy.proxy_wasm.root_context import RootContext, property_key

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo

# What a network filter answers with.
CONTINUE: Final = 0
STOP_ITERATION: Final = 1
# Who closed a connection, proxy_on_downstream_connection_close.
UNKNOWN: Final = 0
LOCAL: Final = 1
REMOTE: Final = 2
MAX_HELD: Final = 1 << 20
"""Bytes from upstream that a guest may hold back; Envoy holds as much as comes."""


class NetworkContext(Context):
    """A connection of one plugin. The guest learns of it with the first callback."""

    def __init__(self, root: RootContext, callbacks: Any) -> None:
        """`callbacks` is a `network_filters.filter.NetworkFilterCallbacks`."""
        self.root = root
        self.vm = root.vm
        root.streams += 1
        self.id = 0
        self.maps = [None] * MAP_TYPES
        self.encoded = None
        self.callbacks = callbacks
        self._downstream: Buffer | None = None  # what is shown, and stays shown while it is stopped
        self._upstream: Buffer | None = None
        self._held = Buffer()  # from upstream, stopped by the guest
        self._reading_stopped = False
        self._closed = False
        self._peer_ended = False  # it sends no more
        self._waiting = 0  # the directions that do
        self._let_go = False  # both sides have ended, and the last one was ours

    @property
    def info(self) -> StreamInfo:
        """The facts of the connection."""
        found: StreamInfo = self.callbacks.info
        return found

    # -- callbacks -----------------------------------------------------------------------------

    def on_new_connection(self) -> int:
        """`proxy_on_context_create`, `proxy_on_new_connection`."""
        vm = self.vm
        if vm.failed is not None:
            self.on_vm_failed()
            return CONTINUE if self.root.plugin.fail_open else STOP_ITERATION
        self.id = vm.new_id()
        vm.contexts[self.id] = self
        if vm.exports.proxy_on_context_create is not None:
            vm.exports.proxy_on_context_create(self, self.root.id)
        callback = vm.exports.proxy_on_new_connection
        status = self._status(CONTINUE if callback is None else callback(self))
        self._waits(REQUEST, status == STOP_ITERATION, "proxy_on_new_connection")
        return status

    def on_data(self, data: Buffer, end_stream: bool) -> int:
        """`proxy_on_downstream_data`: all that was read and not passed on."""
        self._peer_ended = end_stream
        callback = self.vm.exports.proxy_on_downstream_data
        if not self.id or callback is None:
            return self._status(CONTINUE)
        self._downstream = data
        status = self._status(callback(self, data.length, end_stream))
        self._reading_stopped = status == STOP_ITERATION
        # A guest that stops and has taken all bytes itself is done with them.
        stopped = self._reading_stopped and (end_stream or data.length > 0)
        self._waits(REQUEST, stopped, "proxy_on_downstream_data")
        if status == CONTINUE:
            self._downstream = None
        return status

    def on_write(self, data: Buffer, end_stream: bool) -> int:
        """`proxy_on_upstream_data`, and `proxy_on_upstream_connection_close` after the last of it.

        What the guest has held back comes before what is new.
        """
        if end_stream:
            self._let_go = self._peer_ended
        exports = self.vm.exports
        callback = exports.proxy_on_upstream_data
        status = CONTINUE
        if self.id and callback is not None:
            if self._held.length:
                data.prepend(self._held.take())
            self._upstream = data
            status = self._status(callback(self, data.length, end_stream))
            self._upstream = None
            if status == STOP_ITERATION:
                self._hold(data)
            self._waits(RESPONSE, self._held.length > 0, "proxy_on_upstream_data")
        if end_stream and self.id and exports.proxy_on_upstream_connection_close is not None:
            exports.proxy_on_upstream_connection_close(self, UNKNOWN)
        return status

    def on_closed(self, local: bool) -> None:
        """`proxy_on_downstream_connection_close`, then `on_done`, `on_log` and `on_delete`."""
        vm, root = self.vm, self.root
        self._waits(REQUEST, False)
        self._waits(RESPONSE, False)
        self._closed = True
        if self.id and vm.failed is None:
            # Of two ends without a close whoever ended last has closed, to Envoy.
            self._end(LOCAL if local or self._let_go else REMOTE)
        vm.contexts.pop(self.id, None)
        root.streams -= 1
        if root.finished is not None and not root.streams:
            root.last_stream_ended()

    def _end(self, peer: int) -> None:
        # Looked up each time: a trap in one of them takes the others away.
        vm = self.vm
        if vm.exports.proxy_on_downstream_connection_close is not None:
            vm.exports.proxy_on_downstream_connection_close(self, peer)
        if vm.exports.proxy_on_done is not None:
            vm.exports.proxy_on_done(self)
        if vm.exports.proxy_on_log is not None:
            vm.exports.proxy_on_log(self)
        if vm.exports.proxy_on_delete is not None:
            vm.exports.proxy_on_delete(self)

    def on_vm_failed(self) -> None:
        """The VM is gone: so is the connection, once what was written has been sent."""
        self._waits(REQUEST, False)
        self._waits(RESPONSE, False)
        if not self._closed and not self.root.plugin.fail_open:
            self.callbacks.connection.close_after_flush(False)

    def _status(self, answer: int) -> int:
        """A FilterStatus for a guest's answer."""
        if self.vm.failed is not None and (answer == FAILED or not self.root.plugin.fail_open):
            return CONTINUE if self.root.plugin.fail_open else STOP_ITERATION
        return CONTINUE if answer == CONTINUE else STOP_ITERATION

    # -- pausing -------------------------------------------------------------------------------

    def _waits(self, direction: int, stopped: bool, callback: str = "") -> None:
        """Whether this direction was stopped by the guest's last answer.

        It may want more bytes, and the peer an answer to those that came: from here that looks the
        same, so every byte that comes begins the wait anew.
        """
        if stopped and not self._closed and self.vm.failed is None:
            self._waiting |= direction
            self.root.paused.begin(self, direction, callback)
        elif self._waiting & direction:
            self._waiting &= ~direction
            self.root.paused.end(self, direction)

    def waits_as(self) -> str:
        """What the log calls it."""
        peer = self.callbacks.connection.remote_address
        return f"connection from {peer.text if peer is not None else '-'}"

    def waited_too_long(self) -> None:
        """The guest had its time: close."""
        self._waiting = 0
        self._close()

    def _hold(self, data: Buffer) -> None:
        self._held.append(data.take())
        if self._held.length > MAX_HELD:
            self.warn(f"holds back more than {MAX_HELD} bytes from upstream: connections end so")
            self._held.take()
            self.vm.deferred.append(self._close)
            self.vm.run_deferred()

    # -- hostcalls -----------------------------------------------------------------------------

    def buffer(self, buffer_type: int) -> Buffer | bytes | None:
        """The data shown now, or held back; the others as everywhere."""
        if buffer_type == DOWNSTREAM_DATA:
            return self._downstream
        if buffer_type == UPSTREAM_DATA:
            return self._upstream if self._upstream is not None else self._held
        return super().buffer(buffer_type)

    def set_buffer(self, buffer_type: int, start: int, size: int, data: bytes) -> int:
        """Replace `size` bytes from `start` of the data. Returns a status."""
        buffer = None
        if buffer_type == DOWNSTREAM_DATA:
            buffer = self._downstream
        elif buffer_type == UPSTREAM_DATA:
            buffer = self._upstream
        if buffer is None:
            return super().set_buffer(buffer_type, start, size, data)
        return OK if change_buffer(buffer, start, size, data, self.vm.strict) else BAD_ARGUMENT

    def continue_stream(self, stream_type: int) -> int:
        """Go on with what was read, after the callback. Returns a status."""
        if stream_type == STREAM_UPSTREAM:
            return UNIMPLEMENTED
        if stream_type == STREAM_DOWNSTREAM and not self._closed:
            self.vm.deferred.append(self._continue)
        return OK if stream_type <= STREAM_UPSTREAM else BAD_ARGUMENT

    def _continue(self) -> None:
        self._downstream = None
        self._waits(REQUEST, False)
        if self._reading_stopped and not self._closed:
            self._reading_stopped = False
            self.callbacks.continue_reading()

    def close_stream(self, stream_type: int) -> int:
        """Close the connection, after the callback, and after what was written. Returns a
        status."""
        if stream_type in (STREAM_DOWNSTREAM, STREAM_UPSTREAM):
            self.vm.deferred.append(self._close)
        return OK if stream_type <= STREAM_UPSTREAM else BAD_ARGUMENT

    def _close(self) -> None:
        if not self._closed:
            self.callbacks.connection.close_after_flush(False)

    # -- properties ----------------------------------------------------------------------------

    def set_property(self, path: bytes, value: bytes) -> int:
        """Remember a value for the rest of the connection. Returns a status."""
        info = self.info
        stored = info.filter_state
        if stored is not None and sum(map(len, stored.values())) + len(value) > MAX_PROPERTIES:
            return BAD_ARGUMENT
        info.set_filter_state(f"wasm.{property_key(path)}", value)
        return OK

    def stored_property(self, path: str) -> bytes | None:
        """What `set_property` remembered, on this connection or on the root."""
        stored = self.info.filter_state
        found = stored.get(f"wasm.{path}") if stored is not None else None
        return self.root.properties.get(path) if found is None else found
