"""Redirects and direct answers: status, location, headers."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request

REDIRECTS = {
    "/path": "{path_redirect: /there}",
    "/pathquery": "{path_redirect: '/there?z=1'}",
    "/host": "{host_redirect: other.example}",
    "/hostport": "{host_redirect: other.example, port_redirect: 8443}",
    "/port": "{port_redirect: 81}",
    "/https": "{https_redirect: true}",
    "/scheme": "{scheme_redirect: gopher}",
    "/all": "{https_redirect: true, host_redirect: o.eu, path_redirect: /p, strip_query: true}",
    "/prefix/": "{prefix_rewrite: /new/}",
    "/regex/": "{regex_rewrite: {pattern: {regex: '/regex/([a-z]+)/(.*)'}, "
    "substitution: '/\\2/\\1'}}",
    "/strip": "{path_redirect: /s, strip_query: true}",
    "/stripkeep": "{strip_query: true}",
    "/301": "{path_redirect: /x, response_code: MOVED_PERMANENTLY}",
    "/302": "{path_redirect: /x, response_code: FOUND}",
    "/303": "{path_redirect: /x, response_code: SEE_OTHER}",
    "/307": "{path_redirect: /x, response_code: TEMPORARY_REDIRECT}",
    "/308": "{path_redirect: /x, response_code: PERMANENT_REDIRECT}",
    "/empty": "{}",
}
DIRECT = {
    "/d200": "{status: 200, body: {inline_string: hello}}",
    "/d201": "{status: 201, body: {inline_string: made}}",
    "/d204": "{status: 204}",
    "/d302": "{status: 302}",
    "/d304": "{status: 304}",
    "/d404": "{status: 404, body: {inline_string: 'not here'}}",
    "/d418": "{status: 418}",
    "/d503": "{status: 503, body: {inline_string: ''}}",
    "/d599": "{status: 599, body: {inline_bytes: 'AP8='}}",
}


def configuration(up: int, dead: int) -> str:
    routes = "".join(
        f"- {{match: {{prefix: {path}}}, redirect: {action}}}\n"
        for path, action in sorted(REDIRECTS.items(), reverse=True)
    )
    routes += "".join(
        f"- {{match: {{prefix: {path}}}, direct_response: {action}}}\n"
        for path, action in DIRECT.items()
    )
    routes += """
- match: {prefix: /headers}
  redirect: {path_redirect: /x}
  response_headers_to_add: [{header: {key: x-added, value: '%RESPONSE_CODE%'}}]
- match: {prefix: /typed}
  direct_response: {status: 200, body: {inline_string: '{}'}}
  response_headers_to_add:
  - header: {key: content-type, value: application/json}
    append_action: OVERWRITE_IF_EXISTS_OR_ADD
"""
    return bootstrap([listener("main", virtual_host(routes))], [cluster("up", [up])])


PATHS = [
    *REDIRECTS,
    *DIRECT,
    *(
        "/path?a=b",
        "/pathquery?a=b",
        "/host/x?q",
        "/hostport/x",
        "/port/x",
        "/https/x?y",
        "/scheme/x",
    ),
    *("/all/x?y=1", "/prefix/a/b?c=d", "/prefix/", "/regex/ab/cd?e=f", "/regex/AB", "/strip?a"),
    *("/stripkeep/x?a=1", "/empty/x?y", "/headers", "/typed", "/d200?x", "/d201/x?y=z"),
]
CASES = [
    *(Case(path, http_request(path)) for path in PATHS),
    *(
        Case(f"{path} on {host}", http_request(path, host=host))
        for path in ("/path", "/host/x", "/port", "/https/x")
        for host in ("h:80", "h:443", "h:8080", "[::1]:80", "[::1]", "H.Example")
    ),
    *(
        Case(f"{path} behind TLS", http_request(path, "x-forwarded-proto: https", host="h:443"))
        for path in ("/path", "/https/x", "/port", "/scheme")
    ),
    *(
        Case(f"HEAD {path}", http_request(path, method="HEAD"))
        for path in ("/path", "/d200", "/d201")
    ),
    Case("POST", http_request("/d200", "content-length: 3", method="POST", body=b"abc")),
    Case(
        "POST is redirected", http_request("/307", "content-length: 3", method="POST", body=b"abc")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_answer_is_given(pair: Pair, case: Case):
    pair.check(case)
