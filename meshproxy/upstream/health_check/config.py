"""`HealthCheck` of a cluster as frozen values.

Owns what a check is and how often it is made. Refuses to know protos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

DEFAULT_BUFFER: Final = 1024
MAX_BUFFER: Final = 1 << 20
"""Bytes of an answer that are kept where `response_buffer_size` 0 sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHealthCheck:
    """`http_health_check`. Statuses are ranges; empty `receive`: any body will do.

    `mutations`: what `request_headers_to_add` and `_remove` do, as `router/header_mutation.py` has
    it. `service_name` judges `x-envoy-upstream-healthchecked-cluster`, None: it does not matter.
    """

    path: bytes
    host: bytes = b""
    method: bytes = b"GET"
    http2: bool = False
    send: bytes = b""
    receive: tuple[bytes, ...] = ()
    response_buffer_size: int = DEFAULT_BUFFER
    mutations: Any = None
    expected_statuses: tuple[range, ...] = (range(200, 201),)
    retriable_statuses: tuple[range, ...] = ()
    service_name: Callable[[bytes], bool] | None = None

    name = "HTTP"  # data.core.v3.HealthCheckerType


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpHealthCheck:
    """`tcp_health_check`. Empty `receive`: it is enough that the host accepts."""

    send: bytes = b""
    receive: tuple[bytes, ...] = ()

    name = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcHealthCheck:
    """`grpc_health_check`. `mutations` add the `initial_metadata`."""

    service_name: str = ""
    authority: bytes = b""
    mutations: Any = None

    name = "GRPC"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckConfig:
    """`HealthCheck` with Envoy's defaults. Times are seconds.

    `min_interval` and `max_interval` are the runtime's `health_check.*`. `alpn`: what TLS offers to
    the host in place of what the cluster's transport socket says, empty for that.
    `transport_socket_match`: labels that choose the transport socket, None for the host's own.
    """

    check: HttpHealthCheck | TcpHealthCheck | GrpcHealthCheck
    timeout: float
    interval: float
    unhealthy_threshold: int
    healthy_threshold: int
    initial_jitter: float = 0.0
    interval_jitter: float = 0.0
    interval_jitter_percent: int = 0
    no_traffic_interval: float = 60.0
    no_traffic_healthy_interval: float = 60.0
    unhealthy_interval: float
    unhealthy_edge_interval: float
    healthy_edge_interval: float
    min_interval: float = 0.0
    max_interval: float | None = None
    reuse_connection: bool = True
    always_log_failures: bool = False
    always_log_success: bool = False
    event_log_paths: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    transport_socket_match: Mapping[str, Any] | None = None
