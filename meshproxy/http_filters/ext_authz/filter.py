"""One request that waits for what an authorization server says of it.

Owns the order of events: when the server is asked, what its decision does, and what is counted. As
Envoy's `Filters::ExtAuthz::Filter`. Refuses to know how the server is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_AND_WATERMARK,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.http_filters.ext_authz.decision import DENIED, ERROR, OK, Decision, Pair
from meshproxy.http_filters.ext_authz.messages import Attributes, Peer
from meshproxy.http_filters.ext_authz.settings import BodySettings, ExtAuthzPerRoute

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.http_filters.ext_authz.settings import ExtAuthzConfig, NamePredicate
    from meshproxy.stats.ext_authz_metrics import ExtAuthzStats

NAMESPACE: Final = "envoy.filters.http.ext_authz"
PARTIAL_BODY: Final = b"x-envoy-auth-partial-body"
FAILURE_MODE_ALLOWED: Final = (b"x-envoy-auth-failure-mode-allowed", b"true")
_SERVICE_CLUSTER: Final = b"x-envoy-downstream-service-cluster"
_UNBUFFERED: Final = (b"websocket", b"h2c")
_UNAUTHORIZED: Final = ResponseFlag.UnauthorizedExternalService.value
_INVALID: Final = LocalReply(500, "ext_authz_invalid", flag=_UNAUTHORIZED)
_PSEUDO: Final = frozenset((b":method", b":path", b":authority", b":scheme"))


class AuthorizationService(Protocol):
    """Whoever asks the server."""

    def check(
        self, attributes: Attributes, info: StreamInfo, done: Callable[[Decision], None]
    ) -> Callable[[], None] | None:
        """Ask, and call `done` once, later; the result gives the question up. None: one cannot
        ask.
        """


class ExtAuthzShared:
    """What the filters of one chain share. `is_told` says which headers the server may see."""

    __slots__ = ("config", "dispatcher", "error_reply", "is_told", "service", "stats")

    def __init__(
        self,
        config: ExtAuthzConfig,
        service: AuthorizationService,
        stats: ExtAuthzStats,
        dispatcher: Dispatcher,
    ) -> None:
        self.config = config
        self.service = service
        self.stats = stats
        self.dispatcher = dispatcher
        self.is_told: NamePredicate | None = None
        self.error_reply = LocalReply(config.status_on_error, "ext_authz_error", flag=_UNAUTHORIZED)

    def asking(self, service: AuthorizationService) -> ExtAuthzShared:
        """The same with another server."""
        other = ExtAuthzShared(self.config, service, self.stats, self.dispatcher)
        other.is_told = self.is_told
        return other

    @property
    def is_enabled(self) -> bool:
        """Whether this request is one of those that the server is asked about."""
        share = self.config.filter_enabled
        return share is None or self.dispatcher.random() % share[1] < share[0]

    def count_at(self, cluster: Any, name: str) -> None:
        """Count at the request's cluster, too; such a counter is made at first use."""
        if cluster is not None:
            prefix = self.config.stat_prefix and f"{self.config.stat_prefix}."
            cluster.scope.counter(f"ext_authz.{prefix}{name}").value += 1

    def attributes(self, headers: HeaderMap, info: StreamInfo) -> Attributes:
        """What the server is told of a request, but for its body and where it goes."""
        connection, config = info.connection, self.config
        tls = connection.tls if connection is not None else None
        source = Peer(
            connection.remote_address if connection is not None else None,
            service=headers.get(_SERVICE_CLUSTER) or b"",
        )
        destination = Peer(connection.local_address if connection is not None else None)
        if tls is not None:
            source.principal = (
                tls.uri_san_peer_certificate
                or tls.dns_san_peer_certificate
                or tls.subject_peer_certificate
            )
            destination.principal = (
                tls.uri_san_local_certificate
                or tls.dns_san_local_certificate
                or tls.subject_local_certificate
            )
            if config.include_peer_certificate and tls.peer is not None:
                source.certificate = tls.peer.url_encoded_pem
        told = self.is_told
        server_name = None
        if config.include_tls_session:
            server_name = tls.server_name if tls is not None else ""
        return Attributes(
            source,
            destination,
            info.start_time,
            self.dispatcher.random(),
            [
                pair for pair in headers.pairs
                if pair[0] != PARTIAL_BODY and (told is None or told(pair[0]))
            ],
            {name: value for name, value in headers.pairs if name in _PSEUDO},
            info.protocol or "",
            info.bytes_received,
            raw_headers=config.encode_raw_headers,
            metadata=_chosen(info.dynamic_metadata, config.metadata_context_namespaces),
            server_name=server_name,
        )  # fmt: skip


