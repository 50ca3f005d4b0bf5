"""Every metric of the Dapr sidecar, declared: daprd's names and labels, one block a subject.

Owns the list. Refuses to know when a metric moves. Names are daprd's; what Prometheus shows has
`dapr_` before them and `_` for every other sign. Every series has the label `app_id`.

Source: https://docs.dapr.io/operations/observability/metrics/, daprd v1.18.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meshproxy.stats.labelled import COUNTER, GAUGE, HISTOGRAM, Family, Rewrite
from meshproxy.stats.path_matching import PathMatcher

LATENCY_BUCKETS: Final[tuple[float, ...]] = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400,
    500, 650, 800, 1000, 2000, 5000, 10000, 20000, 50000, 100000,
)  # fmt: skip
"""Milliseconds."""
SIZE_BUCKETS: Final[tuple[float, ...]] = tuple(
    1024 * n for n in (1, 2, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
)
"""Bytes."""
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """`spec.metrics` of a Configuration.

    `rules`: for a family, as Prometheus shows it, and a label: how its values are rewritten.
    """

    enabled: bool = True
    record_error_codes: bool = False
    latency_buckets: tuple[float, ...] = LATENCY_BUCKETS
    increased_cardinality: bool = True
    path_matching: tuple[str, ...] = ()
    exclude_verbs: bool = False
    rules: Mapping[tuple[str, str], Rewrite] | None = None


class _Declaring:
    """Makes the families of one process."""

    def __init__(self, app_id: str, namespace: str, settings: MetricsSettings) -> None:
        self.families: list[Family] = []
        self._app = {"app_id": app_id}
        self._component = {"app_id": app_id, "namespace": namespace}
        self._buckets = settings.latency_buckets
        self._rules = settings.rules or {}

    def count(self, name: str, help: str, labels: str = "", *, namespaced: bool = False) -> Family:
        """A counter; `labels` are separated by blanks."""
        return self._family(name, COUNTER, help, labels, (), namespaced)

    def gauge(self, name: str, help: str, labels: str = "", *, namespaced: bool = False) -> Family:
        """A value that goes up and down."""
        return self._family(name, GAUGE, help, labels, (), namespaced)

    def latency(
        self, name: str, help: str, labels: str = "", *, namespaced: bool = False
    ) -> Family:
        """A distribution of milliseconds."""
        return self._family(name, HISTOGRAM, help, labels, self._buckets, namespaced)

    def size(self, name: str, help: str, labels: str = "") -> Family:
        """A distribution of bytes."""
        return self._family(name, HISTOGRAM, help, labels, SIZE_BUCKETS, False)

    def _family(
        self,
        name: str,
        kind: str,
        help: str,
        labels: str,
        bounds: Sequence[float],
        namespaced: bool,
    ) -> Family:
        constant = self._component if namespaced else self._app
        shown = f"dapr_{_UNFIT.sub('_', name)}"
        family = Family(shown, kind, help, labels.split(), constant, bounds)
        family.rewrites = {
            label: rewrite for (of, label), rewrite in self._rules.items() if of == shown
        }
        self.families.append(family)
        return family


class HttpMetrics:
    """`dapr_http_*`: the API, calls to the app, looks at its health."""

    def __init__(self, declare: _Declaring) -> None:
        count, latency, size = declare.count, declare.latency, declare.size
        labels = "method path status"
        self.request_count = count("http/server/request_count", "HTTP requests", labels)
        self.response_count = count("http/server/response_count", "HTTP responses", labels)
        self.latency = latency("http/server/latency", "Time of HTTP requests in the API", labels)
        self.request_bytes = size("http/server/request_bytes", "Bytes of request bodies")
        self.response_bytes = size("http/server/response_bytes", "Bytes of response bodies")
        self.completed_count = count("http/client/completed_count", "Calls to the app", labels)
        self.roundtrip_latency = latency(
            "http/client/roundtrip_latency", "Time of calls to the app", labels
        )
        self.sent_bytes = size("http/client/sent_bytes", "Bytes of bodies to the app", labels)
        self.received_bytes = size("http/client/received_bytes", "Bytes of bodies from the app")
        self.probes = count("http/healthprobes/completed_count", "Looks at the app", "status")
        self.probe_latency = latency(
            "http/healthprobes/roundtrip_latency", "Time of looks at the app", "status"
        )


class GrpcMetrics:
    """`dapr_grpc_io_*`: the same for gRPC, where the app speaks it."""

    def __init__(self, declare: _Declaring) -> None:
        self.server = GrpcSide(declare, "server", "server_latency")
        self.client = GrpcSide(declare, "client", "roundtrip_latency")
        status = "grpc_client_status"
        self.probes = declare.count(
            "grpc.io/healthprobes/completed_count", "Looks at the app", status
        )
        self.probe_latency = declare.latency(
            "grpc.io/healthprobes/roundtrip_latency", "Time of looks at the app", status
        )


class GrpcSide:
    """One side: calls that come to the API, or go to the app."""

    def __init__(self, declare: _Declaring, side: str, latency: str) -> None:
        method = f"grpc_{side}_method"
        both = f"{method} grpc_{side}_status"
        self.completed = declare.count(f"grpc.io/{side}/completed_rpcs", "gRPC calls", both)
        self.latency = declare.latency(f"grpc.io/{side}/{latency}", "Time of gRPC calls", both)
        self.received_bytes = declare.size(
            f"grpc.io/{side}/received_bytes_per_rpc", "Bytes received in a gRPC call", method
        )
        self.sent_bytes = declare.size(
            f"grpc.io/{side}/sent_bytes_per_rpc", "Bytes sent in a gRPC call", method
        )


class RuntimeMetrics:
    """`dapr_runtime_*`, `dapr_resiliency_*` and `dapr_error_code_total`."""

    def __init__(self, declare: _Declaring) -> None:
        count = declare.count
        self.component_loaded = count("runtime/component/loaded", "Components loaded")
        self.component_init = count(
            "runtime/component/init_total", "Components initialized", "component"
        )
        self.component_init_fail = count(
            "runtime/component/init_fail_total",
            "Components that failed to initialize",
            "component reason componentName",
        )
        invocation = "runtime/service_invocation"
        self.req_sent = count(f"{invocation}/req_sent_total", "Calls sent", "dst_app_id type")
        self.req_recv = count(f"{invocation}/req_recv_total", "Calls received", "src_app_id")
        self.res_sent = count(f"{invocation}/res_sent_total", "Answers sent", "dst_app_id status")
        self.res_recv = count(
            f"{invocation}/res_recv_total", "Answers received", "src_app_id status type"
        )
        self.res_latency = declare.latency(
            f"{invocation}/res_recv_latency_ms", "Time until an answer", "src_app_id status"
        )
        self.resiliency_loaded = count(
            "resiliency/loaded", "Resiliency policies loaded", "name", namespaced=True
        )
        labels = "name policy flow_direction target status"
        self.resiliency_count = count(
            "resiliency/count", "Policies executed", labels, namespaced=True
        )
        self.resiliency_activations = count(
            "resiliency/activations_total", "Policies that had to act", labels, namespaced=True
        )
        self.cb_state = declare.gauge(
            "resiliency/cb_state", "Circuit breakers' states", labels, namespaced=True
        )
        self.error_codes = count(
            "error_code/total", "Errors answered by the API", "error_code category"
        )


class ComponentMetrics:
    """`dapr_component_*`: calls of components and messages from them."""

    def __init__(self, declare: _Declaring) -> None:
        self.state = Operations(declare, "state", "component operation success")
        self.configuration = Operations(declare, "configuration", "component operation success")
        self.secret = Operations(declare, "secret", "component operation success")
        self.output_binding = Operations(declare, "output_binding", "component operation success")
        self.input_binding = Operations(declare, "input_binding", "component success")
        self.egress = Operations(declare, "pubsub_egress", "component success topic")
        self.ingress = Operations(
            declare, "pubsub_ingress", "component process_status topic status"
        )
        self.bulk_egress = Operations(declare, "pubsub_egress/bulk", "component success topic")
        self.bulk_egress_events = declare.count(
            "component/pubsub_egress/bulk/event_count",
            "Messages published in bulk",
            "component success topic",
            namespaced=True,
        )
        self.bulk_ingress = Operations(
            declare, "pubsub_ingress/bulk", "component process_status topic"
        )
        self.bulk_ingress_events = declare.count(
            "component/pubsub_ingress/bulk/event_count",
            "Messages delivered in bulk",
            "component process_status topic",
            namespaced=True,
        )


class Operations:
    """A count and a latency of one kind of component, both with the same labels."""

    def __init__(self, declare: _Declaring, kind: str, labels: str) -> None:
        name = f"component/{kind}"
        self.count = declare.count(
            f"{name}/count", f"Operations of {kind}", labels, namespaced=True
        )
        self.latencies = declare.latency(
            f"{name}/latencies", f"Time of operations of {kind}", labels, namespaced=True
        )

    def record(self, milliseconds: float, *values: str) -> None:
        """Count one operation."""
        self.count.at(*values).value += 1
        self.latencies.at(*values).record(milliseconds)


class DaprMetrics:
    """Those of one sidecar."""

    def __init__(self, app_id: str, namespace: str, settings: MetricsSettings) -> None:
        declare = _Declaring(app_id, namespace, settings)
        self.settings: Final = settings
        self.http: Final = HttpMetrics(declare)
        self.grpc: Final = GrpcMetrics(declare)
        self.runtime: Final = RuntimeMetrics(declare)
        self.component: Final = ComponentMetrics(declare)
        self.families: Final[Sequence[Family]] = declare.families
        self.path_label: Final = path_label(settings)


def path_label(settings: MetricsSettings) -> Callable[[str], str]:
    """From a path to what the label `path` shows of it: the matching pattern, the path, nothing."""
    matcher = PathMatcher(settings.path_matching)
    if settings.increased_cardinality:
        return lambda path: matcher.match(path) or variable_parts_left_out(path)
    if settings.path_matching:
        return lambda path: matcher.match(path) or "_"
    return lambda path: ""


def variable_parts_left_out(path: str) -> str:
    """The path without keys and actors' ids, of which there are too many."""
    parts = path.removeprefix("/").split("/", 5)
    if len(parts) < 3:
        return path
    if parts[0] == "actors":
        return "/" + "/".join((*parts[:2], "{id}", *parts[3:]))
    if parts[1] in ("state", "secrets"):
        return "/" + "/".join(parts[:3])
    if parts[1] == "actors" and len(parts) > 4:
        return "/" + "/".join((*parts[:3], "{id}", parts[4]))
    return path
