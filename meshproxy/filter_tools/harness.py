"""A world for filters with nothing real around them: the product's VMs and streams, a fake clock.

Owns loading, what all filters of one world share, and what they leave behind: log lines, metrics,
callouts, traps. Refuses to touch the network, and to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from meshproxy.config.cel import CelEngine
from meshproxy.filter_tools.callouts import Answer, Callout, ScriptedUpstreams
from meshproxy.filter_tools.clock import FakeClock
from meshproxy.filter_tools.ends import route_table
from meshproxy.filter_tools.grpc_callouts import GrpcAnswer, GrpcCallout, ScriptedGrpc
from meshproxy.filter_tools.http_stream import AUTHORITY, HttpStream
from meshproxy.filter_tools.loaded_filter import LoadedFilter, Trap
from meshproxy.filter_tools.logs import LogLine, LogTap
from meshproxy.filter_tools.messages import HeadersInput, Response, with_length
from meshproxy.filter_tools.tcp_connection import TcpConnection
from meshproxy.http.conn_manager import HttpConnectionManager, HttpConnectionManagerConfig
from meshproxy.http.filter_chain import FilterChain
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.expressions import VARIABLES
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.trace import Step, Tracer
from meshproxy.proxy_wasm.vm import Vm
from meshproxy.proxy_wasm.vm_pool import VmPool
from meshproxy.router.route import RouteConfiguration
from meshproxy.stats.metrics import HttpStats, ListenerHttpStats
from meshproxy.stats.store import Histogram, Metric, Store
from meshproxy.wasm.code_source import CodeSource, InlineCode, LocalFile
from meshproxy.wasm.engine import Engine, process_engine
from meshproxy.wasm.limits import Limits

BUFFER_LIMIT: Final = 1 << 20
GUEST_METRICS: Final = "wasmcustom."
FIRST_SECOND: Final = 1.0
"""What WASI's monotonic clock says at the start: Go's runtime gives up on 0."""


class FilterHarness:
    """A world of its own. Close it, or use it as a context manager.

    routes: clusters by prefix of the path, or a route table, which chooses the cluster (its own
    mutations and rewrites are not done). clusters: names that callouts can reach, None for all.
    buffer_limit: bytes that a filter may hold back. log_level: the lowest level that is collected.
    trace: told every hostcall and callback of every VM (`proxy_wasm/trace.py`).
    """

    def __init__(
        self,
        *,
        routes: Mapping[str, str] | RouteConfiguration | None = None,
        clusters: Collection[str] | None = None,
        buffer_limit: int = BUFFER_LIMIT,
        log_level: str = "trace",
        propagate_logs: bool = True,
        trace: Callable[[Vm, Step], None] | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.store = Store()
        self._upstreams = ScriptedUpstreams(self.clock, clusters)
        self._grpc = ScriptedGrpc(self.clock, clusters)
        self.services = Services(
            self.clock, self.store, engine or process_engine(), http_caller=self._upstreams,
            grpc_client=self._grpc,
            realtime=lambda: round(self.clock.time() * 1e9),
            monotonic=lambda: round((self.clock.now() + FIRST_SECOND) * 1e9),
            tracer=_tracer(trace), expressions=CelEngine(VARIABLES),
        )  # fmt: skip
        self._pool = self.services.pool = VmPool(self.services)
        self._filters: list[LoadedFilter] = []
        self._connections: list[TcpConnection] = []
        self._buffer_limit = buffer_limit
        self._traps: list[Trap] = []
        self._manager = HttpConnectionManager(
            HttpConnectionManagerConfig(
                stat_prefix="ingress_http", route_config=route_table(routes or {"/": "upstream"})
            ),
            FilterChain((), _no_terminal, buffer_limit),
            self.store.scope("http.ingress_http.").block(HttpStats),
            self.store.scope("listener.main.http.ingress_http.").block(ListenerHttpStats),
            self.clock,
        )
        self._logs = LogTap(
            lambda: [each.config.log_prefix for each in self._filters], log_level, propagate_logs
        )
        self._logs.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the streams that are still open, then every plugin with its roots and its VM."""
        for stream in tuple(self._manager.active):
            stream.on_reset("harness_closed")
        for connection in self._connections:
            connection.close()
        for each in self._filters:
            each.close()
        self.advance(0)
        self._logs.stop()

    # -- filters -------------------------------------------------------------------------------

    def load(
        self,
        wasm: str | Path | bytes,
        configuration: str | bytes = b"",
        *,
        name: str = "filter",
        root_id: str = "",
        vm_id: str = "",
        vm_configuration: str | bytes = b"",
        environment: Mapping[str, str] | None = None,
        allow_on_headers_stop_iteration: bool = False,
        strict: bool = False,
        limits: Limits | None = None,
        **options: Any,
    ) -> LoadedFilter:
        """Start a filter: a path, or a module's bytes. Raises ModuleError with the reason.

        `strict` is `compat: envoy`; `options` are further fields of
        `proxy_wasm.config.PluginConfig`.
        """
        code: CodeSource
        code = InlineCode(wasm, name) if isinstance(wasm, bytes) else LocalFile(str(wasm))
        vm = VmConfig(
            code, vm_id=vm_id, configuration=_bytes(vm_configuration),
            environment_variables=environment or {}, limits=limits or Limits(), strict=strict,
        )  # fmt: skip
        plugin = PluginConfig(
            vm, name=name, root_id=root_id, configuration=_bytes(configuration),
            allow_on_headers_stop_iteration=allow_on_headers_stop_iteration, **options,
        )  # fmt: skip
        return self.load_plugin(plugin)

    def load_plugin(self, plugin: PluginConfig) -> LoadedFilter:
        """Start a plugin that has been configured. Raises ModuleError with the reason."""
        loaded = LoadedFilter(self, plugin)
        self._filters.append(loaded)
        try:
            loaded.start(self._pool)
        except BaseException:
            self._filters.remove(loaded)
            raise
        self.advance(0)
        return loaded

    def stream(self, *filters: LoadedFilter, source: str = "") -> HttpStream:
        """A new stream through these filters in their order, all loaded ones by default.

        `source` is the client's address, `ip:port`.
        """
        chain = filters or tuple(self._filters)
        return HttpStream(
            self._manager, [each.new_filter for each in chain], self._buffer_limit,
            lambda: self.advance(0), source,
        )  # fmt: skip

    def connection(self, *filters: LoadedFilter, source: str = "") -> TcpConnection:
        """A new TCP connection through these filters, as network filters; else as `stream`."""
        chain = filters or tuple(self._filters)
        connection = TcpConnection(
            [each.network_filter() for each in chain], self._buffer_limit, self.clock,
            lambda: self.advance(0), source,
        )  # fmt: skip
        self._connections.append(connection)
        return connection

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
        filters: Collection[LoadedFilter] = (),
    ) -> HttpStream:
        """One whole request; where it reaches the upstream that answers with `response` (200)."""
        stream = self.stream(*filters, source=source)
        ends = not body and not trailers
        stream.request_headers(
            method, path, with_length(headers, body), end_stream=ends, authority=authority
        )
        if body:
            stream.request_body(body, end_stream=not trailers)
        if trailers:
            stream.request_trailers(trailers)
        if stream.upstream.complete and not stream.ended:
            stream.respond(response or Response())
        return stream

    # -- time and callouts ---------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass: ticks, timeouts of callouts, and what streams wait for."""
        self.clock.advance(seconds)
        for stream in tuple(self._manager.active):
            stream.sweep(self.clock.now())

    def on_callout(self, upstream: str, answer: Answer) -> None:
        """Answer every callout to `upstream` from now on, by a Response or by a function."""
        self._upstreams.script(upstream, answer)

    def on_grpc_callout(self, upstream: str, answer: GrpcAnswer) -> None:
        """Answer every gRPC call to `upstream` from now on, by a GrpcResponse or by a function."""
        self._grpc.script(upstream, answer)

    @property
    def callouts(self) -> list[Callout]:
        """Every `proxy_http_call` that was accepted, in order."""
        return self._upstreams.calls

    @property
    def grpc_callouts(self) -> list[GrpcCallout]:
        """Every `proxy_grpc_call` and `proxy_grpc_stream` that was accepted, in order."""
        return self._grpc.calls

    # -- what filters left behind --------------------------------------------------------------

    @property
    def logs(self) -> list[LogLine]:
        """Every line that was logged, from loading on."""
        return self._logs.lines

    @property
    def metrics(self) -> dict[str, int]:
        """Metrics that filters defined, by their name; of a histogram the number of records."""
        return {
            name.removeprefix(GUEST_METRICS): _value(metric)
            for name, metric in self.store.metrics.items()
            if name.startswith(GUEST_METRICS)
        }

    def histogram(self, name: str) -> list[tuple[int, int]]:
        """(lower bound, count) of the values that a filter recorded in a histogram."""
        metric = self.store.metrics.get(GUEST_METRICS + name)
        if not isinstance(metric, Histogram):
            raise KeyError(f"no histogram {name}; there are: {', '.join(self.metrics) or 'none'}")
        return metric.distribution()

    @property
    def traps(self) -> list[Trap]:
        """Every callback that did not return."""
        return self._traps


def _tracer(told: Callable[[Vm, Step], None] | None) -> Tracer:
    """Who is told. Nobody else, or VMs would write their steps to the log where trace lines are
    collected, and without the ABI core, which a traced VM has not.
    """
    return lambda vm: partial(told, vm) if told is not None else None


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _value(metric: Metric) -> int:
    if isinstance(metric, Histogram):
        return metric.count
    value: int = metric.value  # type: ignore[attr-defined]  # counters and gauges have one
    return value


def _no_terminal(stream: Any) -> Any:
    raise AssertionError("every stream brings its own chain")
