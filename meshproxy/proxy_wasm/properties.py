"""The paths of `proxy_get_property`, compiled once each to a function of the context.

Owns which paths there are and where their facts come from: `StreamInfo`, plugin, node. Paths are
the parts joined by NUL; both Envoy's present names (`xds.route_name`) and the older ones
(`route_name`) are known, and everything is served in every phase in which it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.proxy_wasm.abi import NOT_FOUND, SERIALIZATION_FAILURE
from meshproxy.proxy_wasm.pairs import encode
from meshproxy.proxy_wasm.property_values import (
    Metadata,
    encode_value,
    int_value,
    locality_message,
    nanoseconds,
    walk,
)

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context

Value = bytes | int
"""The encoded value, or a status."""
Getter = Callable[["Context"], Value]
Fact = Callable[[StreamInfo], Any]
"""A value as `encode_value` takes it; None where it is not known."""

NULL: Final = object()
"""A value that is there and cannot be encoded."""

CACHE_SIZE: Final = 1024
_compiled: dict[bytes, Getter] = {}


def getter(path: bytes) -> Getter:
    """The function for a path; kept, because guests ask for the same few paths for ever."""
    found = _compiled.get(path)
    if found is None:
        found = compile_path(path)
        if len(_compiled) < CACHE_SIZE:
            _compiled[path] = found
    return found


def compile_path(path: bytes) -> Getter:
    """The function for a path that was not seen before."""
    text = path.removesuffix(b"\0").decode("utf-8", "surrogateescape")
    parts = text.split("\0")
    head, rest = parts[0], parts[1:]
    if head in PLUGIN and not rest:
        return PLUGIN[head]
    if head == "xds":
        return _xds(rest)
    if head in LEGACY:
        return _only_friendly(_xds(parts), text)
    if not text:
        return lambda context: SERIALIZATION_FAILURE
    if head in NAMESPACES:
        if not rest:
            return lambda context: NOT_FOUND if context.info is None else SERIALIZATION_FAILURE
        return _of_stream(NAMESPACES[head], rest)
    if head == "metadata":
        return _metadata(rest)
    if head in ("filter_state", "upstream_filter_state"):
        if not rest:
            return lambda context: NOT_FOUND if context.info is None else SERIALIZATION_FAILURE
        return _whole_key(_filter_state("\0".join(rest)), len(rest) == 1)
    if text == "connection_id":
        return _from_info(lambda info: info.connection.id)
    return _whole_key(lambda context: _stored(context, text), not rest)


def _whole_key(get: Getter, is_one_part: bool) -> Getter:
    """A key that a guest has chosen; Envoy cannot read one back that has NUL in it."""
    if is_one_part:
        return get
    return lambda context: NOT_FOUND if context.vm.strict else get(context)


def _only_friendly(get: Getter, text: str) -> Getter:
    """A name that Envoy knew until 1.32, and old filters still ask for."""
    return lambda context: _stored(context, text) if context.vm.strict else get(context)


def _stored(context: Context, path: str) -> Value:
    found = context.stored_property(path)
    return NOT_FOUND if found is None else found


def _from_info(fact: Fact) -> Getter:
    def get(context: Context) -> Value:
        info = context.info
        if info is None:
            return NOT_FOUND
        try:
            return encode_value(fact(info))
        except (
            AttributeError
        ):  # a part of the way there is None now: no connection, no route, no host
            return NOT_FOUND

    return get


def _of_stream(table: dict[str, Fact], rest: Sequence[str]) -> Getter:
    """`request.path`, `request.headers`, `request.headers.<name>`."""
    name = rest[0]
    if len(rest) == 1 and name in table:
        return _from_info(table[name])
    if len(rest) == 2 and f"{name}.*" in table:
        key = rest[1].lower().encode("utf-8", "surrogateescape")
        key = b":authority" if key == b"host" else key
        fact = table[f"{name}.*"]
        return _from_info(lambda info: fact(info).joined(key))
    return lambda context: NOT_FOUND


# -- request and response ----------------------------------------------------------------------


def _request_header(name: bytes) -> Fact:
    return lambda info: info.request_headers.get(name)  # type: ignore[union-attr]


def _path(info: StreamInfo) -> bytes:
    return info.request_headers.get(b":path") or b""  # type: ignore[union-attr]


def _map(headers: HeaderMap | None) -> bytes | None:
    """A header map as CEL's: each name once, its values joined."""
    if headers is None:
        return None
    joined: dict[bytes, bytes] = {}
    for name, value in headers.pairs:
        known = joined.get(name)
        joined[name] = value if known is None else b"%b,%b" % (known, value)
    return encode(list(joined.items()))


