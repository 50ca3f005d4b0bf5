"""A request's headers, from what the client sent to what may be believed.

Owns forwarded-for and internal/external rules, request ids, and which `x-envoy-*` headers strangers
may not set (Envoy's ConnectionManagerUtility::mutateRequestHeaders). Refuses to know framing and
hop-by-hop fields: the codecs have dealt with those.
"""

from __future__ import annotations

import random
import socket
from binascii import hexlify
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http import client_cert
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.path import PATH_NORMALIZATION_FAILED

if TYPE_CHECKING:
    from meshproxy.http.conn_manager import HttpConnectionManagerConfig
    from meshproxy.http.stream_info import StreamInfo

MISSING_HOST: Final = LocalReply(400, "missing_host_header", close=True)
QUERY_WITHOUT_CONTENT_TYPE: Final = LocalReply(400, "query_missing_content_type", close=True)
UPGRADE_FAILED: Final = LocalReply(403, "upgrade_failed", close=True)
ABSOLUTE_PATH_REJECTED: Final = LocalReply(404, "absolute_path_rejected")
BAD_PATH: Final = LocalReply(400, "path_normalization_failed", close=True)

# Only an internal client may say these.
_INTERNAL_ONLY: Final = frozenset(
    (
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-force-trace",
        b"x-envoy-hedge-on-per-try-timeout",
        b"x-envoy-internal",
        b"x-envoy-ip-tags",
        b"x-envoy-max-retries",
        b"x-envoy-original-url",
        b"x-envoy-retriable-header-names",
        b"x-envoy-retriable-status-codes",
        b"x-envoy-retry-grpc-on",
        b"x-envoy-retry-on",
        b"x-envoy-upstream-alt-stat-name",
        b"x-envoy-upstream-rq-per-try-timeout-ms",
        b"x-envoy-upstream-rq-timeout-alt-response",
        b"x-envoy-upstream-rq-timeout-ms",
        b"x-forwarded-client-cert",
    )
)
# At the edge, where the peer's own address is what counts, these are nobody else's either.
_EDGE_ONLY: Final = frozenset(
    (
        b"x-envoy-decorator-operation",
        b"x-envoy-downstream-service-cluster",
        b"x-envoy-downstream-service-node",
        b"x-envoy-original-host",
        b"x-envoy-original-path",
    )
)
# What the router reads from an internal request and does not pass on.
_CONSUMED: Final = frozenset(
    (
        b"x-envoy-hedge-on-per-try-timeout",
        b"x-envoy-max-retries",
        b"x-envoy-retriable-header-names",
        b"x-envoy-retriable-status-codes",
        b"x-envoy-retry-grpc-on",
        b"x-envoy-retry-on",
        b"x-envoy-upstream-alt-stat-name",
        b"x-envoy-upstream-rq-per-try-timeout-ms",
        b"x-envoy-upstream-rq-timeout-alt-response",
        b"x-envoy-upstream-rq-timeout-ms",
        b"x-forwarded-client-cert",
    )
)
# What it may ask of the tries of its request.
_TRIES: Final = frozenset(
    (
        b"x-envoy-max-retries",
        b"x-envoy-retriable-header-names",
        b"x-envoy-retriable-status-codes",
        b"x-envoy-retry-grpc-on",
        b"x-envoy-retry-on",
        b"x-envoy-upstream-rq-per-try-timeout-ms",
    )
)
_SUSPICIOUS: Final = _INTERNAL_ONLY | _EDGE_ONLY
_FORWARDED_PROTO: Final = b"x-forwarded-proto"
_HTTP: Final = (_FORWARDED_PROTO, b"http")
_HTTPS: Final = (_FORWARDED_PROTO, b"https")
_REQUEST_ID: Final = b"x-request-id"
_VARIANTS: Final = (b"8", b"9", b"a", b"b")
_random = random.Random()  # noqa: S311  # ids, not secrets


def sanitize(
    headers: HeaderMap, info: StreamInfo, config: HttpConnectionManagerConfig, local_ip: str
) -> LocalReply | None:
    """Change `headers` in place and learn from them into `info`. Returns a refusal instead."""
    pairs = headers.pairs
    fields = dict(pairs)
    if b":authority" not in fields:
        return MISSING_HOST
    if fields[b":method"] == b"QUERY" and not fields.get(b"content-type"):
        return QUERY_WITHOUT_CONTENT_TYPE
    refusal = _normalize_path(headers, fields, config)
    if refusal is not None:
        return refusal
    expect = fields.get(b"expect")
    if expect is not None and expect.lower() == b"100-continue" and not config.proxy_100_continue:
        headers.remove(b"expect")
        info.continue_expected = True
    if config.use_remote_address or b"x-forwarded-for" in fields:
        edge = _resolve_addresses(headers, fields, info, config, local_ip)
    else:
        info.downstream_remote_address = info.connection.remote_address
        edge = False
        if _FORWARDED_PROTO not in fields:
            pairs.append(_HTTP if info.connection.tls is None else _HTTPS)
    if info.connection.tls is not None:
        headers.replace(b":scheme", b"https")
    if config.client_cert is not None:
        config.client_cert.apply(headers, info.connection.tls)
    if not _SUSPICIOUS.isdisjoint(fields):
        _drop_what_is_not_theirs(headers, info, config, edge)
    if edge:
        address = info.downstream_remote_address
        headers.replace(b"x-envoy-external-address", address.without_port.encode())
    elif info.internal:
        headers.replace(b"x-envoy-internal", b"true")
    request_id = fields.get(_REQUEST_ID)
    if config.generate_request_id and (
        not request_id or (edge and not config.preserve_external_request_id)
    ):
        new_id = make_request_id()
        if request_id is None:
            headers.pairs.append((_REQUEST_ID, new_id))
        else:
            headers.replace(_REQUEST_ID, new_id)
        request_id = new_id
    info.request_id = request_id
    if config.via:
        own = fields.get(b"via")
        headers.replace(b"via", config.via if not own else own + b"," + config.via)
    if b"upgrade" in fields:
        info.upgrade = fields[b"upgrade"].lower()
    elif fields[b":method"] == b"CONNECT" and b":path" not in fields:
        info.upgrade = b"connect"
    if fields.get(_FORWARDED_PROTO) == b"":
        info.forwarded_proto_empty = True
    return None


