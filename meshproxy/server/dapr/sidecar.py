"""The sidecar of one process: resources, components, API listeners, and when each is there.

Owns the order of daprd's start and end. Refuses to know signals and sockets (`server/server.py`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from meshproxy.config import ServerConfig
from meshproxy.config.dapr import Resources, load_configurations, load_resources
from meshproxy.config.dapr.check import note_duplicates
from meshproxy.config.dapr.configuration import HOT_RELOAD
from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.config.problems import Problems
from meshproxy.dapr.api import Api
from meshproxy.dapr.api.invoke import InvokeApi
from meshproxy.dapr.api_access import INVOKE
from meshproxy.dapr.app_settings import APP_CLUSTER, RUNTIME_VERSION
from meshproxy.dapr.component import ComponentSpec, Identity
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.external import Externals
from meshproxy.dapr.http_api import HTTP_API, PUBLIC_API
from meshproxy.dapr.input_bindings import InputBindings
from meshproxy.dapr.invocation import Place
from meshproxy.dapr.invoker import Invoker, Ways
from meshproxy.dapr.peers import Peers
from meshproxy.dapr.pluggable.registry import PluggableRegistry
from meshproxy.dapr.resiliency import Resiliency
from meshproxy.dapr.runtime import Runtime, Settings
from meshproxy.dapr.secretstores.scopes import SecretScopes
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.subscriptions import Subscriptions
from meshproxy.errors import ConfigErrors, StartupError
from meshproxy.http_filters.dapr import GRPC_TYPE, INTERNAL_TYPE, TYPE
from meshproxy.http_filters.dapr_api import DaprFilterConfig
from meshproxy.http_filters.dapr_call_local import call_local_chain, call_local_server
from meshproxy.http_filters.dapr_grpc_proxy import GrpcProxyFilter, InternalGrpcFilter
from meshproxy.http_filters.dapr_invoke import InternalFilterConfig
from meshproxy.http_filters.dapr_page import page, public
from meshproxy.network.listener import Listener, ListenerConfig
from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.server.dapr.app_channel import app_channel, wait_for_app
from meshproxy.server.dapr.around import Around
from meshproxy.server.dapr.externals import build_externals
from meshproxy.server.dapr.hot_reload import HotReload
from meshproxy.server.dapr.listeners import (
    api_listener,
    app_cluster,
    filter_config,
    made,
    pipe_address,
    read,
    socket_address,
    with_filters,
)
from meshproxy.server.dapr.mesh import Mesh
from meshproxy.server.dapr.options import ALL_ADDRESSES, DaprOptions

if TYPE_CHECKING:
    from meshproxy.config import HttpFilterConfig
    from meshproxy.dapr.app_channel import AppChannel
    from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel
    from meshproxy.dapr.name_resolution.resolver import NameResolver
    from meshproxy.router.async_client import AsyncClient
    from meshproxy.upstream.cluster_manager import ClusterManager

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

LOOPBACK: Final = "127.0.0.1"
INTERNAL: Final = "dapr-internal"
HTTP: Final = "dapr-http"
GRPC: Final = "dapr-grpc"
PUBLIC: Final = "dapr-public"
METRICS: Final = "dapr-metrics"
PAGE_TYPE: Final = b"text/plain; version=0.0.4"
_SHOWN: Final = {
    INTERNAL: "internal",
    GRPC: "gRPC",
    HTTP: "HTTP",
    PUBLIC: "public",
    METRICS: "metrics",
}
RESOLVER: Final = "name-resolution"


class DaprSidecar:
    """What a server runs beside its Envoy configuration. Raises ConfigErrors for bad resources."""

    def __init__(self, options: DaprOptions, *, allow_unsupported: bool = False) -> None:
        self.options: Final = options
        self._started = time.monotonic()
        self._allow_unsupported = allow_unsupported
        self._resources = resources = _resources(options, allow_unsupported)
        for warning in resources.warnings:
            logger.warning("%s", warning)
        access = resources.access_control
        if access is not None and access.policies and options.mtls is None:
            text = "accessControl: without --enable-mtls no caller is known, defaultAction counts"
            logger.warning(text)
        identity = Identity(options.app_id, options.namespace)
        self._owner = TaskOwner()
        self._own: list[ListenerConfig] = []
        self._mesh = Mesh()
        self._grpc_app: GrpcAppChannel | None = None
        self._app_ill = asyncio.Event()
        # A runtime of its own: the resolver is no component that the app may see or name.
        naming = resources.name_resolution or ComponentSpec(RESOLVER, "nameresolution.sqlite")
        self._naming = Runtime(identity, [replace(naming, name=RESOLVER)])
        self._registry = PluggableRegistry(COMPONENTS)
        self.quit: Callable[[bool], None] = lambda force: None
        self.restart: Callable[[], None] = lambda: None
        self.facts: Final = Sidecar(
            identity,
            Runtime(identity, resources.components, Settings(self._registry)),
            options.app,
            SecretScopes(resources.secret_scopes),
            lambda force: self.quit(force),
            app_healthy=options.app.health is None,
            access_control=resources.access_control,
            resiliency=Resiliency(resources.resiliencies, identity),
            features=(HOT_RELOAD,) if resources.hot_reload else (),
        )
        self._around = Around(options, resources, self.facts)
        unasked = options.edges.unasked
        self._subscriptions = Subscriptions(
            self.facts, resources.subscriptions, compile_rule, ask="subscribe" not in unasked
        )
        self._bindings = InputBindings(self.facts)
        self.facts.app_changed = self._app_changed

    def _app_channel(self, client: AsyncClient) -> AppChannel:
        app = self.options.app
        channel = app_channel(app, self.options.app_id, client)
        if app.is_grpc:
            self._grpc_app = cast("GrpcAppChannel", channel)
        return self._around.channel(channel)

    # -- configuration -----------------------------------------------------------------------

    def extend(self, config: ServerConfig) -> ServerConfig:
        """The configuration with the sidecar's own clusters.

        Listeners come later (`build_listeners`), when there is a cluster manager to give them.
        """
        app = self.options.app
        clusters = [app_cluster(APP_CLUSTER, app)] if app.port else []
        taken = {cluster.name for cluster in config.clusters}
        if APP_CLUSTER in taken:
            raise StartupError(f"the cluster name '{APP_CLUSTER}' is the sidecar's own")
        self._mesh = Mesh(config.listeners)
        own = read({"static_resources": {"clusters": [*clusters, *self._around.clusters()]}})
        before_app = self._around.app_filters()
        mine = [
            replace(each, http_filters=before_app) if each.name == APP_CLUSTER else each
            for each in own.clusters
        ]
        return replace(config, clusters=(*config.clusters, *mine))

    def _build_listeners(
        self, clusters: ClusterManager, externals: Externals, client: AsyncClient
    ) -> list[ListenerConfig]:
        options = self.options
        resolver = cast("NameResolver", self._naming.find("nameresolution", RESOLVER))
        channel = self.facts.channel
        slots = None if channel is None else channel.slots
        mtls = options.mtls
        most = options.max_body_size
        if mtls is None:
            peers = Peers(clusters, resolver, call_local=partial(call_local_chain, most))
        else:
            # A daprd takes its certificates from Sentry only: whoever has ours is none.
            peers = Peers(clusters, resolver, tls_to=mtls.to)
        ways = Ways(peers, externals, self._mesh.connect(clusters))
        invoker = Invoker(self.facts, ways, Place(self._host_ip(), socket.gethostname()), slots)
        self._api = Api(self.facts)
        self._api.service = InvokeApi(invoker, client, most, self._grpc_app)
        self.facts.subscriptions = lambda: [
            *(each.shown() for each in self._subscriptions.known),
            *self._api.streaming.shown(),
        ]
        access = self._resources.api_access
        api = DaprFilterConfig(
            self._api,
            access.of_http(HTTP_API),
            invoker,
            options.api_token,
            most,
            access.allows("http", INVOKE),
        )
        internal = InternalFilterConfig(invoker, most)
        grpc = self._grpc_config(api.api)
        filters: dict[str, list[HttpFilterConfig]] = {
            INTERNAL: [
                made("grpc", lambda: InternalGrpcFilter(internal)),
                filter_config(INTERNAL_TYPE, internal),
                *self._before_app(),
            ],
            GRPC: [
                filter_config(GRPC_TYPE, grpc),
                made("proxy", lambda: GrpcProxyFilter(invoker, most)),
            ],
            HTTP: [*self._around.before_http(), filter_config(TYPE, api), *self._before_app()],
        }
        self._around.watch(api.api, filters, INTERNAL)
        calls = made("call_local", call_local_server(options.app_id, most))
        filters[INTERNAL].insert(0, calls)
        filters[PUBLIC] = [made("public", public(api.api, PUBLIC_API))]
        filters[METRICS] = [made("metrics", page(self._around.page, PAGE_TYPE))]
        listeners = [
            each for each in self._listeners() if grpc or not each["name"].startswith(GRPC)
        ]
        own = read({"static_resources": {"listeners": listeners}})
        self._own = [with_filters(each, filters[_kind(each.name)]) for each in own.listeners]
        return self._own

    def spares(self, listener: ListenerConfig) -> bool:
        """Whether to go on without this one: another sidecar has the metrics' default port."""
        return listener.name == METRICS and not self.options.edges.metrics_port_given

    def _before_app(self) -> list[HttpFilterConfig]:
        """What stands between an invocation over HTTP and an app that speaks gRPC."""
        if self._grpc_app is None:
            return []
        from meshproxy.http_filters.dapr_on_invoke import on_invoke_filter

        options = self.options
        app = on_invoke_filter(self._grpc_app, options.app_id, options.max_body_size)
        return [made("on_invoke", app)]

    def _grpc_config(self, api: Api) -> Any:
        """The gRPC API, None where the package with its messages is not installed."""
        if importlib.util.find_spec("dapr") is None:
            logger.warning("the gRPC API is not served: it needs pip install 'meshproxy[dapr]'")
            return None
        from meshproxy.dapr.grpc_api import GRPC_API
        from meshproxy.dapr.grpc_api.server_services import SERVER_SERVICES
        from meshproxy.http_filters.dapr_grpc import DaprGrpcConfig

        options = self.options
        methods = self._resources.api_access.of_grpc(GRPC_API) | SERVER_SERVICES
        return DaprGrpcConfig(api, methods, options.api_token, options.max_body_size)

    def _listeners(self) -> list[dict[str, Any]]:
        options, size = self.options, self.options.read_buffer_size
        host = options.dapr_internal_grpc_listen_address or LOOPBACK
        between = socket_address(host, options.dapr_internal_grpc_port or 0)
        # A call has more headers between sidecars than it had before.
        internal = api_listener(INTERNAL, between, size + 4096)
        if options.mtls is not None:
            internal["filter_chains"][0]["transport_socket"] = options.mtls.transport_socket()
        listeners = [internal]
        edges = options.edges
        if edges.public_port is not None:
            where = socket_address(edges.public_listen_address, edges.public_port)
            listeners.append(api_listener(PUBLIC, where, size))
        if self._around.metrics is not None and edges.metrics_port is not None:
            where = socket_address(edges.metrics_listen_address, edges.metrics_port)
            listeners.append(api_listener(METRICS, where, size))
        apis = ((HTTP, options.dapr_http_port, size), (GRPC, options.dapr_grpc_port, size << 10))
        for name, port, headers in apis:
            codec = "HTTP1" if name == HTTP and not edges.h2c else "AUTO"
            if options.unix_domain_socket:
                file = f"dapr-{options.app_id}-{name.removeprefix('dapr-')}.socket"
                path = f"{options.unix_domain_socket}/{file}"
                listeners.append(api_listener(name, pipe_address(path), headers, codec))
                continue
            for index, address in enumerate(options.dapr_listen_addresses or (ALL_ADDRESSES,)):
                where = socket_address(address, port)
                shown = f"{name}-{index}" if index else name
                listeners.append(api_listener(shown, where, headers, codec))
        return listeners

    def _host_ip(self) -> str:
        """Where other sidecars find this one."""
        given = self.options.dapr_internal_grpc_listen_address or LOOPBACK
        return given if given != ALL_ADDRESSES else os.environ.get("DAPR_HOST_IP", LOOPBACK)

    # -- life --------------------------------------------------------------------------------

    async def start(
        self, clusters: ClusterManager, client: AsyncClient
    ) -> Sequence[ListenerConfig]:
        """Before listeners open: every component is up. Returns the listeners' configurations.

        Raises StartupError.
        """
        options = self.options
        self._around.start(client)
        if options.app.port:
            self.facts.channel = self._app_channel(client)
        logger.info(
            "starting Dapr Runtime -- version %s -- app %s", RUNTIME_VERSION, options.app_id
        )
        _set_environment(options)
        await self._naming.start()
        self._registry.connect(clusters, client)
        await self.facts.runtime.start()
        self._around.look_for_middleware()
        for store in self.facts.secret_scopes.stores:
            if self.facts.component_of("secretstores", store) is None:
                logger.warning(
                    "Secrets configuration added for '%s', but no matching secret store was found",
                    store,
                )
        externals = await build_externals(self._resources.http_endpoints, self.facts, clusters)
        return self._build_listeners(clusters, externals, client)

    async def listening(self, listeners: Sequence[Listener]) -> None:
        """After they have opened: others find this sidecar, and the app is waited for."""
        for listener in listeners:
            self._mesh.listening(listener)
            name, address = listener.config.name, listener.local_address
            if listener.config not in self._own:
                continue
            if name == INTERNAL:
                logger.info("internal server listening on TCP address: %s", address.text)
                resolver = cast("NameResolver", self._naming.find("nameresolution", RESOLVER))
                await resolver.register(f"{self._host_ip()}:{address.port}")
            else:
                word = _SHOWN[_kind(name)]
                logger.info("%s server listening on TCP address: %s", word, address.text)
        self.facts.outbound_ready = True
        if self._resources.hot_reload:
            spawn(self._owner, self._hot_reload().run(), "hot reload")
        if self.options.app.port:
            spawn(self._owner, wait_for_app(self.facts, self._app_is_there), "app")
        else:
            self._initialized()

    def _hot_reload(self) -> HotReload:
        options = self.options
        return HotReload(
            (*options.resources_path, *options.config),
            options.hot_reload_reconcile_interval,
            lambda: _resources(options, self._allow_unsupported, again=True),
            self._follow,
        )

    async def _follow(self, fresh: Resources) -> None:
        """Take over what has changed on disk, by starting again where nothing less will do."""
        if fresh.fixed != self._resources.fixed:
            logger.info("resources have changed that are read at start: restarting")
            self._resources.fixed = fresh.fixed  # once for a change, also where it is refused
            self.restart()
            return
        try:
            await self.facts.runtime.change(fresh.components)
        except StartupError as error:
            logger.critical("Fatal error from runtime: %s", error)
            self.quit(True)
            return
        await self._subscriptions.declare(fresh.subscriptions)

    def _app_is_there(self) -> None:
        self._initialized()
        for name, what in (("config", "dapr configuration"), ("subscribe", "subscription")):
            if name in self.options.edges.unasked:
                logger.info("Skipping programmatic %s loading", what)
        if self.facts.app_healthy:
            self._app_changed(True)

    def _app_changed(self, healthy: bool) -> None:
        """Messages come only while the app is well."""
        if not healthy:
            self._app_ill.set()
        for taken in (self._subscriptions, self._bindings):
            change = taken.begin() if healthy else taken.end()
            spawn(self._owner, change, "subscriptions and bindings")

    def _initialized(self) -> None:
        elapsed = (time.monotonic() - self._started) * 1000
        logger.info("dapr initialized. Status: Running. Init Elapsed %.0fms", elapsed)

    async def block(self) -> None:
        """`--dapr-block-shutdown-duration`: serve on until the app is ill, or the time over."""
        seconds = self.options.edges.block_shutdown
        if seconds is None:
            return
        text = "Blocking graceful shutdown for %gs or until app reports unhealthy..."
        logger.info(text, seconds)
        if not self.facts.app_healthy:
            self._app_ill.set()
        try:
            async with asyncio.timeout(seconds):
                await self._app_ill.wait()
            logger.info("App reported unhealthy, entering shutdown...")
        except TimeoutError:
            logger.info("Block shutdown period expired, entering shutdown...")

    async def leave(self) -> None:
        """Before the last answers: others no longer find this sidecar, and health says no."""
        self.facts.outbound_ready = False
        await self._naming.close()
        await self._owner.close()  # it may wait for an app that never answers
        self._api.close()
        try:
            async with asyncio.timeout(self.options.graceful_shutdown_seconds):
                await asyncio.gather(self._subscriptions.end(), self._bindings.end())
                await self.facts.outboxes.end()
        except TimeoutError:
            logger.warning("messages that the app has not answered stay with their broker")

    async def close(self) -> None:
        """After the last answer: close every component."""
        await self._owner.close()
        await self._naming.close()
        await self.facts.runtime.close()
        await self._around.close()
        if self.facts.channel is not None:
            await self.facts.channel.close()
        logger.info("Daprd shutdown gracefully")