def _size(headers: HeaderMap | None, body: int) -> int:
    length = headers.get(b"content-length") if headers is not None else None
    return int(length) if length is not None and length.isdigit() else body


def _duration(info: StreamInfo) -> bytes | None:
    return None if info.response_end is None else nanoseconds(info.response_end - info.start)


def _response_code(info: StreamInfo) -> int | None:
    if info.response_code is not None:
        return info.response_code
    status = info.response_headers.get(b":status") if info.response_headers is not None else None
    return int(status) if status is not None and status.isdigit() else None


def _grpc_status(info: StreamInfo) -> int | None:
    for headers in (info.response_trailers, info.response_headers):
        value = headers.get(b"grpc-status") if headers is not None else None
        if value is not None and value.isdigit():
            return int(value)
    code = _response_code(info)
    return None if code is None else _GRPC_OF_HTTP.get(code, _GRPC_UNKNOWN)


# gRPC's http-grpc-status-mapping
_GRPC_UNKNOWN: Final = 2
_GRPC_OF_HTTP: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


def _backend_latency(info: StreamInfo) -> bytes | None:
    sent, answered = info.upstream_request_end, info.upstream_response_start
    return None if sent is None or answered is None else nanoseconds(answered - sent)


def _pool_wait(info: StreamInfo) -> bytes | None:
    ready, began = info.upstream_request_start, info.upstream_wait_start
    if ready is None:
        return None
    return nanoseconds(max(0.0, ready - began) if began is not None else 0.0)


REQUEST: Final[dict[str, Fact]] = {
    "path": _request_header(b":path"),
    "url_path": lambda info: _path(info).partition(b"?")[0],
    "query": lambda info: _path(info).partition(b"?")[2],
    "host": _request_header(b":authority"),
    "scheme": _request_header(b":scheme"),
    "method": _request_header(b":method"),
    "referer": _request_header(b"referer"),
    "useragent": _request_header(b"user-agent"),
    "id": _request_header(b"x-request-id"),
    "protocol": lambda info: info.protocol,
    "headers": lambda info: _map(info.request_headers),
    "headers.*": lambda info: info.request_headers,
    "trailers": lambda info: _map(info.request_trailers),
    "trailers.*": lambda info: info.request_trailers,
    "time": lambda info: nanoseconds(info.start_time),
    "duration": _duration,
    "size": lambda info: _size(info.request_headers, info.bytes_received),
    "total_size": lambda info: info.bytes_received + info.request_headers.byte_size(),  # type: ignore[union-attr]
}
RESPONSE: Final[dict[str, Fact]] = {
    "code": _response_code,
    "code_details": lambda info: info.response_code_details,
    "flags": lambda info: info.response_flags,
    "grpc_status": _grpc_status,
    "headers": lambda info: _map(info.response_headers),
    "headers.*": lambda info: info.response_headers,
    "trailers": lambda info: _map(info.response_trailers),
    "trailers.*": lambda info: info.response_trailers,
    "size": lambda info: info.bytes_sent,
    "total_size": lambda info: (
        info.bytes_sent + (info.response_headers.byte_size() if info.response_headers else 0)
    ),
    "backend_latency": _backend_latency,
}

# -- peers -------------------------------------------------------------------------------------


def _tls(name: str) -> Fact:
    return lambda info: getattr(info.connection.tls, name, None)


def _upstream_tls(name: str) -> Fact:
    return lambda info: getattr(info.upstream_tls, name, None)


CONNECTION: Final[dict[str, Fact]] = {
    "id": lambda info: info.connection.id,
    "mtls": lambda info: getattr(info.connection.tls, "peer", None) is not None,
    "requested_server_name": lambda info: info.connection.requested_server_name or "",
    "termination_details": lambda info: info.connection_termination_details,
    "transport_failure_reason": _tls("transport_failure_reason"),
    **{
        name: _tls(name)
        for name in (
            "tls_version", "subject_local_certificate", "subject_peer_certificate",
            "dns_san_local_certificate", "dns_san_peer_certificate", "uri_san_local_certificate",
            "uri_san_peer_certificate", "sha256_peer_certificate_digest",
        )
    },
}  # fmt: skip
SOURCE: Final[dict[str, Fact]] = {
    "address": lambda info: _remote(info).text_bytes,
    "port": lambda info: _remote(info).port,
}
DESTINATION: Final[dict[str, Fact]] = {
    "address": lambda info: info.connection.local_address.text_bytes,
    "port": lambda info: info.connection.local_address.port,
}
UPSTREAM: Final[dict[str, Fact]] = {
    "address": lambda info: info.upstream_host.address.text_bytes,
    "port": lambda info: info.upstream_host.address.port,
    "local_address": lambda info: info.upstream_local_address.text_bytes,
    "transport_failure_reason": lambda info: (
        (info.upstream_transport_failure_reason or "") if info.attempt_count else None
    ),
    "request_attempt_count": lambda info: info.attempt_count,
    "cx_pool_ready_duration": _pool_wait,
    "locality": lambda info: _locality(info.upstream_host.locality),
    **{
        name: _upstream_tls(name)
        for name in (
            "tls_version", "subject_local_certificate", "subject_peer_certificate",
            "dns_san_local_certificate", "dns_san_peer_certificate", "uri_san_local_certificate",
            "uri_san_peer_certificate", "sha256_peer_certificate_digest",
        )
    },
}  # fmt: skip