def _normalize_path(
    headers: HeaderMap, fields: dict[bytes, bytes], config: HttpConnectionManagerConfig
) -> LocalReply | None:
    path = fields.get(b":path")
    if path is None:
        return None
    if path[:1] != b"/":
        return ABSOLUTE_PATH_REJECTED
    if ord("#") in path:
        return BAD_PATH
    if config.path_normalizer is not None:
        normal, refusal = config.path_normalizer.normalize(path)
        if normal is not path:
            headers.replace(b":path", normal)
        return refusal
    return None


def _drop_what_is_not_theirs(
    headers: HeaderMap, info: StreamInfo, config: HttpConnectionManagerConfig, edge: bool
) -> None:
    if info.internal:
        info.upstream_timeout_ms = _number(headers.get(b"x-envoy-upstream-rq-timeout-ms"))
        info.per_try_timeout_ms = _number(headers.get(b"x-envoy-upstream-rq-per-try-timeout-ms"))
        info.tries_asked = {pair[0]: pair[1] for pair in headers.pairs if pair[0] in _TRIES} or None
        info.alt_response = b"x-envoy-upstream-rq-timeout-alt-response" in headers
        info.alt_stat_name = headers.get(b"x-envoy-upstream-alt-stat-name")
        info.force_trace = b"x-envoy-force-trace" in headers
        drop = _CONSUMED
    else:
        drop = _SUSPICIOUS if edge else _INTERNAL_ONLY
    if config.client_cert is not None:
        drop -= {client_cert.NAME}  # it has decided already
    headers.pairs = [pair for pair in headers.pairs if pair[0] not in drop]


def _number(text: bytes | None) -> int | None:
    """The decimal number that `text` is, if it fits 64 bits; None otherwise."""
    return int(text) if text is not None and text.isdigit() and len(text) <= 19 else None


def _resolve_addresses(
    headers: HeaderMap,
    fields: dict[bytes, bytes],
    info: StreamInfo,
    config: HttpConnectionManagerConfig,
    local_ip: str,
) -> bool:
    """Find out who the client is. True: the request comes from outside, to us first."""
    peer = info.connection.remote_address
    hops = config.xff_num_trusted_hops
    forwarded = headers.joined(b"x-forwarded-for")
    if config.use_remote_address:
        address = _nth_from_right(forwarded, hops - 1, peer) if hops else None
        info.downstream_remote_address = address = address or peer
        single = forwarded is None
        if not config.skip_xff_append:
            own = local_ip if peer.without_port in ("127.0.0.1", "::1") else peer.without_port
            value = own.encode() if not forwarded else forwarded + b"," + own.encode()
            headers.replace(b"x-forwarded-for", value)
        if hops == 0 or _FORWARDED_PROTO not in fields:
            headers.replace(*(_HTTP if info.connection.tls is None else _HTTPS))
    else:
        assert forwarded is not None
        headers.replace(b"x-forwarded-for", forwarded)
        address = _nth_from_right(forwarded, hops, peer) or peer
        info.downstream_remote_address = address
        single = b"," not in forwarded and address is not peer
        if _FORWARDED_PROTO not in fields:
            headers.pairs.append(_HTTP if info.connection.tls is None else _HTTPS)
    networks = config.internal_networks
    info.internal = networks is not None and single and address.is_internal(networks or None)
    return config.use_remote_address and not info.internal


def _nth_from_right(forwarded: bytes | None, index: int, peer: Any) -> Any:
    """The address at `index` (0 is the last) of an x-forwarded-for list; None if it is not one."""
    if not forwarded:
        return None
    elements = forwarded.split(b",")
    if index >= len(elements):
        return None
    try:
        return type(peer).parse(elements[-1 - index].strip().decode("ascii"), 0)
    except ValueError:  # not ASCII, or not an address
        return None


def make_request_id() -> bytes:
    """A random UUID (RFC 9562, version 4) as text: 0.4 us, against 2.4 for `uuid.uuid4`."""
    digits = hexlify(_random.getrandbits(128).to_bytes(16, "big"))
    variant = _VARIANTS[digits[16] & 3]
    return b"-".join(
        (digits[:8], digits[8:12], b"4" + digits[13:16], variant + digits[17:20], digits[20:])
    )


def host_ip() -> str:
    """This machine's first address that others could use; a loopback peer is recorded as it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # No packet is sent: connecting a datagram socket only picks the route. TEST-NET-1.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


__all__ = ["PATH_NORMALIZATION_FAILED", "UPGRADE_FAILED", "host_ip", "make_request_id", "sanitize"]
