"""What is compared: one entry a case, with its configuration, its load and its bar."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshproxy.resources import filters_directory
from tests.parity.config import bootstrap, cluster
from tests.parity.tcp import tcp_listener, tcp_proxy
from tests.parity.tls import downstream_tls
from tests.perf.load import Load, h2load, websocket, wrk
from tests.support.certificates import make
from tests.support.yaml_template import fill

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """`configuration`: YAML for the upstream's port. `bar`: the least ratio to Envoy's rate.

    `http2_upstream`: the upstream is one that speaks HTTP/2, instead of upstream.c.
    """

    name: str
    bar: float
    configuration: Callable[[int], str]
    load: Load
    http2_upstream: bool = False


def http1(filters: int = 0) -> Callable[[int], str]:
    """One HTTP/1.1 listener before the upstream, with a chain of Wasm filters."""

    def configuration(upstream_port: int) -> str:
        module = filters_directory() / "bench_headers.wasm"
        chain = fill((HERE / "wasm_filter.yaml").read_text(), {"wasm": module}) * filters
        values = {"upstream_port": upstream_port, "wasm_filter": chain}
        return fill((HERE / "proxy.yaml").read_text(), values)

    return configuration


def tls13() -> Callable[[int], str]:
    """The same behind TLS 1.3, with a certificate made for the occasion."""

    def configuration(upstream_port: int) -> str:
        leaf = make("leaf", make("ca"))
        certificate = {
            "certificate_chain": {"inline_string": leaf.pem.decode()},
            "private_key": {"inline_string": leaf.key.decode()},
        }
        socket = downstream_tls(
            {
                "tls_certificates": [certificate],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            }
        )
        line = f"      transport_socket: {json.dumps(socket)}\n"
        return http1()(upstream_port).replace("  clusters:\n", f"{line}  clusters:\n")

    return configuration


def with_websockets(upstream_port: int) -> str:
    """The HTTP/1.1 listener, which lets WebSocket in."""
    before = "          route_config:\n"
    option = "          upgrade_configs: [{upgrade_type: websocket}]\n"
    return http1()(upstream_port).replace(before, option + before)


def tcp(upstream_port: int) -> str:
    """A TCP proxy before the upstream."""
    chain = {"filters": [tcp_proxy("tcp", cluster="upstream")]}
    return bootstrap([tcp_listener("main", [chain])], [cluster("upstream", [upstream_port])])


def http2(upstream_port: int) -> str:
    """The same listener before an HTTP/2 upstream."""
    plain = http1()(upstream_port)
    line = "    connect_timeout: 1s\n"
    return plain.replace(line, line + (HERE / "http2_cluster.yaml").read_text())


GRPC: Final = ("-Hcontent-type: application/grpc", "-Hte: trailers")
"""A unary call of 32 bytes, answered by trailers alone."""


CASES: Final = (
    Case("plain", 1.0, http1(), wrk("/")),
    Case("wasm", 1.0, http1(filters=1), wrk("/")),
    Case("five wasm", 0.6, http1(filters=5), wrk("/")),
    Case("1mb", 0.8, http1(), wrk("/1mb")),
    Case("tls 1.3", 0.8, tls13(), wrk("/", scheme="https")),
    Case("tls 1.3, 1mb", 0.8, tls13(), wrk("/1mb", scheme="https")),
    Case("tcp", 0.8, tcp, wrk("/")),
    Case("tcp, 1mb", 0.8, tcp, wrk("/1mb")),
    Case("websocket", 0.8, with_websockets, websocket("/")),
    Case("websocket, 1mb", 0.8, with_websockets, websocket("/1mb")),
    Case("http/2 to http/1", 0.4, http1(), h2load("/")),
    Case("http/2", 0.4, http2, h2load("/"), http2_upstream=True),
    Case(
        "grpc unary",
        0.4,
        http2,
        h2load("/s.S/M", GRPC, b"\0\0\0\0\x20" + bytes(32)),
        http2_upstream=True,
    ),
)
