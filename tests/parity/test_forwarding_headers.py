"""Who the client is: x-forwarded-*, internal or external, what is sanitised, request ids."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import answering_then_wait

_INTERNAL = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}, " \
    "{address_prefix: 10.0.0.0, prefix_len: 8}]}"  # fmt: skip
OPTIONS = {
    "main": "",
    "hops1": "xff_num_trusted_hops: 1",
    "hops2": "xff_num_trusted_hops: 2",
    "internal": _INTERNAL,
    "edge": "use_remote_address: true",
    "edge_hops1": "use_remote_address: true\nxff_num_trusted_hops: 1",
    "edge_hops2": "use_remote_address: true\nxff_num_trusted_hops: 2",
    "edge_skip": "use_remote_address: true\nskip_xff_append: true",
    "edge_internal": f"use_remote_address: true\n{_INTERNAL}",
    "preserve": "use_remote_address: true\npreserve_external_request_id: true",
    "no_id": "generate_request_id: false",
    "always_id": "always_set_request_id_in_response: true",
    "via": "via: mesh",
    "server": "server_name: custom",
    "server_absent": "server_name: custom\nserver_header_transformation: APPEND_IF_ABSENT",
    "server_through": "server_header_transformation: PASS_THROUGH",
}
ROUTES = """
- match: {prefix: /hidden}
  route: {cluster: up}
- match: {prefix: /}
  route: {cluster: up}
"""


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    return bootstrap(
        [listener(name, hosts, options=options) for name, options in OPTIONS.items()],
        [cluster("up", [up])],
    )


SPOOFED = (
    "x-envoy-internal: true", "x-envoy-external-address: 9.9.9.9", "x-envoy-original-path: /z",
    "x-envoy-max-retries: 1", "x-envoy-retry-on: 5xx", "x-envoy-decorator-operation: q",
    "x-envoy-downstream-service-cluster: d", "x-envoy-downstream-service-node: n",
    "x-envoy-force-trace: 1", "x-envoy-ip-tags: 1", "x-envoy-original-url: u",
    "x-envoy-attempt-count: 1", "x-envoy-upstream-alt-stat-name: q", "x-client-trace-id: 1",
    "x-envoy-upstream-rq-timeout-ms: 20000", "x-envoy-upstream-rq-per-try-timeout-ms: 9000",
    "x-envoy-hedge-on-per-try-timeout: 1", "x-envoy-upstream-rq-timeout-alt-response: 1",
    "x-envoy-retry-grpc-on: cancelled", "x-envoy-retriable-status-codes: 500",
    "x-envoy-retriable-header-names: a", "x-envoy-expected-rq-timeout-ms: 7", "x-envoy-foo: 1",
    "x-envoy-upstream-service-time: 1", "x-forwarded-client-cert: 1", "x-forwarded-host: q",
    "x-forwarded-port: 99", "x-envoy-is-timeout-retry: true", "x-envoy-upstream-canary: 1",
    "x-envoy-original-host: oh", "x-envoy-downstream-peer: p",
)  # fmt: skip
FORWARDED = (
    "10.0.0.5", "1.2.3.4", "1.2.3.4, 10.0.0.5", "10.0.0.5,1.2.3.4", "5.5.5.5, 1.2.3.4, 10.0.0.5",
    "junk", "1.2.3.4, junk", "junk, 1.2.3.4", "::1", "1.2.3.4:80", "[::1]:80", " 10.0.0.5 ",
    "127.0.0.1",
    ",", "", "1.2.3.4,,10.0.0.5", "1.2.3.4\r\nx-forwarded-for: 10.0.0.5",
)  # fmt: skip
TIMEOUTS = (
    "x-envoy-upstream-rq-timeout-ms: 50", "x-envoy-upstream-rq-per-try-timeout-ms: 50",
    "x-envoy-upstream-rq-timeout-ms: 50, x-envoy-upstream-rq-per-try-timeout-ms: 60",
    "x-envoy-upstream-rq-timeout-ms: 60, x-envoy-upstream-rq-per-try-timeout-ms: 50",
    "x-envoy-upstream-rq-timeout-ms: 50, x-envoy-upstream-rq-timeout-alt-response: 1",
    "x-envoy-upstream-rq-per-try-timeout-ms: 50, x-envoy-upstream-rq-timeout-alt-response: 1, "
    "x-envoy-upstream-alt-stat-name: alt.name",
)  # fmt: skip
IDS = ("abc", "72ba7307-1f6d-4189-b9f2-b246603dc9b5", "", "a\r\nx-request-id: b")
FORWARDING = [name for name in OPTIONS if name not in ("always_id", "via", "server")]
CASES = [
    *(
        Case(f"{name}: xff {value!r}", http_request("/x", f"x-forwarded-for: {value}"),
        listener=name)
        for name in FORWARDING[:9]
        for value in FORWARDED
    ),
    *(Case(f"{name}: nothing given", http_request("/x"), listener=name) for name in OPTIONS),
    *(Case(f"{name}: spoofed", http_request("/x", *SPOOFED), listener=name) for name in FORWARDING),
    *(
        Case(f"{name}: spoofed by 10.0.0.5",
             http_request("/x", "x-forwarded-for: 10.0.0.5", *SPOOFED), listener=name)
        for name in FORWARDING[:9]
    ),
    *(
        Case(f"{name}: proto {value}", http_request("/x", f"x-forwarded-proto: {value}"),
        listener=name)
        for name in FORWARDING[:9]
        for value in ("https", "http", "HTTPS", "ftp", "")
    ),
    *(
        Case(f"internal: {value}",
             http_request("/x", "x-forwarded-for: 10.0.0.5", *value.split(", ")), play,
             listener="internal")
        for value in TIMEOUTS
        for play in [answering_then_wait()]
    ),
    *(
        Case(f"{name}: id {value!r}", http_request("/x", f"x-request-id: {value}"), listener=name)
        for name in ("main", "internal", "edge", "edge_internal", "preserve", "no_id", "always_id")
        for value in IDS
    ),
    *(Case(f"{name}: local reply", http_request("x"), listener=name) for name in OPTIONS),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_upstream_learns_the_same(pair: Pair, case: Case):
    pair.check(case)
