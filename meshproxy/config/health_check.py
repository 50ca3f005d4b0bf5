"""`HealthCheck` messages of a cluster, and `Endpoint.HealthCheckConfig`, to frozen values.

Owns what Envoy checks of them beyond the rules of their protos. Refuses to know how one asks.
"""

from __future__ import annotations

import re
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.header_mutation import build_mutations
from meshproxy.config.matching import build_string
from meshproxy.config.problems import Problems
from meshproxy.config.reading import enum_name, plain, seconds, wrapped
from meshproxy.errors import Code
from meshproxy.network.address import Address
from meshproxy.upstream.health_check.config import (
    DEFAULT_BUFFER,
    GrpcHealthCheck,
    HealthCheckConfig,
    HttpHealthCheck,
    TcpHealthCheck,
)
from meshproxy.upstream.host import EndpointHealthCheck

FILE_SINK: Final = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
# RFC 9110: a request of these has no content.
_WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "DELETE", "TRACE"})
_STATUSES: Final = (100, 600)


def build_health_check(
    at: At, context: BuildContext, *, speaks_http2: bool
) -> HealthCheckConfig | None:
    """The active health check of a cluster, None where it has none."""
    checks = at.many("health_checks")
    if not checks:
        return None
    problems = context.problems
    if len(checks) > 1:
        text = "several health checks need names, which are not supported"
        checks[1].error(problems, Code.INVALID, text, expected="one health check")
    one = checks[0]
    check = _check(one, problems)
    if isinstance(check, GrpcHealthCheck) and not speaks_http2:
        text = "a gRPC health check needs a cluster that speaks HTTP/2"
        one.error(problems, Code.INVALID, text, "grpc_health_check")
    if check is None:
        return None  # its error is noted already
    interval = seconds(one, "interval", 0.0)
    no_traffic = seconds(one, "no_traffic_interval", 60.0)
    unhealthy = seconds(one, "unhealthy_interval", interval)
    runtime = context.runtime
    most = runtime.number("health_check.max_interval", 0.0) / 1000
    tls = one.one("tls_options")
    return HealthCheckConfig(
        check=check,
        timeout=seconds(one, "timeout", 0.0),
        interval=interval,
        unhealthy_threshold=wrapped(one, "unhealthy_threshold", 0),
        healthy_threshold=wrapped(one, "healthy_threshold", 0),
        initial_jitter=seconds(one, "initial_jitter", 0.0),
        interval_jitter=seconds(one, "interval_jitter", 0.0),
        interval_jitter_percent=one.message.interval_jitter_percent,
        no_traffic_interval=no_traffic,
        no_traffic_healthy_interval=seconds(one, "no_traffic_healthy_interval", no_traffic),
        unhealthy_interval=unhealthy,
        unhealthy_edge_interval=seconds(one, "unhealthy_edge_interval", unhealthy),
        healthy_edge_interval=seconds(one, "healthy_edge_interval", interval),
        min_interval=runtime.number("health_check.min_interval", 0.0) / 1000,
        max_interval=most or None,
        reuse_connection=wrapped(one, "reuse_connection", True),
        always_log_failures=one.message.always_log_health_check_failures,
        always_log_success=one.message.always_log_health_check_success,
        event_log_paths=_event_logs(one),
        alpn=tuple(tls.message.alpn_protocols) if tls is not None else (),
        transport_socket_match=(
            plain(one.message.transport_socket_match_criteria)
            if one.has("transport_socket_match_criteria")
            else None
        ),
    )


def _check(at: At, problems: Problems) -> HttpHealthCheck | TcpHealthCheck | GrpcHealthCheck | None:
    kind = at.message.WhichOneof("health_checker")
    inside = at.one(kind) if kind else None
    if inside is None:
        return None
    if kind == "http_health_check":
        return _http(inside, problems)
    if kind == "tcp_health_check":
        return TcpHealthCheck(send=_payload(inside, problems), receive=_expected(inside, problems))
    if kind == "grpc_health_check":
        message = inside.message
        return GrpcHealthCheck(
            service_name=message.service_name,
            authority=message.authority.encode(),
            mutations=build_mutations(inside, problems, "initial_metadata"),
        )
    return None


