"""Which virtual host and which route a request is given to."""

import pytest

from tests.parity.config import bootstrap, cluster, listener
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request

DOMAINS = (
    ("exact", ["exact.example", "exact.example:8080", "UPPER.example"]),
    ("suffix", ["*.wild.example"]),
    ("longer suffix", ["*.b.wild.example"]),
    ("dashed suffix", ["*-dash.example"]),
    ("prefix", ["start.*"]),
    ("longer prefix", ["start.here.*"]),
    ("ip", ["127.0.0.1", "[::1]"]),
)

ROUTES = (
    ("{prefix: /prefix}", "prefix"),
    ("{path: /exact}", "path"),
    ("{path: /ExactCase, case_sensitive: false}", "path without case"),
    ("{prefix: /PrefixCase, case_sensitive: false}", "prefix without case"),
    ("{path_separated_prefix: /separated}", "separated"),
    ("{safe_regex: {regex: '/regex/[0-9]+'}}", "regex"),
    ("{prefix: /h, headers: [{name: x-e, string_match: {exact: v}}]}", "exact header"),
    ("{prefix: /h, headers: [{name: x-i, string_match: {exact: VaL, ignore_case: true}}]}",
    "nocase"),
    ("{prefix: /h, headers: [{name: x-p, string_match: {prefix: ab}}]}", "prefix header"),
    ("{prefix: /h, headers: [{name: x-s, string_match: {suffix: yz}}]}", "suffix header"),
    ("{prefix: /h, headers: [{name: x-c, string_match: {contains: mid}}]}", "contains header"),
    ("{prefix: /h, headers: [{name: x-r, string_match: {safe_regex: {regex: '[a-c]+'}}}]}",
    "regex h"),
    ("{prefix: /h, headers: [{name: x-n, range_match: {start: -5, end: 10}}]}", "range header"),
    ("{prefix: /h, headers: [{name: x-here, present_match: true}]}", "present header"),
    ("{prefix: /absent, headers: [{name: x-away, present_match: false}]}", "absent header"),
    ("{prefix: /not, headers: [{name: x-v, string_match: {exact: a}, invert_match: true}]}",
    "inverted"),
    ("{prefix: /empty, headers: [{name: x-m, string_match: {exact: ''}, "
     "treat_missing_header_as_empty: true}]}", "missing as empty"),
    ("{prefix: /h, headers: [{name: ':method', string_match: {exact: PUT}}]}", "method"),
    ("{prefix: /h, headers: [{name: ':authority', string_match: {prefix: special}}]}", "authority"),
    ("{prefix: /two, headers: [{name: x-a, present_match: true}, "
     "{name: x-b, present_match: true}]}", "both headers"),
    ("{prefix: /q, query_parameters: [{name: a, string_match: {exact: '1'}}]}", "exact query"),
    ("{prefix: /q, query_parameters: [{name: b, present_match: true}]}", "present query"),
    ("{prefix: /q, query_parameters: [{name: c, string_match: {safe_regex: {regex: '[0-9]+'}}}]}",
     "regex query"),
    ("{prefix: /never, runtime_fraction: {default_value: {numerator: 0}}}", "never"),
    ("{prefix: /always, runtime_fraction: {default_value: {numerator: 100}}}", "always"),
    ("{prefix: /grpc, grpc: {}}", "grpc"),
)  # fmt: skip


def _direct(match: str, text: str) -> str:
    body = f"{{inline_string: {text!r}}}"
    return f"  - {{match: {match}, direct_response: {{status: 200, body: {body}}}}}\n"


def configuration(up: int, dead: int) -> str:
    domains = "".join(
        f"- name: {name}\n  domains: {hosts}\n  routes:\n{_direct('{prefix: /}', name)}"
        for name, hosts in DOMAINS
    )
    others = "- name: rest\n  domains: ['*']\n  routes:\n" + _direct("{prefix: /}", "rest")
    matches = "- name: all\n  domains: ['*']\n  routes:\n"
    matches += "".join(_direct(match, text) for match, text in ROUTES)
    return bootstrap(
        [
            listener("main", matches),
            listener("domains", domains + others),
            listener("strict", domains),
            listener("portless", domains, route_options="ignore_port_in_host_matching: true"),
        ],
        [cluster("up", [up])],
    )


HOSTS = (
    "exact.example", "EXACT.example", "exact.example:8080", "exact.example:80", "upper.EXAMPLE",
    "exact.example.", "x.wild.example", "wild.example", ".wild.example", "a.b.wild.example",
    "a.c.wild.example", "x.wild.example:80", "a-dash.example", "-dash.example", "start.com",
    "start.", "start", "start.here.com", "START.com", "127.0.0.1", "127.0.0.1:80", "[::1]",
    "[::1]:80", "else",
)  # fmt: skip
TARGETS = (
    "/prefix", "/prefix/more", "/prefixmore", "/Prefix", "/exact", "/exact?x=1", "/exact/",
    "/Exact",
    "/exactcase", "/EXACTCASE?q", "/prefixcasemore", "/separated", "/separated/x", "/separatedx",
    "/separated?x", "/regex/12", "/regex/12x", "/regex/", "/regex/1?a=b", "/absent", "/not",
    "/empty",
    "/two", "/q?a=1", "/q?a=2", "/q?x=0&a=1", "/q?a=1&a=2", "/q?a=2&a=1", "/q?b", "/q?b=",
    "/q?c=12",
    "/q?c=1a", "/q?A=1", "/q?a=%31", "/q", "/never", "/always", "/grpc", "/h", "/",
)  # fmt: skip
FIELDS = (
    "x-e: v", "x-e: V", "x-e: vv", "X-E: v", "x-i: vAl", "x-p: abc", "x-p: ab", "x-p: a",
    "x-s: xyz",
    "x-s: xy", "x-c: amidb", "x-c: mi", "x-r: abc", "x-r: abcd", "x-n: -5", "x-n: 10", "x-n: 9",
    "x-n: 9a", "x-n:", "x-here:", "x-here: 1", "x-other: 1", "x-e: a\r\nx-e: v", "x-e: v\r\nx-e: a",
    "x-e: v,a",
)  # fmt: skip
OTHERS = (
    ("/absent", "x-away: 1"),
    ("/not", "x-v: a"),
    ("/not", "x-v: b"),
    ("/empty", "x-m:"),
    ("/empty", "x-m: 1"),
    ("/two", "x-a: 1"),
    ("/two", "x-a: 1\r\nx-b: 1"),
    ("/grpc", "content-type: application/grpc"),
    ("/grpc", "content-type: application/grpc+proto"),
    ("/grpc", "content-type: application/grpcx"),
)
CASES = [
    *(
        Case(f"{where} {host}", http_request("/x", host=host), listener=where)
        for where in ("domains", "strict", "portless")
        for host in HOSTS
    ),
    *(Case(target, http_request(target)) for target in TARGETS),
    *(Case(f"h {field!r}", http_request("/h", field)) for field in FIELDS),
    *(Case(f"{target} {field!r}", http_request(target, field)) for target, field in OTHERS),
    Case("method", http_request("/h", "content-length: 0", method="PUT")),
    Case("authority", http_request("/h", host="special.example")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_route_is_taken(pair: Pair, case: Case):
    pair.check(case)
