"""The root context of a plugin: configuration, timer, queues, HTTP calls.

Owns what outlives a stream. Refuses to know streams: they only point here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    BROKEN_CONNECTION,
    HTTP_CALL_RESPONSE_HEADERS,
    HTTP_CALL_RESPONSE_TRAILERS,
    MAP_TYPES,
    NOT_FOUND,
    OK,
    RESPONSE_TRAILERS,
)
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.proxy_wasm.context import MAX_PROPERTIES, Context
from meshproxy.proxy_wasm.exports import CALLBACK_INDEX, FAILED
from meshproxy.proxy_wasm.foreign_state import Declared
from meshproxy.proxy_wasm.grpc_calls import GrpcCalls
from meshproxy.proxy_wasm.header_names import REQUEST_PSEUDO, clean
from meshproxy.proxy_wasm.pairs import Pair
from meshproxy.proxy_wasm.paused import PausedStreams
from meshproxy.proxy_wasm.services import HttpCallRequest, HttpCallResponse
from meshproxy.stats.metrics import WasmPluginStats
from meshproxy.stats.store import Histogram
from meshproxy.wasm.errors import ModuleError

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Timer
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.proxy_wasm.vm import Vm

NO_TIMES: Final = Histogram()
MAX_CALLS: Final = 1024
"""Outstanding HTTP calls of one root."""
HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te")
)


class RootContext(Context):
    """One plugin in its VM. Made before the VM has code to run; `configure` starts it."""

    def __init__(self, vm: Vm, plugin: PluginConfig) -> None:
        self.vm = vm
        self.root = self
        self.id = 0
        self.plugin: PluginConfig = plugin
        self.prefix = plugin.log_prefix
        self.users = 0  # plugins with this key
        self.streams = 0
        self.paused = PausedStreams(self)
        self.finished: Callable[[], None] | None = None  # called when a retired root has ended
        scope = vm.services.store.scope(f"wasm.{plugin.name}.")
        self.stats = scope.block(WasmPluginStats)
        # Microseconds per callback, by CALLBACK_INDEX; one that the module lacks is never recorded.
        self.times: list[Histogram] = [NO_TIMES] * len(CALLBACK_INDEX)
        self.maps = [None] * MAP_TYPES
        self.encoded = None
        self.properties: dict[str, bytes] = {}
        self.declared: dict[str, Declared] = {}
        self.warned: set[str] = set()
        self.configuring = False
        self.call_status: tuple[int, bytes] = (0, b"")
        self.call_body: bytes | None = None
        self.call_maps: dict[int, HeaderMap] = {}
        self.grpc = GrpcCalls(self)
        self._calls: dict[int, Timer] = {}
        self._tick: Timer | None = None
        self._tick_period = 0.0
        self._logged: StreamInfo | None = None
        self._draining = False  # it waits for the guest to be done
        self._asking = False  # proxy_on_done is running
        self._patience: Timer | None = None

    def configure(self) -> None:
        """Create, start and configure. Raises ModuleError naming the callback that failed."""
        vm, exports = self.vm, self.vm.exports
        scope = vm.services.store.scope(f"wasm.{self.plugin.name}.callback.")
        for name in exports.present():
            self.times[CALLBACK_INDEX[name]] = scope.histogram(f"{name}.time_us")
        self.id = vm.new_id()
        vm.contexts[self.id] = self
        vm.starting()
        if exports.proxy_on_context_create is not None:
            self.configuring = True  # as in Envoy, the configuration can be read here already
            self._start("proxy_on_context_create", exports.proxy_on_context_create(self, 0) or 1)
            self.configuring = False
        if exports.proxy_on_vm_start is not None:
            size = len(self.plugin.vm.configuration)
            self._start("proxy_on_vm_start", exports.proxy_on_vm_start(self, size))
        if exports.proxy_on_configure is not None:
            self.configuring = True
            size = len(self.plugin.configuration)
            self._start("proxy_on_configure", exports.proxy_on_configure(self, size))
            self.configuring = False
        vm.started()

    def _start(self, callback: str, result: int) -> None:
        if result == FAILED:
            raise ModuleError(self.vm.name, f"{callback} failed: {self.vm.failed}")
        if not result:
            self.vm.contexts.pop(self.id, None)
            self.on_vm_failed()  # what it has set up goes with it
            raise ModuleError(self.vm.name, f"{callback} returned false")

    # -- timer ---------------------------------------------------------------------------------

    def set_tick_period(self, milliseconds: int) -> int:
        """Tick every so often, or no more. Returns a status."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._tick_period = milliseconds / 1000
        if milliseconds:
            self._tick = self.vm.services.dispatcher.call_later(self._tick_period, self._on_tick)
        return OK

    def _on_tick(self) -> None:
        self._tick = None
        if self.vm.failed is None and self.vm.exports.proxy_on_tick is not None:
            self.vm.exports.proxy_on_tick(self)
        # The callback may have set another period, stopped the timer, or failed.
        if self._wants_tick():
            self.set_tick_period(round(self._tick_period * 1000))

    def _wants_tick(self) -> bool:
        # A call, so that type checkers believe that a callback can have changed `_tick`; compiled,
        # what they believe is checked.
        return self._tick is None and bool(self._tick_period) and self.vm.failed is None

    # -- properties and queues -----------------------------------------------------------------

    def set_property(self, path: bytes, value: bytes) -> int:
        """Remember a value for as long as the root lives; in Envoy only a stream can. Returns a
        status."""
        if self.vm.strict:
            return NOT_FOUND
        known = sum(map(len, self.properties.values()))
        if known + len(value) > MAX_PROPERTIES:
            return BAD_ARGUMENT
        self.properties[property_key(path)] = value
        return OK

    def on_queue_item(self, token: int) -> None:
        """A queue of this root has an item; its VM may be running, so the callback waits."""

        def ready() -> None:
            if self.vm.failed is None and self.vm.exports.proxy_on_queue_ready is not None:
                self.vm.exports.proxy_on_queue_ready(self, token)

        self.vm.services.dispatcher.call_later(0.0, ready)

    # -- HTTP calls ----------------------------------------------------------------------------

    def http_call(
        self, upstream: str, headers: list[Pair], body: bytes, trailers: list[Pair], timeout: int
    ) -> int | None:
        """Start a call; its token, or None where it cannot be made. `timeout` in milliseconds."""
        caller = self.vm.services.http_caller
        pairs, _ = clean(headers, REQUEST_PSEUDO)
        names = {name for name, _ in pairs}
        required = {b":method", b":path", b":authority"} <= names
        if caller is None or not required or timeout >= 1 << 31 or len(self._calls) >= MAX_CALLS:
            return None
        # A filter that copies the client's headers copies its content-length, too: it is not true.
        pairs = [
            pair for pair in pairs if pair[0] not in HOP_BY_HOP and pair[0] != b"content-length"
        ]
        if body:
            pairs.append((b"content-length", b"%d" % len(body)))
        token = 0
        request = HttpCallRequest(upstream, pairs, body, trailers, timeout / 1000)
        timer = caller.call(request, lambda response: self._on_http_call_response(token, response))
        if timer is None:
            return None
        token = self.vm.new_token()  # no answer comes before the call has returned
        self._calls[token] = timer
        return token

    def _on_http_call_response(self, token: int, response: HttpCallResponse) -> None:
        if self._calls.pop(token, None) is None or self.vm.failed is not None:
            return
        callback = self.vm.exports.proxy_on_http_call_response
        if callback is None:
            return
        if response.failure:
            self.call_status = (BROKEN_CONNECTION, b"reset")
            if not self.vm.strict:
                # No headers at all is Envoy's word for it, and a panic in older Go filters.
                response = broken_response(response.failure)
        headers, trailers = response.headers, response.trailers
        self.call_maps = {
            HTTP_CALL_RESPONSE_HEADERS: HeaderMap(headers),
            HTTP_CALL_RESPONSE_TRAILERS: HeaderMap(trailers),
        }
        self.call_body = response.body
        callback(self, token, len(headers), len(response.body), len(trailers))
        self.call_body = self.encoded = None
        self.call_maps = {}
        self.call_status = (0, b"")

    # -- access log ----------------------------------------------------------------------------

    @property
    def info(self) -> StreamInfo | None:
        """The facts of the stream that is being logged, None at other times."""
        return self._logged

    def on_log(self, info: StreamInfo) -> None:
        """`proxy_on_log`, for a stream that has no context in this VM."""
        callback = self.vm.exports.proxy_on_log
        if callback is not None:
            self._logged, self.encoded = info, None
            callback(self)
            self._logged = self.encoded = None

    def closed_map(self, map_type: int) -> HeaderMap | None:
        """A map of the stream that is being logged, or of the call that was answered."""
        info = self._logged
        if info is None or map_type > RESPONSE_TRAILERS:
            return super().closed_map(map_type)
        return (
            info.request_headers, info.request_trailers,
            info.response_headers, info.response_trailers,
        )[map_type]  # fmt: skip

    # -- the end -------------------------------------------------------------------------------

    def retire(self, finished: Callable[[], None]) -> None:
        """No new stream comes here: the root ends after its last one, and says so by `finished`."""
        self.finished = finished
        if not self.streams:
            self._shut_down()

    def last_stream_ended(self) -> None:
        """Nobody needs this root. Whoever says so may be in the middle of something."""
        self.vm.services.dispatcher.call_later(0.0, self._shut_down)

    def _shut_down(self) -> None:
        """`proxy_on_done`, and once the guest agrees, or its time is over, `proxy_on_delete`."""
        if self.vm.failed is not None or self._draining:
            return
        self._draining = True
        exports = self.vm.exports
        self._asking = True
        done = 1 if exports.proxy_on_done is None else exports.proxy_on_done(self)
        self._asking = False
        if done:
            self._delete()
        elif self._draining:
            limit = self.plugin.vm.limits.done_timeout
            self._patience = self.vm.services.dispatcher.call_later(limit, self._lose_patience)

    def _lose_patience(self) -> None:
        limit = self.plugin.vm.limits.done_timeout
        self.warn(f"proxy_done was not called within {limit:g} s of proxy_on_done: it ends now")
        self._delete()

    def done(self) -> int:
        """The guest agrees now. Returns a status."""
        if not self._draining or (self._asking and self.vm.strict):
            return NOT_FOUND
        self.vm.deferred.append(self._delete)
        return OK

    def _delete(self) -> None:
        if not self._draining:
            return
        self._draining = False
        if self.vm.exports.proxy_on_delete is not None:
            self.vm.exports.proxy_on_delete(self)
        self.vm.contexts.pop(self.id, None)
        self.on_vm_failed()
        if self.finished is not None and self.vm.failed is None:
            self.finished()

    def on_vm_failed(self) -> None:
        """Nothing will be called any more: timers and calls end."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._tick_period = 0.0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        self.grpc.close_all()
        self.vm.services.shared_queues.unregister(self.on_queue_item)


def broken_response(reason: str) -> HttpCallResponse:
    """What stands for an answer that was not completed."""
    body = f"upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    length = b"%d" % len(body)
    headers = [(b":status", b"503"), (b"content-length", length), (b"content-type", b"text/plain")]
    return HttpCallResponse(headers, body.encode())


def property_key(path: bytes) -> str:
    """The name under which a guest's property is kept; a trailing NUL does not count."""
    return path.removesuffix(b"\0").decode("utf-8", "surrogateescape")