def _locality(locality: Any) -> bytes:
    return locality_message(locality.region, locality.zone, locality.sub_zone)


def _remote(info: StreamInfo) -> Any:
    found = info.downstream_remote_address
    return info.connection.remote_address if found is None else found


NAMESPACES: Final = {
    "request": REQUEST, "response": RESPONSE, "connection": CONNECTION, "source": SOURCE,
    "destination": DESTINATION, "upstream": UPSTREAM,
}  # fmt: skip

# -- plugin, node, xds -------------------------------------------------------------------------

PLUGIN: Final[dict[str, Getter]] = {
    "plugin_name": lambda context: context.root.plugin.name.encode(),
    "plugin_root_id": lambda context: context.root.plugin.root_id.encode(),
    "plugin_vm_id": lambda context: context.root.plugin.vm.vm_id.encode(),
}


def _cluster(info: StreamInfo) -> Any:
    """The cluster of the request: chosen, or the only one that its route can choose."""
    if info.cluster is not None:
        return info.cluster
    route = info.route
    if not getattr(getattr(route, "action", None), "cluster", ""):
        return None  # no route, or one that weighs: that is decided by the router
    entry = route.choose(info.request_headers, 0)
    return entry.cluster if entry is not None else None


XDS: Final[dict[str, Fact]] = {
    "cluster_name": lambda info: _cluster(info).name,
    "cluster_metadata": lambda info: Metadata(_cluster(info).config.metadata),
    "route_name": lambda info: None if info.route is None else info.route_name,
    "route_metadata": lambda info: Metadata(info.route.metadata),
    "virtual_host_name": lambda info: info.route.virtual_host.name,
    "virtual_host_metadata": lambda info: Metadata(info.route.virtual_host.metadata),
    "upstream_host_metadata": lambda info: (
        Metadata(info.upstream_host.metadata) if info.upstream_host.metadata else NULL
    ),
    "filter_chain_name": lambda info: getattr(info.connection, "filter_chain_name", ""),
    "listener_metadata": lambda info: (
        Metadata(getattr(info.connection, "listener_metadata", None)) if info.connection else None
    ),
}
LEGACY: Final = frozenset(("node", "listener_direction", *XDS))
ROUTED: Final = frozenset(
    [
        "cluster_name",
        "cluster_metadata",
        "route_name",
        "route_metadata",
        "virtual_host_name",
        "virtual_host_metadata",
    ]
)
"""What the route decides: asking for it matches the route, if that has not been done."""


def _xds(parts: Sequence[str]) -> Getter:
    if not parts:
        return lambda context: SERIALIZATION_FAILURE
    name, rest = parts[0], parts[1:]
    if name == "node":
        if not rest:
            return lambda context: context.vm.services.node.serialized
        return lambda context: walk(context.vm.services.node.fields, rest)
    if name == "listener_direction":
        return _direction
    fact = XDS.get(name)
    if fact is None:
        return lambda context: NOT_FOUND
    get = _walked(fact, rest)
    if name in ROUTED:

        def get_routed(context: Context) -> Value:
            context.resolve_route()
            return get(context)

        return get_routed
    return get


def _direction(context: Context) -> Value:
    if context.info is None and context.vm.strict:
        return NOT_FOUND
    return int_value(context.root.plugin.direction)


def _walked(fact: Fact, rest: Sequence[str]) -> Getter:
    def get(context: Context) -> Value:
        info = context.info
        if info is None:
            return NOT_FOUND
        try:
            return walk(fact(info), rest)
        except AttributeError:  # as in _from_info
            return NOT_FOUND

    return get


def _metadata(rest: Sequence[str]) -> Getter:
    """`metadata.filter_metadata.<namespace>.<key>`: what filters told each other."""
    return _walked(lambda info: Metadata(info.dynamic_metadata), rest)


def _filter_state(key: str) -> Getter:
    def fact(info: StreamInfo) -> Any:
        found = (info.filter_state or {}).get(key)
        if found is None and info.connection is not None:
            found = (info.connection.filter_state or {}).get(key)
        return found

    return _from_info(fact)
