"""What a route changes on the way to the upstream: paths, hosts, clusters, headers."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import answering

ROUTES = """
- match: {prefix: /prefix/}
  route: {cluster: up, prefix_rewrite: /new/}
- match: {path: /whole}
  route: {cluster: up, prefix_rewrite: /other}
- match: {path_separated_prefix: /sep}
  route: {cluster: up, prefix_rewrite: /rep}
- match: {safe_regex: {regex: '/match/.*'}}
  route: {cluster: up, prefix_rewrite: /all}
- match: {prefix: /CaseLess, case_sensitive: false}
  route: {cluster: up, prefix_rewrite: /c}
- match: {prefix: /regex/}
  route:
    cluster: up
    regex_rewrite: {pattern: {regex: '^/regex/(\\w+)/(\\w+)'}, substitution: '/\\2-\\1'}
- match: {prefix: /every/}
  route: {cluster: up, regex_rewrite: {pattern: {regex: 'a'}, substitution: 'b\\0'}}
- match: {prefix: /hostliteral}
  route: {cluster: up, host_rewrite_literal: new.example}
- match: {prefix: /hostheader}
  route: {cluster: up, host_rewrite_header: x-host}
- match: {prefix: /hostauto}
  route: {cluster: up, auto_host_rewrite: true}
- match: {prefix: /hostregex/}
  route:
    cluster: up
    host_rewrite_path_regex:
      pattern: {regex: '^/hostregex/([^/?]+).*'}
      substitution: '\\1.example'
- match: {prefix: /hostxfh}
  route: {cluster: up, host_rewrite_literal: new.example, append_x_forwarded_host: true}
- match: {prefix: /clusterheader}
  route: {cluster_header: x-cluster}
- match: {prefix: /gone}
  route: {cluster_header: x-cluster, cluster_not_found_response_code: NOT_FOUND}
- match: {prefix: /weights}
  name: weighted
  route:
    weighted_clusters:
      clusters:
      - name: up
        weight: 0
      - name: second
        weight: 5
        host_rewrite_literal: second.example
        request_headers_to_add: [{header: {key: x-weighted, value: '%UPSTREAM_CLUSTER%'}}]
        request_headers_to_remove: [x-drop]
        response_headers_to_add: [{header: {key: x-from, value: second}}]
        response_headers_to_remove: [x-up]
- match: {prefix: /timeout}
  route: {cluster: up, timeout: 1.5s}
- match: {prefix: /notimeout}
  route: {cluster: up, timeout: 0s}
- match: {prefix: /}
  route: {cluster: up}
"""


def configuration(up: int, dead: int) -> str:
    return bootstrap(
        [listener("main", virtual_host(ROUTES))], [cluster("up", [up]), cluster("second", [up])]
    )


TARGETS = (
    "/prefix/", "/prefix/a?b=c", "/prefix/a/../b", "/whole", "/whole?x=/whole", "/sep", "/sep/a",
    "/sep?x",
    "/match/x?y", "/caselessX", "/regex/one/two", "/regex/one/two/three?q=/regex/x/y", "/regex/1",
    "/every/banana?a=a", "/hostliteral", "/hostheader", "/hostauto", "/hostregex/abc/d",
    "/hostregex/",
    "/hostxfh", "/clusterheader", "/gone", "/weights", "/timeout", "/notimeout", "/",
    "//double//slash",
    "/a%2Fb%20c", "/%7Eb", "/a?", "/?", "/a?b?c", "/a;b=c", "/\xe9",
)  # fmt: skip
ANSWER = b"HTTP/1.1 200 OK\r\nx-up: 1\r\ncontent-length: 0\r\n\r\n"
CASES = [
    *(Case(target, http_request(target), answering(ANSWER)) for target in TARGETS),
    Case("host from a header", http_request("/hostheader", "x-host: from.header")),
    Case("host from an empty header", http_request("/hostheader", "x-host:")),
    Case("x-forwarded-host is appended", http_request("/hostxfh", "x-forwarded-host: first")),
    Case("a cluster by header", http_request("/clusterheader", "x-cluster: second")),
    Case("an unknown cluster", http_request("/clusterheader", "x-cluster: third")),
    Case("an empty cluster name", http_request("/clusterheader", "x-cluster:")),
    Case("not found as configured", http_request("/gone", "x-cluster: third")),
    Case("weighted", http_request("/weights", "x-drop: 1"), answering(ANSWER)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_upstream_gets_the_same_request(pair: Pair, case: Case):
    pair.check(case)
