"""The two ends of a driven stream, and the tap before the first filter.

Owns recording: what the upstream would have got, what the client would have got, and what filters
were shown. Refuses to decide anything; the stream between them is the product's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.filter_tools.messages import Headers, Message
from meshproxy.http.filter import CONTINUE, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import NO_CLUSTER, NO_ROUTE
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP11
from meshproxy.network.address import Address
from meshproxy.router.action import DIRECT_RESPONSE, FORWARD, ForwardAction
from meshproxy.router.route import Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer
    from meshproxy.http.stream import Stream

CLIENT: Final = Address.parse("127.0.0.1", 50000)
LISTENER: Final = Address.parse("127.0.0.1", 10000)
UPSTREAM: Final = Address.parse("127.0.0.1", 8080)
VIA_UPSTREAM: Final = "via_upstream"
"""`response_code_details` of an answer that came from the upstream."""


class ScriptedCluster:
    """A cluster of which there is the name only, and one host."""

    __slots__ = ("config", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = self
        """Properties look for `cluster.config.metadata`."""

    metadata: Final = None


class ScriptedHost:
    """The host that every request goes to."""

    address: Final = UPSTREAM
    metadata: Final = None
    hostname: Final = ""


class Clusters:
    """`router.action.Clusters`: every name is a cluster."""

    def get(self, name: str) -> ScriptedCluster:
        """The cluster of this name."""
        return ScriptedCluster(name)


def route_table(routes: Mapping[str, str] | RouteConfiguration) -> RouteConfiguration:
    """A route table from prefixes of paths to clusters, the longest prefix first; or the one that
    is given, with every cluster that it names.
    """
    if isinstance(routes, RouteConfiguration):
        routes.bind(Clusters())
        return routes
    longest_first = sorted(routes.items(), key=lambda item: -len(item[0]))
    table = RouteConfiguration(
        "local_route",
        [
            VirtualHost(
                "local_service",
                ["*"],
                [
                    Route(RouteMatch(prefix=prefix), ForwardAction(cluster=cluster), name=prefix)
                    for prefix, cluster in longest_first
                ],
            )
        ],
    )
    table.bind(Clusters())
    return table


class FakeConnection:
    """What filters can learn of the downstream connection. `source`: the client's `ip:port`.

    ValueError where it is no such address.
    """

    connection_id: Final = 1
    local_address: Final = LISTENER
    requested_server_name: Final = None
    filter_chain_name: Final = ""
    tls: Final = None

    def __init__(self, source: str = "") -> None:
        self.remote_address = parse_source(source) if source else CLIENT
        self.direct_remote_address = self.remote_address


def parse_source(text: str) -> Address:
    """`10.0.0.1:4000` or `[::1]:4000`. ValueError with the text."""
    ip, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"expected an address with a port, like 10.0.0.1:4000, not '{text}'")
    try:
        return Address.parse(ip.removeprefix("[").removesuffix("]"), int(port))
    except ValueError:
        raise ValueError(f"'{ip}' is no IP address") from None


class Tap(StreamFilter):
    """Stands before the first filter: sees requests before them and answers after them."""

    __slots__ = ("answer", "request")

    def __init__(self) -> None:
        self.request = Message()
        self.answer = Message()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The request as the filters will see it."""
        return _record_headers(self.request, headers, end_stream)

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of its body."""
        return _record_data(self.request, data.peek(), end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """Its trailers."""
        return _record_trailers(self.request, trailers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The answer as the filters have left it."""
        return _record_headers(self.answer, headers, end_stream)

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of its body."""
        return _record_data(self.answer, data.peek(), end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """Its trailers."""
        return _record_trailers(self.answer, trailers)


class Downstream:
    """The client (`http.codec.ResponseEncoder`): records the answer."""

    def __init__(self) -> None:
        self.protocol = HTTP11
        self.answer = Message()
        self.reading_paused = 0

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response is not kept."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The answer's headers, with what the proxy adds (`date`, `server`)."""
        _record_headers(self.answer, headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        _record_data(self.answer, data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        _record_trailers(self.answer, trailers)

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """METADATA is not kept: requests here are of HTTP/1."""
        return False

    def reset_stream(self) -> None:
        """There will be no (more) answer."""
        self.answer.reset = True

    def read_disable(self, disable: bool) -> None:
        """The filters hold back as much as they may; the driver sends on command only."""
        self.reading_paused += 1 if disable else -1

    def close_when_done(self) -> None:
        """There is one request a connection here."""


class Upstream:
    """Stands in for the router: finds the route, records the request, waits for an answer."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.request = Message()
        self.cluster = ""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """All filters have let the request pass: where does it go?"""
        stream = self._stream
        route: Any = stream.route
        if route is None:
            stream.send_local_reply(NO_ROUTE)
            return
        if route.kind != FORWARD:
            direct = route.kind == DIRECT_RESPONSE
            stream.send_local_reply(route.direct_response if direct else route.redirect(headers))
            return
        entry = route.choose(headers, stream.random)
        if entry is None:
            stream.send_local_reply(NO_CLUSTER)
            return
        info = stream.info
        info.cluster = entry.cluster
        info.upstream_host = ScriptedHost()
        info.upstream_local_address = LISTENER
        info.attempt_count = 1
        info.upstream_request_start = stream.manager.dispatcher.now()
        self.cluster = entry.name
        _record_headers(self.request, headers, end_stream)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        _record_data(self.request, data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        _record_trailers(self.request, trailers)

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA is not kept: requests here are of HTTP/1."""

    def on_downstream_watermark(self, high: bool) -> None:
        """The driver answers on command only."""

    def on_timeout(self) -> None:
        """There is no timeout: the test decides how long an upstream takes."""

    def on_destroy(self) -> None:
        """Nobody wants the answer any more."""
        self.request.reset = not self.request.complete


def _record_headers(message: Message, headers: HeaderMap, end_stream: bool) -> int:
    message.headers = Headers.of(headers.pairs)
    message.complete = end_stream
    return CONTINUE


def _record_data(message: Message, data: bytes, end_stream: bool) -> int:
    message.body += data
    message.complete = end_stream
    return CONTINUE


def _record_trailers(message: Message, trailers: HeaderMap) -> int:
    message.trailers = Headers.of(trailers.pairs)
    message.complete = True
    return CONTINUE
