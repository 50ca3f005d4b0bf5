"""Plugins in the filter chain of a cluster: what they see and change of a try."""

import base64
import json
import re

import pytest
import wasmtime

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import PROXIES, Case, Pair
from tests.parity.test_retries import by_attempt, status
from tests.support.eventually import eventually
from tests.support.raw_client import http_request
from tests.support.upstreams import answering, answering_then_close
from tests.support.wat_filter import filter_text

URL = "type.googleapis.com/"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROUTES = """
- match: {prefix: /up}
  route: {cluster: up, prefix_rewrite: /rewritten}
- match: {prefix: /dead}
  route: {cluster: dead}
- match: {prefix: /plain}
  route: {cluster: plain}
- match: {prefix: /again}
  route: {cluster: up, timeout: 0s, retry_policy: {retry_on: 5xx}}
"""


def say(text: str) -> str:
    return f'(drop (call $proxy_log (i32.const 5) "{text}"/))'


def phase(name: str, map_type: int, *, body: str = "") -> str:
    """Says its name; adds a header to its map, and does what the header `x-do` asks for."""
    return f"""
  (func (export "proxy_on_{name}_headers") (param i32 i32 i32) (result i32) (local $do i32)
    {say(name)}
    (drop (call $proxy_add_header_map_value (i32.const {map_type}) "x-{name}"/ "seen"/))
    (if (i32.eqz (call $proxy_get_header_map_value (i32.const {map_type}) "x-do"/
        (i32.const 16) (i32.const 20)))
      (then (local.set $do (i32.load8_u (i32.load (i32.const 16))))))
    (global.set ${name} (local.get $do))
    (if (i32.eq (local.get $do) (i32.const {ord("d")}))
      (then (drop (call $proxy_send_local_response (i32.const 418) "no"/ "denied"/
        (i32.const 0) (i32.const 0) (i32.const -1))) (return (i32.const 1))))
    (if (i32.eq (local.get $do) (i32.const {ord("t")})) (then unreachable))
    (if (i32.eq (local.get $do) (i32.const {ord("b")}))
      (then (drop (call $proxy_remove_header_map_value (i32.const {map_type})
        "content-length"/))))
    (i32.const 0))
  (func (export "proxy_on_{name}_body") (param i32) (param $size i32) (param $end i32) (result i32)
    {say(f"{name} body")}
    (if (i32.ne (global.get ${name}) (i32.const {ord("b")})) (then (return (i32.const 0))))
    (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
    (drop (call $proxy_set_buffer_bytes (i32.const {map_type // 2}) (i32.const 0)
      (i32.const 100000) "altered"/))
    (i32.const 0))"""


CODE = filter_text(
    f"""(global $request (mut i32) (i32.const 0)) (global $response (mut i32) (i32.const 0))
  (func (export "proxy_on_context_create") (param i32 i32)
    (if (local.get 1) (then {say("create")})))
  {phase("request", 0)} {phase("response", 2)}
  (func (export "proxy_on_done") (param i32) (result i32) {say("done")} (i32.const 1))
  (func (export "proxy_on_delete") (param i32) {say("delete")})""",
    allocator='(func (export "malloc") (param i32) (result i32) (i32.const 65536))',
)


def options() -> str:
    """Cluster options with two plugins before the codec."""
    code = base64.b64encode(wasmtime.wat2wasm(CODE)).decode()
    vm = {
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"inline_bytes": code}},
        "environment_variables": {"key_values": {"MESHPROXY_COMPAT": "envoy"}},
    }
    filters = [
        {
            "name": name,
            "typed_config": {
                "@type": f"{URL}envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": name,
                    "vm_config": {**vm, "vm_id": name},
                    "failure_policy": "FAIL_RELOAD",
                    "reload_config": {"backoff": {"base_interval": "0.002s"}},
                },
            },
        }
        for name in ("one", "two")
    ]
    codec = f"{URL}envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    filters.append({"name": "codec", "typed_config": {"@type": codec}})
    extension = {
        "@type": URL + OPTIONS,
        "explicit_http_config": {"http_protocol_options": {}},
        "http_filters": filters,
    }
    return json.dumps({"typed_extension_protocol_options": {OPTIONS: extension}})


