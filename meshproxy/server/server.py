"""One server: from a read configuration to the exit code.

Owns signals, states and the order of starting and stopping. Refuses to know where a configuration
comes from and what comes after the server (`process.py`), and how requests are served: `build.py`
wires that.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import meshproxy
from meshproxy.config.bootstrap import ServerConfig
from meshproxy.config.cel import CelEngine
from meshproxy.errors import StartupError
from meshproxy.http.local_info import LocalInfo
from meshproxy.http.log_file import AccessLogManager
from meshproxy.network.connector import Connector
from meshproxy.network.dispatcher import LoopDispatcher
from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.network.tls.watch import SecretWatcher
from meshproxy.proxy_wasm.expressions import VARIABLES
from meshproxy.proxy_wasm.services import Node, Services
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.router import RouterFactory
from meshproxy.server import log_levels
from meshproxy.server import logging as server_logging
from meshproxy.server.build import World, build_listener, build_upstream_chains
from meshproxy.server.code import code_fetcher
from meshproxy.server.drain import DEFAULT_GRACE, NEXT, State, drain
from meshproxy.server.wasm_callouts import GrpcCalls, HttpCalls
from meshproxy.stats.memory import give_back
from meshproxy.stats.metrics import ListenerManagerStats, RouterStats
from meshproxy.stats.server_metrics import ServerMetrics
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.resolver import SystemResolver

if TYPE_CHECKING:
    from meshproxy.network.listener import Listener
    from meshproxy.proxy_wasm.vm_pool import VmPool
    from meshproxy.server.dapr.sidecar import DaprSidecar
    from meshproxy.server.options import Options
    from meshproxy.upstream.cluster import Cluster

logger = logging.getLogger("meshproxy.main")
dapr_logger = logging.getLogger("meshproxy.dapr.runtime")
_ENVOY_DRAIN_TIME = 600
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_STATS_FLUSH_INTERVAL = 5.0  # seconds; Envoy's default stats_flush_interval


Prepared = tuple[ServerConfig, "DaprSidecar | None"]
"""What a server is made of: Envoy's configuration, and Dapr's part where it was asked for."""


class Server:
    """The process at run time. Fulfils `admin.view.ServerView`.

    `prepare` reads everything anew, for a successor, and says in the log why it cannot.
    """

    def __init__(
        self,
        options: Options,
        prepared: Prepared,
        started: float,
        prepare: Callable[[], Prepared | None],
    ) -> None:
        config, self._sidecar = prepared
        self._prepare = prepare
        self.successor: Prepared | None = None
        self._forced = False
        self._signalled = False
        self._own_listeners: Sequence[Any] = ()
        self.options = options
        self.config = config
        self.store = Store(config.tags)
        self.listeners: list[Listener] = []
        self.tls_ends: list[Any] = []
        self.log_levels = log_levels
        self.loaded_at = time.time()
        self._started = started
        self._state = State.PRE_INITIALIZING
        self._local = LocalInfo(config.node.cluster.encode())
        self._owner = TaskOwner()
        self._quit = asyncio.Event()
        self._cut = asyncio.Event()
        self._metrics = ServerMetrics(self.store, lambda: self.uptime, meshproxy.__version__)
        self._listener_stats = self.store.scope("listener_manager.").block(ListenerManagerStats)
        self._access_logs = AccessLogManager(
            self.store,
            flush_interval=options.file_flush_interval_msec / 1000,
            min_flush_size=options.file_flush_min_size_kb * 1024,
        )
        self.runtime_layers: Sequence[tuple[str, Mapping[str, str]]] = config.runtime_layers
        self._metrics.runtime_loaded(self.runtime_layers)
        self.admin_layer: dict[str, str] | None = None
        self._cluster_manager: ClusterManager | None = None
        self._services: Services | None = None

    # -- life ------------------------------------------------------------------------------------

    async def serve(self) -> int:
        """Start, serve until told to quit, drain, end. Returns the exit code."""
        loop = asyncio.get_running_loop()
        dispatcher = LoopDispatcher(loop, self._owner)
        manager = ClusterManager(self.store, dispatcher, SystemResolver(), self._access_logs)
        self._cluster_manager = manager
        client = self._async_client(dispatcher, manager)
        self._install_signals(loop)
        admin = None
        try:
            for cluster in self.config.clusters:
                manager.add(cluster)
            admin = await self._start_admin()
            self._enter(State.INITIALIZING)
            if self._sidecar is not None:
                self._sidecar.quit = self._quit_by_api
                self._sidecar.restart = self.restart
                self._own_listeners = await self._sidecar.start(manager, client.plain())
            await self._start_listeners(dispatcher, manager, client)
            if self.wasm is not None:
                self.wasm.reloader.watch()
            self._ready()
            if self._sidecar is not None:
                await self._sidecar.listening(self.listeners)
            self._flush_stats(dispatcher)
            await self._quit.wait()
            await self._end()
        finally:
            manager.close()
            for listener in self.listeners:
                listener.stop_accepting()
            if admin is not None:
                await admin.close()
            self._access_logs.close()
            if self._sidecar is not None:
                await self._sidecar.close()
            await self._owner.close()
            if self.successor is not None:
                # None is lost, and none kills, until the next server hears them.
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        logger.info("exiting" if self.successor is None else "restarting")
        return int(self._forced)

    async def _start_admin(self) -> Any:
        admin = self.config.admin
        if admin.address is None:
            return None
        from meshproxy.admin.app import AdminServer

        server = AdminServer(admin.address, self)
        try:
            await server.start()
        except OSError as error:
            raise StartupError(f"cannot bind '{admin.address.text}': {error.strerror}") from None
        if self.options.admin_address_path:
            Path(self.options.admin_address_path).write_text(server.address.text)  # noqa: ASYNC240
        return server

    async def _start_listeners(
        self, dispatcher: LoopDispatcher, manager: ClusterManager, client: AsyncClient
    ) -> None:
        node = self.config.node
        caller = HttpCalls(client)
        self._services = services = Services(
            dispatcher=dispatcher,
            store=self.store,
            node=Node(serialized=node.serialized, fields=node.fields),
            expressions=CelEngine(VARIABLES),
            grpc_client=GrpcCalls(client),
            http_caller=caller,
            fetcher=code_fetcher(caller, self.store, dispatcher.now),
            offload=dispatcher.offload,
        )
        for service in self.config.wasm_services:
            from meshproxy.server.wasm_plugins import start_service

            start_service(service, services)
        world = World(
            self.store, dispatcher, manager, self._access_logs, services, self._local, client
        )
        build_upstream_chains(world)
        built = [
            build_listener(config, world)
            for config in (*self.config.listeners, *self._own_listeners)
        ]
        try:
            self._access_logs.start()
        except OSError as error:
            raise StartupError(f"cannot open '{error.filename}': {error.strerror}") from None
        logger.info("all clusters are being looked up")
        await manager.initialize()
        await self._fetch_code()
        logger.info("all dependencies initialized. starting workers")
        for listener in built:
            try:
                await listener.open()
            except StartupError as error:
                if self._sidecar is None or not self._sidecar.spares(listener.config):
                    raise
                dapr_logger.warning("%s; --%s", error, "metrics-port takes another port")
                continue
            self.listeners.append(listener)
            self._listener_stats.listener_added.value += 1
            self._listener_stats.listener_create_success.value += 1
        self._watch_secrets(dispatcher, manager)
        self._listener_stats.total_listeners_active.value = len(built)
        self._listener_stats.workers_started.value = 1

    async def _fetch_code(self) -> None:
        """Start the plugins whose code must be fetched; who listens before that answers for them.

        What cannot be fetched is left to the plugins' failure policies, as in Envoy.
        """
        if self.wasm is not None:
            fetched = asyncio.get_running_loop().create_future()
            self.wasm.reloader.fetch_pending(lambda: fetched.set_result(None))
            ended = spawn(self._owner, self._quit.wait(), "signal while fetching")
            await asyncio.wait((fetched, ended), return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()

    def _async_client(self, dispatcher: LoopDispatcher, manager: ClusterManager) -> AsyncClient:
        stats = self.store.scope("http.async-client.").block(RouterStats)
        return AsyncClient(manager, dispatcher, RouterFactory(Connector(dispatcher), stats))

    def _watch_secrets(self, dispatcher: LoopDispatcher, manager: ClusterManager) -> None:
        chains = [chain for listener in self.listeners for chain in listener.every_chain]
        ends = [chain.tls for chain in chains] + [
            end for cluster in manager.clusters.values() for end in cluster.transport_sockets.ends
        ]
        self.tls_ends = [end for end in ends if end is not None]
        SecretWatcher(self.tls_ends, dispatcher, self.store).start()
        if self.tls_ends:
            from meshproxy.network.tls.inventory import days_until_first_expires

            self._metrics.certificates = lambda: days_until_first_expires(self.tls_ends)

    def _flush_stats(self, dispatcher: LoopDispatcher) -> None:
        self.store.flush()
        dispatcher.call_later(_STATS_FLUSH_INTERVAL, lambda: self._flush_stats(dispatcher))

    def _ready(self) -> None:
        self._enter(State.LIVE)
        self._metrics.initialized(int((time.monotonic() - self._started) * 1000))
        # What start-up has made lives as long as the process: the collector need not look at it
        # again.
        gc.collect()
        gc.freeze()
        give_back()
        logger.info("starting main dispatch loop")

    async def _end(self) -> None:
        cut = spawn(self._owner, self._cut.wait(), "second signal")
        if self._sidecar is not None and self._signalled:  # who calls for the end means it
            await self._unless_cut(cut, self._sidecar.block(), "block shutdown")
        self._enter(State.DRAINING)
        if self._sidecar is not None:
            await self._unless_cut(cut, self._sidecar.leave(), "leave")
        grace = self.options.drain_time_s
        seconds = DEFAULT_GRACE if grace == _ENVOY_DRAIN_TIME else float(grace)
        logger.info("draining: %.0f s at most", seconds)
        await self._unless_cut(cut, self._drain(seconds), "drain")
        for listener in self.listeners:
            listener.close()
        if self.wasm is not None:
            self.wasm.close()

    async def _unless_cut(
        self, cut: asyncio.Task[Any], step: Coroutine[Any, Any, Any], name: str
    ) -> None:
        """One step of ending, which a second signal ends too."""
        task = spawn(self._owner, step, name)
        await asyncio.wait((task, cut), return_when=asyncio.FIRST_COMPLETED)
        task.cancel()

    async def _drain(self, seconds: float) -> None:
        if not await drain(self.listeners, seconds) and self._sidecar is not None:
            dapr_logger.error("Graceful shutdown timeout exceeded, forcing shutdown")
            self._forced = True

    def _enter(self, state: State) -> None:
        if state not in NEXT[self._state]:
            return
        self._state = state
        self._metrics.set_state(self.state)

    def _install_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)
        again = self.reopen_logs if self._sidecar is None else self.restart
        loop.add_signal_handler(signal.SIGHUP, again)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def restart(self) -> None:
        """End as for a signal, and have a successor in this process, made of what is on disk.

        What SIGHUP means to daprd. Where the files cannot be used, nothing happens.
        """
        if self._quit.is_set():
            return
        logger.warning("restarting in place")
        self.successor = self._prepare()
        if self.successor is None:
            logger.error("not restarting: what is on disk cannot be used")
        else:
            self._quit.set()

    def _on_signal(self, number: signal.Signals) -> None:
        if self.successor is not None:
            logger.warning("caught %s: not restarting", number.name)
            self.successor = None
            return
        if self._quit.is_set():
            logger.warning("caught %s again: ending now", number.name)
            self._cut.set()
            return
        logger.warning("caught %s", number.name)
        self._signalled = True
        self._quit.set()

    def _quit_by_api(self, force: bool) -> None:
        """Dapr's shutdown call; with `force` nothing is drained, and the exit code is 1."""
        self._forced = force
        if force:
            self._cut.set()
        self._quit.set()

    # -- ServerView ------------------------------------------------------------------------------

    @property
    def clusters(self) -> Mapping[str, Cluster]:
        """The clusters by name."""
        return {} if self._cluster_manager is None else self._cluster_manager.clusters

    @property
    def wasm(self) -> VmPool | None:
        """The Wasm plugins, if there are any."""
        return None if self._services is None else self._services.pool

    @property
    def bootstrap(self) -> Mapping[str, Any]:
        """The configuration as proto JSON."""
        document: Mapping[str, Any] = self.config.bootstrap
        return document

    @property
    def extensions(self) -> Sequence[tuple[str, str, str]]:
        """(name, category, message) of each extension in use."""
        extensions: Sequence[tuple[str, str, str]] = self.config.extensions
        return extensions

    @property
    def state(self) -> str:
        """LIVE, DRAINING, PRE_INITIALIZING or INITIALIZING."""
        if self._local.health_failed and self._state is State.LIVE:
            return State.DRAINING.value
        return self._state.value

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def fail_health_checks(self, failed: bool) -> None:
        """Make the server unfit for traffic, or fit again."""
        self._local.health_failed = failed
        self._metrics.set_state(self.state)

    def drain_listeners(self, *, graceful: bool, inbound_only: bool, skip_exit: bool) -> None:
        """Stop listening; with `graceful`, only announce it by `connection: close`."""
        for listener in self.listeners:
            if inbound_only and listener.config.traffic_direction != 1:
                continue
            listener.announce_drain()
            if not (graceful and skip_exit):
                listener.stop_accepting()
                self._listener_stats.listener_stopped.value += 1

    def reopen_logs(self) -> None:
        """Open every log file again, after somebody has moved them away."""
        server_logging.reopen()
        self._access_logs.reopen()

    def quit(self) -> None:
        """Begin to end the process."""
        self._quit.set()