def _http(at: At, problems: Problems) -> HttpHealthCheck:
    message = at.message
    method = enum_name(at, "method")
    method = "GET" if method in ("", "METHOD_UNSPECIFIED") else method
    if method in _WITHOUT_CONTENT and at.has("send"):
        text = f"a health check by {method} has no payload"
        at.error(problems, Code.INVALID, text, "send", expected="POST, PUT, PATCH or OPTIONS")
    receive = _expected(at, problems)
    size = wrapped(at, "response_buffer_size", DEFAULT_BUFFER)
    total = sum(len(each) for each in receive)
    if size and total > size:
        text = f"the expected answer of {total} bytes is larger than response_buffer_size, {size}"
        at.error(problems, Code.INVALID, text, "receive")
    name = at.one("service_name_matcher")
    return HttpHealthCheck(
        path=message.path.encode(),
        host=message.host.encode(),
        method=method.encode(),
        http2=enum_name(at, "codec_client_type") == "HTTP2",
        send=_payload(at, problems),
        receive=receive,
        response_buffer_size=size,
        mutations=build_mutations(
            at, problems, "request_headers_to_add", "request_headers_to_remove"
        ),
        expected_statuses=_statuses(at, "expected_statuses", problems) or (range(200, 201),),
        retriable_statuses=_statuses(at, "retriable_statuses", problems),
        service_name=build_string(name, problems) if name is not None else None,
    )


def _statuses(at: At, field: str, problems: Problems) -> tuple[range, ...]:
    built = []
    for each in at.many(field):
        start, end = each.message.start, each.message.end
        if not _STATUSES[0] <= start < end <= _STATUSES[1]:
            text = f"[{start}, {end}) is not a range of statuses"
            each.error(problems, Code.INVALID, text, expected="100 <= start < end <= 600")
        else:
            built.append(range(start, end))
    return tuple(built)


def _payload(at: At, problems: Problems) -> bytes:
    send = at.one("send")
    return _bytes(send, problems) if send is not None else b""


def _expected(at: At, problems: Problems) -> tuple[bytes, ...]:
    return tuple(_bytes(each, problems) for each in at.many("receive"))


def _bytes(at: At, problems: Problems) -> bytes:
    text = at.message.text
    if not text:
        return bytes(at.message.binary)
    if not _HEX.fullmatch(text):
        at.error(problems, Code.INVALID, f"'{text}' is not hexadecimal", "text", expected="0a1b…")
        return b""
    return bytes.fromhex(text)


def _event_logs(at: At) -> tuple[str, ...]:
    paths = [at.message.event_log_path] if at.message.event_log_path else []
    for logger in at.many("event_logger"):
        packed: Any = logger.unpack("typed_config")
        if packed is not None and packed.type_name == FILE_SINK:
            paths.append(packed.message.event_log_path)
    return tuple(paths)


def build_endpoint_check(at: At | None, problems: Problems) -> EndpointHealthCheck:
    """`health_check_config` of an endpoint."""
    if at is None:
        return EndpointHealthCheck()
    message = at.message
    return EndpointHealthCheck(
        port=message.port_value,
        hostname=message.hostname,
        address=_address(at.one("address"), problems),
        disabled=message.disable_active_health_check,
    )


def _address(at: At | None, problems: Problems) -> Address | None:
    if at is None:
        return None
    if at.has("pipe"):
        return Address.pipe(at.message.pipe.path)
    where = at.message.socket_address
    try:
        return Address.parse(where.address, where.port_value)
    except ValueError:
        text = f"'{where.address}' is not an IP address"
        at.error(problems, Code.INVALID, text, "socket_address", "address")
        return None