def _chosen(metadata: Mapping[str, Any] | None, namespaces: tuple[str, ...]) -> dict[str, Any]:
    return {name: metadata[name] for name in namespaces if name in metadata} if metadata else {}


class ExtAuthz(StreamFilter):
    """The filter of one stream."""

    __slots__ = (
        "_asking",
        "_at_route",
        "_body",
        "_cancel",
        "_cluster",
        "_decision",
        "_headers",
        "_reads_body",
        "_shared",
        "_since",
        "_starting",
    )  # fmt: skip

    def __init__(self, shared: ExtAuthzShared, at_route: ExtAuthzPerRoute) -> None:
        self._shared = shared
        self._at_route = at_route
        self._body: BodySettings | None = at_route.with_request_body
        if self._body is None:
            self._body = shared.config.with_request_body
        self._reads_body = False  # the server is asked when (enough of) it is there
        self._asking = False
        self._starting = False
        self._cancel: Callable[[], None] | None = None
        self._cluster: Any = None
        self._decision: Decision | None = None
        self._headers = HeaderMap()
        self._since = 0.0

    # -- the request ---------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Ask about the request, or wait for its body first."""
        shared = self._shared
        if self._at_route.disabled:
            return CONTINUE
        if not shared.is_enabled:
            shared.stats.disabled.value += 1
            if not shared.config.deny_at_disable:
                return CONTINUE
            self.callbacks.send_local_reply(shared.error_reply)
            return STOP_ITERATION
        self._headers = headers
        body = self._body
        if (
            body is not None
            and not end_stream
            and not self._at_route.disable_request_body_buffering
            and self.callbacks.info.upgrade not in _UNBUFFERED
        ):
            self._reads_body = True
            if not body.allow_partial_message:
                self.callbacks.set_decoding_buffer_limit(body.max_request_bytes)
            return STOP_ITERATION
        self._ask(None)
        return STOP_ALL_ITERATION_AND_WATERMARK if self._asking else CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Wait for the whole body, or for as much as the server wants to see."""
        body = self._body
        if not self._reads_body or body is None:
            return CONTINUE
        held = self.callbacks.decoding_buffer
        size = len(data) + (len(held) if held is not None and held is not data else 0)
        if not end_stream and not (body.allow_partial_message and size >= body.max_request_bytes):
            return STOP_ITERATION_AND_BUFFER
        self._ask(data)
        return STOP_ITERATION_AND_WATERMARK if self._asking else CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The end of the body."""
        if not self._reads_body:
            return CONTINUE
        self._ask(None)
        return STOP_ITERATION if self._asking else CONTINUE

    def _ask(self, data: Buffer | None) -> None:
        """Ask the server, unless it is asked already; `data` is what is not held back yet."""
        if self._asking or self._decision is not None:
            return
        shared, info = self._shared, self.callbacks.info
        attributes = shared.attributes(self._headers, info)
        attributes.context_extensions = self._at_route.context_extensions
        namespaces = shared.config.route_metadata_context_namespaces
        if namespaces and (route := self.callbacks.route) is not None:
            attributes.route_metadata = _chosen(route.metadata, namespaces)
        if self._reads_body:
            self._show_body(attributes, data)
        self._cluster = info.cluster
        self._since = shared.dispatcher.now()
        self._asking = self._starting = True
        self._cancel = shared.service.check(attributes, info, self._decided)
        if self._cancel is None:
            self._decided(Decision(ERROR))
        self._starting = False

    def _show_body(self, attributes: Attributes, data: Buffer | None) -> None:
        body, held = self._body, self.callbacks.decoding_buffer
        assert body is not None
        whole = held.peek() if held is not None else b""
        if data is not None and data is not held:
            whole += data.peek()
        elif held is None:
            return
        shown = whole[: body.max_request_bytes]
        attributes.body = shown
        attributes.raw_body = body.pack_as_bytes
        partial = b"true" if len(shown) < len(whole) else b"false"
        attributes.headers.append((PARTIAL_BODY, partial))

    # -- the decision --------------------------------------------------------------------------

    def _decided(self, decision: Decision) -> None:
        shared = self._shared
        self._asking = False
        self._decision = decision
        if decision.dynamic_metadata:
            self._keep_metadata(decision)
        unknown = shared.config.validate_mutations and decision.has_unknown_action
        if unknown or not decision.is_valid:
            # Beyond Envoy's default, `validate_mutations` or not: this would break a message.
            self._count("invalid")
            self.callbacks.send_local_reply(_INVALID)
            return
        if decision.status == OK:
            self._allow(decision)
        elif decision.status == DENIED:
            self._deny(decision)
        else:
            self._fail(decision)

    def _keep_metadata(self, decision: Decision) -> None:
        shared, found = self._shared, decision.dynamic_metadata
        if not shared.config.enable_dynamic_metadata_ingestion:
            shared.stats.ignored_dynamic_metadata.value += 1
            return
        if decision.status == OK:
            found["ext_authz_duration"] = int((shared.dispatcher.now() - self._since) * 1000)
        for key, value in found.items():
            self.callbacks.info.set_dynamic_metadata(NAMESPACE, key, value)

    def _allow(self, decision: Decision) -> None:
        if self._shared.config.clear_route_cache and decision.changes_request:
            self.callbacks.clear_route_cache()
        decision.change_request(self._headers)
        self._count("ok")
        self._go_on()

    def _deny(self, decision: Decision) -> None:
        shared = self._shared
        self._count("denied")
        if self._cluster is not None and shared.config.charge_cluster_response_stats:
            self._cluster.response_stats.record(decision.status_code, True)
        limit = shared.config.max_denied_response_body_bytes
        body = decision.body[:limit] if limit else decision.body
        self._reply(decision, "ext_authz_denied", body)

    def _fail(self, decision: Decision) -> None:
        shared = self._shared
        self._count("error")
        if shared.config.failure_mode_allow:
            self._count("failure_mode_allowed")
            if shared.config.failure_mode_allow_header_add:
                self._headers.pairs.append(FAILURE_MODE_ALLOWED)
            self._go_on()
        else:
            decision.status_code = decision.status_code or shared.config.status_on_error
            self._reply(decision, shared.error_reply.details, decision.body)

    def _reply(self, decision: Decision, details: str, body: bytes) -> None:
        headers: list[Pair] = decision.reply_headers
        self.callbacks.send_local_reply(
            LocalReply(decision.status_code, details, body, flag=_UNAUTHORIZED, headers=headers)
        )

    def _count(self, name: str) -> None:
        getattr(self._shared.stats, name).value += 1
        self._shared.count_at(self._cluster, name)

    def _go_on(self) -> None:
        if not self._starting:  # else whoever asks sees that it may
            self.callbacks.continue_decoding()

    # -- the response --------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Add what the server wants the client to see."""
        if self._decision is not None and self._decision.response_headers:
            self._decision.change_response(headers)
        return CONTINUE

    def on_destroy(self) -> None:
        """Nobody waits for the decision any more."""
        if self._asking and self._cancel is not None:
            self._asking = False
            self._cancel()