def _kind(name: str) -> str:
    """The first listener of its kind: those on further addresses have a number in their names."""
    return next(kind for kind in _SHOWN if name.startswith(kind))


def _resources(options: DaprOptions, allow_unsupported: bool, *, again: bool = False) -> Resources:
    """What is on disk. Raises ConfigErrors.

    `again`: also for what would close components that run now: a file that cannot be read, perhaps
    half written, is passed over at the start, and two of one name are left to the runtime there.
    """
    problems = Problems()
    resources = load_resources(options.resources_path, problems)
    load_configurations(options.config, problems, resources)
    if again:
        note_duplicates(resources, problems)
    errors, warnings = problems.split(allow_unsupported=allow_unsupported)
    if again:
        errors = [*resources.unreadable, *errors]
    if errors:
        raise ConfigErrors(errors)
    resources.warnings += warnings
    return resources


def _set_environment(options: DaprOptions) -> None:
    """What daprd sets in its own environment, for components to read."""
    os.environ["APP_ID"] = options.app_id
    os.environ["APP_PORT"] = str(options.app.port or "")
    os.environ["DAPR_HTTP_PORT"] = os.environ["DAPR_PORT"] = str(options.dapr_http_port)
    os.environ["DAPR_GRPC_PORT"] = str(options.dapr_grpc_port)
    os.environ.setdefault("HOST_ADDRESS", os.environ.get("DAPR_HOST_IP", LOOPBACK))
