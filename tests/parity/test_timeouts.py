"""What ends a request or a connection when nothing happens for too long."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import PROXIES, Case, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import answering_then_wait

OPTIONS = {
    "headers": "request_headers_timeout: 0.2s",
    "request": "request_timeout: 0.2s",
    "stream": "stream_idle_timeout: 0.2s",
    "idle": "common_http_protocol_options: {idle_timeout: 0.2s}",
    "draining": "drain_timeout: 2s\ncommon_http_protocol_options: {idle_timeout: 0.2s}",
    "old": "drain_timeout: 2s\ncommon_http_protocol_options: {max_connection_duration: 0.2s}",
    "duration": "common_http_protocol_options: {max_stream_duration: 0.2s}",
    "internal": "use_remote_address: true\n"
    "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}",
}
ROUTES = """
- match: {prefix: /route}
  route: {cluster: up, timeout: 0.2s}
- match: {prefix: /idle}
  route: {cluster: up, idle_timeout: 0.2s}
- match: {prefix: /endless}
  route: {cluster: up, timeout: 0s}
- match: {prefix: /}
  route: {cluster: up}
"""


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    return bootstrap(
        [
            listener("main", hosts),
            *(listener(name, hosts, options=options) for name, options in OPTIONS.items()),
        ],
        [cluster("up", [up])],
    )


SILENT = answering_then_wait()
HALF = answering_then_wait(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
BODY = http_request("/x", "content-length: 10", method="POST", body=b"abc")
MS = "x-envoy-upstream-rq-timeout-ms"
CASES = [
    Case("headers too slow", b"GET /x HTTP/1.1\r\nho", listener="headers"),
    Case("body may be slow", (BODY, b"defghij"), listener="headers"),
    Case("request too slow", BODY, listener="request"),
    Case("head too slow for the request timeout", b"GET / HT", listener="request"),
    Case("nothing from the upstream", http_request("/x"), SILENT, "stream"),
    Case("nothing from the client", BODY, listener="stream"),
    Case("answer stops", http_request("/x"), HALF, "stream", truncated=True, log_lines=1),
    Case("nothing sent", (), listener="idle", answers=0, closes=True, log_lines=0),
    Case("nothing more", http_request("/x", "x: 1"), listener="idle", closes=True),
    Case("too long", http_request("/x"), SILENT, "duration"),
    Case("too long an answer", http_request("/x"), HALF, "duration", truncated=True, log_lines=1),
    Case("route timeout", http_request("/route"), SILENT),
    Case("route timeout runs from the end of the request",
         (http_request("/route", "content-length: 2", method="POST"), b"ab"), SILENT),
    Case("route timeout in the answer", http_request("/route"), HALF, truncated=True, log_lines=1),
    Case("route idle timeout", http_request("/idle"), SILENT),
    Case("header timeout", http_request("/x", f"{MS}: 150"), SILENT, "internal"),
    Case("header timeout on a route without", http_request("/endless", f"{MS}: 150"), SILENT,
         "internal"),
    Case("header timeout none", http_request("/x", f"{MS}: 0"), listener="internal"),
    Case("header timeout junk", http_request("/x", f"{MS}: junk"), listener="internal"),
    Case("header timeout from outside", http_request("/x", f"{MS}: 1")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_give_up_in_the_same_way(pair: Pair, case: Case):
    pair.check(case)


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize(
    ("where", "counter"), [("draining", "idle_timeout"), ("old", "max_duration_reached")]
)
def test_a_connection_at_its_end_answers_what_still_comes(
    pair: Pair, where: str, counter: str, kind: str
):
    side = pair.sides[kind]

    def wait(_: RawClient) -> None:
        eventually(lambda: side.proxy.counters()[f"http.{where}.downstream_cx_{counter}"] == 1)

    request = http_request("/x")
    seen = side.run(Case("still answered", (request, wait, request), listener=where, answers=2))
    first, second = (dict(answer[3]).get("connection") for answer in seen.answers)
    assert (first, second, seen.closed) == (None, "close", True)
