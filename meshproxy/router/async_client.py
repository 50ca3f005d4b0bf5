"""Requests that the proxy itself makes of a cluster: Envoy's async client.

Owns one such request from its headers to its end, without a downstream connection: it stands in for
a stream before the very router that serves streams, so hosts, pools, failures and their texts are
the same. Refuses to know who asks, and what for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply, asks_for_grpc, render
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP11, StreamInfo
from meshproxy.router.action import ForwardAction
from meshproxy.router.route import Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch
from meshproxy.router.router import Router, RouterFactory

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher, Timer
    from meshproxy.router.action import ClusterEntry, Clusters

MAX_ROUTES: Final = 1024
BUFFER_LIMIT: Final = 1024 * 1024


class AsyncReceiver(Protocol):
    """Told what comes back. Nothing is told before `start` has returned, nor after `reset`."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers: of the upstream, or the router's own answer (503, 504 …)."""

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers, which end it."""

    def on_reset(self, details: str) -> None:
        """The response that had begun will not be completed."""


class AsyncClient:
    """Starts requests; one per worker. `stats` is the router's block (`http.async-client.`).

    `says_internal`: requests carry Envoy's `x-envoy-internal`.
    """

    def __init__(self, clusters: Clusters, dispatcher: Dispatcher, factory: RouterFactory) -> None:
        self.says_internal = True
        self.dispatcher = dispatcher
        self.factory = factory
        self._clusters = clusters
        self._routes: dict[tuple[str, float], tuple[Any, Route]] = {}

    def plain(self) -> AsyncClient:
        """The same for who speaks to peers that do not know Envoy: no header of Envoy's own."""
        client = AsyncClient(self._clusters, self.dispatcher, self.factory)
        client.says_internal = False
        return client

    def knows(self, cluster: str) -> bool:
        """Whether there is a cluster of this name."""
        return self._clusters.get(cluster) is not None

    def start(
        self, cluster: str, receiver: AsyncReceiver, timeout: float = 0.0
    ) -> AsyncStream | None:
        """A request to `cluster`; None where there is no such cluster.

        `timeout`: seconds from the end of the request to the end of the response, 0 for no limit.
        """
        found = self._clusters.get(cluster)
        if found is None:
            return None
        return AsyncStream(self, self._route(cluster, found, timeout), receiver)

    def _route(self, name: str, cluster: Any, timeout: float) -> Route:
        known = self._routes.get((name, timeout))
        if known is not None and known[0] is cluster:
            return known[1]
        route = Route(RouteMatch(prefix=""), ForwardAction(cluster=name, timeout=timeout))
        RouteConfiguration("", [VirtualHost("", ["*"], [route])]).bind(self._clusters)
        if len(self._routes) < MAX_ROUTES:
            self._routes[name, timeout] = (cluster, route)
        return route


class AsyncStream:
    """One request. What the router asks of a stream, and what its caller may do with it."""

    __slots__ = (
        "_at_once",
        "_client",
        "_deadline",
        "_done",
        "_receiver",
        "_router",
        "_starting",
        "_timer",
        "cluster_entry",
        "headers_sent",
        "info",
        "paused",
        "random",
        "route",
    )

    def __init__(self, client: AsyncClient, route: Route, receiver: AsyncReceiver) -> None:
        self._client = client
        self._receiver = receiver
        self.route = route
        self.cluster_entry: ClusterEntry | None = None
        self.random = client.dispatcher.random()
        self.paused = False  # what is sent now waits here
        self.headers_sent = False  # the response's, to the receiver
        self.info = info = StreamInfo()
        info.protocol = HTTP11
        info.internal = True
        info.route = route
        info.start = client.dispatcher.now()
        info.start_time = client.dispatcher.time()
        self._router = Router(client.factory, self)
        self._done = False
        self._deadline: float | None = None
        self._timer: Timer | None = None
        self._starting = False
        self._at_once: LocalReply | None = None

    # -- the caller's side -----------------------------------------------------------------------

    def send_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request's headers; `:method`, `:path` and `:authority` are there."""
        info = self.info
        info.request_headers = headers
        self.cluster_entry = entry = self.route.choose(headers, self.random)
        info.cluster = entry and entry.cluster
        if self._client.says_internal:
            headers.pairs.append((b"x-envoy-internal", b"true"))
        self._starting = True
        self._router.decode_headers(headers, end_stream)
        self._starting = False
        if self._at_once is not None and not self._done:
            # The caller is not to hear of its request before it knows it.
            self._client.dispatcher.call_later(0.0, self._answer_at_once)

    def send_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        if not self._done:
            self.info.bytes_received += len(data)
            self._router.decode_data(data, end_stream)

    def send_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        if not self._done:
            self._router.decode_trailers(trailers)

    def hold_response(self, hold: bool) -> None:
        """The receiver takes no more for now, or more again; the host has to wait."""
        if not self._done:
            self._router.on_downstream_watermark(hold)

    def cancel(self) -> None:
        """Give the request up; the receiver hears nothing more."""
        self._end()

    # -- the router's side: what it asks of a stream ---------------------------------------------

    @property
    def manager(self) -> AsyncClient:
        """Where the dispatcher is."""
        return self._client

    @property
    def encoder(self) -> AsyncStream:
        """Whom to ask to send less."""
        return self

    @property
    def buffer_limit(self) -> int:
        """How many bytes of a body may be kept for another try."""
        return BUFFER_LIMIT

    @property
    def protocol(self) -> str:
        """What a cluster that goes by its client's protocol is spoken to in."""
        return HTTP11

    def set_max_duration(self, seconds: float | None) -> None:
        """Routes from inside say nothing of it."""

    def read_disable(self, disable: bool) -> None:
        """The connection takes no more now, or takes more again."""
        self.paused = disable

    @property
    def deadline(self) -> float | None:
        """When the router is told that it has taken too long; monotonic seconds."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float | None) -> None:
        self._deadline = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._done:
            dispatcher = self._client.dispatcher
            self._timer = dispatcher.call_later(deadline - dispatcher.now(), self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = self._deadline = None
        self._router.on_timeout()

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response, which nobody waits for."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers."""
        self.headers_sent = True
        self.info.response_headers = headers
        if end_stream:
            self._end()
        self._receiver.on_headers(headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        if not self._done:
            if end_stream:
                self._end()
            self._receiver.on_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        if not self._done:
            self._end()
            self._receiver.on_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA, which nobody waits for."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """The router answers in the upstream's place."""
        if self._done:
            return
        if self.headers_sent:
            self.reset(reply.details)
        elif self._starting:
            self._at_once = reply
        else:
            self._answer(reply)

    def reset(self, details: str) -> None:
        """The response that had begun ends here."""
        if not self._done:
            self._end()
            self._receiver.on_reset(details)

    def _answer_at_once(self) -> None:
        if not self._done and self._at_once is not None:
            self._answer(self._at_once)

    def _answer(self, reply: LocalReply) -> None:
        self.info.response_code_details = reply.details
        headers, body = render(reply, grpc=asks_for_grpc(self.info.request_headers))
        self.encode_headers(headers, not body)
        self.encode_data(body, True)

    def _end(self) -> None:
        if self._done:
            return
        self._done = True
        self.deadline = None
        self._router.on_destroy()
