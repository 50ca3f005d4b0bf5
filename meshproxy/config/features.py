"""What meshproxy can do, as the table of the README: read off the lists that the code works by.

Owns its rows and its Markdown. Refuses to claim: a row that names nothing listed is an error.
`python -m meshproxy.config.features README.md` writes it between its marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from meshproxy.admin.endpoints import ENDPOINTS
from meshproxy.config.supported_fields import EXTENSIONS, FIELDS, VALUES
from meshproxy.dapr.components import COMPONENTS
from meshproxy.http.operators import OPERATORS

MARKS: Final = ("<!-- features: generated from the registries -->\n", "<!-- /features -->")

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3."
_WASM: Final = "envoy.extensions.wasm.v3."

# Row, messages whose fields it lists.
_MESSAGES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Bootstrap", ("envoy.config.bootstrap.v3.Bootstrap",)),
    ("Listener", ("envoy.config.listener.v3.Listener",)),
    (
        "Filter chain",
        ("envoy.config.listener.v3.FilterChain", "envoy.config.listener.v3.FilterChainMatch"),
    ),
    (
        "TLS",
        tuple(
            f"envoy.extensions.transport_sockets.tls.v3.{name}"
            for name in (
                "DownstreamTlsContext",
                "UpstreamTlsContext",
                "CommonTlsContext",
                "TlsParameters",
                "Secret.tls_certificate",
                "Secret.validation_context",
            )
        ),
    ),
    (
        "HttpConnectionManager",
        (
            f"{_MANAGER}HttpConnectionManager",
            f"{_MANAGER}HttpConnectionManager.common_http_protocol_options",
            f"{_MANAGER}HttpConnectionManager.http_protocol_options",
        ),
    ),
    (
        "Route configuration",
        ("envoy.config.route.v3.RouteConfiguration", "envoy.config.route.v3.VirtualHost"),
    ),
    ("Route", ("envoy.config.route.v3.Route",)),
    (
        "Route match",
        ("envoy.config.route.v3.RouteMatch", "envoy.config.route.v3.HeaderMatcher"),
    ),
    (
        "Route action",
        (
            "envoy.config.route.v3.RouteAction",
            "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        ),
    ),
    (
        "Redirect, direct response",
        (
            "envoy.config.route.v3.RedirectAction",
            "envoy.config.route.v3.DirectResponseAction",
        ),
    ),
    ("Cluster", ("envoy.config.cluster.v3.Cluster",)),
    ("Circuit breakers", ("envoy.config.cluster.v3.CircuitBreakers.Thresholds",)),
    (
        "Endpoints",
        (
            "envoy.config.endpoint.v3.LocalityLbEndpoints",
            "envoy.config.endpoint.v3.LbEndpoint",
            "envoy.config.endpoint.v3.Endpoint",
        ),
    ),
    (
        "Active health check",
        tuple(
            f"envoy.config.core.v3.HealthCheck{kind}"
            for kind in ("", ".HttpHealthCheck", ".TcpHealthCheck", ".GrpcHealthCheck")
        ),
    ),
    ("Wasm plugin", (f"{_WASM}PluginConfig", f"{_WASM}VmConfig")),
    ("Access log filter", ("envoy.config.accesslog.v3.AccessLogFilter",)),
    ("Access log format", ("envoy.config.core.v3.SubstitutionFormatString",)),
)

_VALUES: Final[tuple[tuple[str, str], ...]] = (
    ("Cluster type", "envoy.config.cluster.v3.Cluster.type"),
    ("Load balancing", "envoy.config.cluster.v3.Cluster.lb_policy"),
)

_EXTENSIONS: Final[tuple[tuple[str, str], ...]] = (
    ("Listener filter", "envoy.config.listener.v3.ListenerFilter.typed_config"),
    ("Transport socket", "envoy.config.core.v3.TransportSocket.typed_config"),
    ("Network filter", "envoy.config.listener.v3.Filter.typed_config"),
    ("HTTP filter", f"{_MANAGER}HttpFilter.typed_config"),
    ("Access logger", "envoy.config.accesslog.v3.AccessLog.typed_config"),
)

_COMPONENTS: Final[tuple[tuple[str, str], ...]] = (
    ("state store", "state"),
    ("pub/sub", "pubsub"),
    ("binding", "bindings"),
    ("secret store", "secretstores"),
    ("configuration store", "configuration"),
    ("lock", "lock"),
    ("name resolution", "nameresolution"),
    ("HTTP middleware", "middleware"),
)


def table() -> str:
    """The table: a row for each part of the configuration and of the admin interface."""
    rows = [("", "supported"), ("---", "---"), *_rows()]
    return "".join(f"| {part} | {supported} |\n" for part, supported in rows)


def _rows() -> Iterator[tuple[str, str]]:
    for part, place in _EXTENSIONS:
        _, messages = EXTENSIONS[place]
        yield part, _listed([_extension_name(message) for message in messages])
    for part, place in _VALUES:
        yield part, _listed(VALUES[place].split())
    for part, messages in _MESSAGES:
        fields = [field for message in messages for field in FIELDS[message].split()]
        yield part, _listed(list(dict.fromkeys(fields)))
    yield "Format operators", _listed(sorted(OPERATORS))
    yield "Admin", _listed([endpoint.path for endpoint in ENDPOINTS])
    for part, category in _COMPONENTS:
        yield f"Dapr: {part}", _listed([_component(name) for name in COMPONENTS.of(category)])


def _component(name: str) -> str:
    """A component's type without its category, and its version where it is not the first."""
    type_name, _, version = name.partition("/")
    short = type_name.partition(".")[2].removeprefix("http.")
    return short if version == "v1" else f"{short}/{version}"


def _extension_name(message: str) -> str:
    """What an extension is called: its message, or its package where many messages are so named."""
    *_, package, _version, name = message.split(".")
    return package if name in ("Config", "FilterConfig") else name


def _listed(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def written(page: str) -> str:
    """A page with the table between its marks.

    Raises:
        ValueError: the page has not both marks.
    """
    start, end = MARKS
    found = re.search(re.escape(start) + ".*?" + re.escape(end), page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page lacks the marks {start.strip()} and {end}")
    return f"{page[: found.start()]}{start}\n{table()}\n{end}{page[found.end() :]}"


def main(arguments: Sequence[str]) -> None:
    """Write the table into each page."""
    for name in arguments:
        page = Path(name)
        page.write_text(written(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