def configuration(up: int, dead: int) -> str:
    clusters = [
        cluster("up", [up], options=options()),
        cluster("dead", [dead], options=options()),
        cluster("plain", [up]),
    ]
    host = virtual_host(ROUTES) + "  include_request_attempt_count: true\n"
    return bootstrap([listener("main", host)], clusters)


def said(pair: Pair, kind: str, name: str) -> list[str]:
    """What a plugin has logged so far."""
    return re.findall(rf"wasm log(?: {name})+: (.*)$", pair.sides[kind].proxy.log, re.MULTILINE)


def answer(*fields: str, body: str = "answer") -> bytes:
    lines = ["HTTP/1.1 200 OK", *fields, f"content-length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def post(path: str, *fields: str) -> bytes:
    return http_request(path, *fields, "content-length: 4", method="POST", body=b"once")


PLAIN = answering(answer())
CASES = [
    Case("a request passes", http_request("/up/a"), PLAIN),
    Case("a request with a body passes", post("/up"), PLAIN),
    Case("HEAD", http_request("/up", method="HEAD"),
         answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")),
    Case("another cluster has no filters", http_request("/plain"), PLAIN),
    Case("the request's body is replaced", post("/up", "x-do: b"), PLAIN),
    Case("the answer's body is replaced", http_request("/up"), answering(answer("x-do: b"))),
    Case("the answer is denied", http_request("/up"), answering(answer("x-do: d"))),
    Case("no host", http_request("/dead"), PLAIN),
    Case("the host closes early", http_request("/up"), answering_then_close(b"")),
    Case("no body", http_request("/up"), answering(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Case("another try", http_request("/again"), by_attempt(answering(status(503)), PLAIN)),
    Case("another try, with bodies", post("/again"),
         by_attempt(answering(status(503, body=b"sorry")), PLAIN)),
    Case("another try, closed", post("/again"), by_attempt(answering_then_close(), PLAIN)),
    Case("chunks", http_request("/up"), answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")),
]  # fmt: skip
# Envoy takes a connection before the filters have let the request pass, and breaks it when they do
# not: what it counts of that is not compared.
REFUSED = [
    Case("denied", http_request("/up", "x-do: d"), PLAIN),
    Case("denied before the body has come", post("/up", "x-do: d"), PLAIN),
    Case("a trap in the request", http_request("/up", "x-do: t"), PLAIN),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_filters_of_a_cluster_have_the_same_effect(pair: Pair, case: Case):
    pair.check(case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_refused_request_has_the_same_answer_and_reaches_no_host(pair: Pair, case: Case):
    try:
        seen = pair.run(case)
        assert seen["envoy"].answers == seen["meshproxy"].answers
        assert seen["envoy"].upstream == seen["meshproxy"].upstream == []
    finally:
        passing = Case("", http_request("/up"), PLAIN)
        for side in pair.sides.values():  # a filter that has trapped is back a moment later
            eventually(lambda side=side: side.run(passing).answers[0][1] == 200)


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_callbacks_come_in_the_same_order(pair: Pair, name: str):
    before = {kind: len(said(pair, kind, name)) for kind in PROXIES}
    pair.check(Case("", post("/up"), PLAIN))
    seen = {}
    for kind in PROXIES:
        eventually(lambda kind=kind: said(pair, kind, name)[before[kind] :][-1:] == ["delete"])
        seen[kind] = said(pair, kind, name)[before[kind] :]
    assert seen["envoy"] == seen["meshproxy"]
    assert seen["meshproxy"][:2] == ["create", "request"]
