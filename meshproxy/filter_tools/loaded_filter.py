"""One started filter of a harness, with the verbs that a test of one filter needs.

Owns the life of the product's plugin object, and the noting of its traps. Refuses to make a world
(`harness.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshproxy.filter_tools.http_stream import AUTHORITY, HttpStream
from meshproxy.filter_tools.messages import HeadersInput, Response
from meshproxy.network_filters.filter import (
    NetworkFilter,
    NetworkFilterCallbacks,
    NetworkFilterFactory,
    PlainFactory,
)
from meshproxy.network_filters.wasm import Refusal
from meshproxy.proxy_wasm.config import FAIL_OPEN
from meshproxy.proxy_wasm.network_context import NetworkContext
from meshproxy.proxy_wasm.plugin import Plugin

if TYPE_CHECKING:
    from meshproxy.filter_tools.callouts import Answer, Callout
    from meshproxy.filter_tools.grpc_callouts import GrpcAnswer, GrpcCallout
    from meshproxy.filter_tools.harness import FilterHarness
    from meshproxy.filter_tools.logs import LogLine
    from meshproxy.filter_tools.tcp_connection import TcpConnection
    from meshproxy.http.filter import HttpFilter
    from meshproxy.proxy_wasm.config import PluginConfig
    from meshproxy.proxy_wasm.vm import Vm
    from meshproxy.proxy_wasm.vm_pool import VmPool


@dataclass(frozen=True, slots=True)
class Trap:
    """A callback that did not return: `reason` in one line, frames innermost first."""

    plugin: str
    reason: str
    backtrace: tuple[str, ...] = ()


class ConnectionFilter(NetworkContext, NetworkFilter):
    """The context of a connection, which is its filter."""


class LoadedFilter:
    """A filter that has been started; `harness.load` makes it.

    Has the harness's verbs for the usual case of one filter: `request`, `stream`, `advance` …
    """

    def __init__(self, harness: FilterHarness, config: PluginConfig) -> None:
        self.harness = harness
        self.config = config
        self._plugin: Plugin | None = None
        self._watched: Vm | None = None
        self._closed = False

    def start(self, pool: VmPool) -> None:
        """Load and configure. Raises ModuleError with the reason."""
        self._plugin = Plugin(pool, self.config)
        self._watch()

    @property
    def plugin(self) -> Plugin:
        """The product's own object for it."""
        assert self._plugin is not None, "only start() makes a filter visible"
        return self._plugin

    def new_filter(self) -> HttpFilter:
        """This filter's part in one stream; after a trap it may bring a fresh VM."""
        made = self.plugin.new_filter()
        self._watch()
        return made

    def network_filter(self) -> NetworkFilterFactory:
        """This filter's part in TCP connections."""

        def make(callbacks: NetworkFilterCallbacks) -> NetworkFilter:
            root = self.plugin.serving_root()
            self._watch()
            if root is not None:
                return ConnectionFilter(root, callbacks)
            is_open = self.config.failure_policy == FAIL_OPEN
            return NetworkFilter() if is_open else Refusal(callbacks)

        return PlainFactory(make)

    def _watch(self) -> None:
        """Note it when the VM that serves now fails."""
        vm = self.plugin.vm
        if vm is None or vm is self._watched:
            return
        self._watched = vm

        def failed() -> None:
            assert vm.failed is not None
            self.traps.append(Trap(self.config.name, vm.failed.reason, vm.failed.backtrace))

        vm.on_failed.append(failed)

    def close(self) -> None:
        """The filter is not configured any more; open streams go on, and its VM with them."""
        if not self._closed:
            self._closed = True
            self.plugin.close()

    def stream(self, *, source: str = "") -> HttpStream:
        """A new stream through this filter alone; `source` is the client's `ip:port`."""
        return self.harness.stream(self, source=source)

    def connection(self, *, source: str = "") -> TcpConnection:
        """A new TCP connection through this filter alone; `source` is the client's `ip:port`."""
        return self.harness.connection(self, source=source)

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        headers: HeadersInput = (),
        body: bytes | str = b"",
        *,
        trailers: HeadersInput = (),
        response: Response | None = None,
        authority: str = AUTHORITY,
        source: str = "",
    ) -> HttpStream:
        """One whole request through this filter alone (see `FilterHarness.request`)."""
        return self.harness.request(
            method, path, headers, body, trailers=trailers, response=response,
            authority=authority, source=source, filters=(self,),
        )  # fmt: skip

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.harness.advance(seconds)

    def on_callout(self, upstream: str, answer: Answer) -> None:
        """Answer every callout to `upstream` from now on."""
        self.harness.on_callout(upstream, answer)

    def on_grpc_callout(self, upstream: str, answer: GrpcAnswer) -> None:
        """Answer every gRPC call to `upstream` from now on."""
        self.harness.on_grpc_callout(upstream, answer)

    @property
    def callouts(self) -> list[Callout]:
        """Every callout, in order."""
        return self.harness.callouts

    @property
    def grpc_callouts(self) -> list[GrpcCallout]:
        """Every gRPC call and stream, in order."""
        return self.harness.grpc_callouts

    @property
    def logs(self) -> list[LogLine]:
        """The lines of this filter, and those of the host about it."""
        own = self.config.log_prefix.strip()
        return [line for line in self.harness.logs if line.plugin == own]

    @property
    def metrics(self) -> dict[str, int]:
        """Metrics that filters defined, by their name."""
        return self.harness.metrics

    @property
    def traps(self) -> list[Trap]:
        """Every callback that did not return."""
        return self.harness.traps
