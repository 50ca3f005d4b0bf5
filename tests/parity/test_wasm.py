"""What a Proxy-Wasm filter does to requests and answers."""

import base64

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import answering

ROUTES = "- match: {prefix: /only}\n  route: {cluster: up}\n- match: {prefix: /other}\n" \
    "  direct_response: {status: 200, body: {inline_string: other}}"  # fmt: skip
# One filter for every case: what it does is chosen by the first byte of the header `x-do`.
FILTER = r"""
(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value"
    (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes"
    (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property"
    (func $property (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $do_request (mut i32) (i32.const 0))
  (global $do_answer (mut i32) (i32.const 0))
  (data (i32.const 0) "x-do")
  (data (i32.const 16) "x-added")
  (data (i32.const 32) "value")
  (data (i32.const 48) ":path")
  (data (i32.const 64) "/other")
  (data (i32.const 80) "x-removed")
  (data (i32.const 96) "denied")
  (data (i32.const 112) "body")
  (data (i32.const 128) "source\00address")
  (data (i32.const 160) "x-property")
  (data (i32.const 176) "content-length")
  (data (i32.const 192) "x-answer")
  (data (i32.const 208) "more")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (i32.sub (global.get $heap) (local.get $size)))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func $what (param $map i32) (result i32)
    (if (call $get (local.get $map) (i32.const 0) (i32.const 4) (i32.const 1024) (i32.const 1028))
      (then (return (i32.const 0))))
    (if (i32.eqz (i32.load (i32.const 1028))) (then (return (i32.const 0))))
    (i32.load8_u (i32.load (i32.const 1024))))
  (func $is (param $do i32) (param $letter i32) (result i32)
    (i32.eq (local.get $do) (local.get $letter)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $do i32)
    (global.set $heap (i32.const 65536))
    (local.set $do (call $what (i32.const 0)))
    (global.set $do_request (local.get $do))
    (if (call $is (local.get $do) (i32.const 97))  ;; a: add
      (then (drop (call $add (i32.const 0)
        (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 5)))))
    (if (call $is (local.get $do) (i32.const 114))  ;; r: remove
      (then (drop (call $remove (i32.const 0) (i32.const 80) (i32.const 9)))))
    (if (call $is (local.get $do) (i32.const 112))  ;; p: another path
      (then (drop (call $replace (i32.const 0)
        (i32.const 48) (i32.const 5) (i32.const 64) (i32.const 6)))))
    (if (call $is (local.get $do) (i32.const 100))  ;; d: deny
      (then
        (drop (call $reply (i32.const 403)
          (i32.const 96) (i32.const 6) (i32.const 112) (i32.const 4) (i32.const 0) (i32.const 0)
          (i32.const -1)))
        (return (i32.const 1))))
    (if (call $is (local.get $do) (i32.const 115))  ;; s: the source address
      (then
        (drop (call $property (i32.const 128) (i32.const 14) (i32.const 1032) (i32.const 1036)))
        (drop (call $add (i32.const 0) (i32.const 160) (i32.const 10)
          (i32.load (i32.const 1032)) (i32.const 9)))))
    (if (call $is (local.get $do) (i32.const 98))  ;; b: the body will change
      (then (drop (call $remove (i32.const 0) (i32.const 176) (i32.const 14)))))
    (if (call $is (local.get $do) (i32.const 116))  ;; t: trap
      (then (unreachable)))
    (i32.const 0))
  (func (export "proxy_on_request_body") (param i32) (param $size i32) (param $end i32) (result i32)
    (global.set $heap (i32.const 65536))
    (if (i32.eqz (call $is (global.get $do_request) (i32.const 98)))
      (then (return (i32.const 0))))
    (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
    (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 100000)
      (i32.const 112) (i32.const 4)))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 65536))
    (drop (call $add (i32.const 2) (i32.const 192) (i32.const 8) (i32.const 32) (i32.const 5)))
    (global.set $do_answer (call $what (i32.const 2)))
    (if (call $is (global.get $do_answer) (i32.const 98))
      (then (drop (call $remove (i32.const 2) (i32.const 176) (i32.const 14)))))
    (i32.const 0))
  (func (export "proxy_on_response_body")
    (param i32) (param $size i32) (param $end i32) (result i32)
    (global.set $heap (i32.const 65536))
    (if (i32.eqz (call $is (global.get $do_answer) (i32.const 98)))
      (then (return (i32.const 0))))
    (if (local.get $end)
      (then (drop (call $set_buffer (i32.const 1) (local.get $size) (i32.const 0)
        (i32.const 208) (i32.const 4)))))
    (i32.const 0)))
"""


def configuration(up: int, dead: int) -> str:

    code = base64.b64encode(wat2wasm(FILTER)).decode()
    wasm = extension(
        "filter",
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        config={
            "name": "probe",
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"inline_bytes": code}},
            },
        },
    )
    return bootstrap(
        [listener("main", virtual_host(ROUTES), http_filters=[wasm])], [cluster("up", [up])]
    )


def answer(*fields: str, body: str = "answer") -> bytes:
    lines = ["HTTP/1.1 200 OK", *fields, f"content-length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


PLAIN = answering(answer())
CHANGED = answering(answer("x-do: b"))
CASES = [
    Case("nothing", http_request("/only"), PLAIN),
    Case("a header is added", http_request("/only", "x-do: a"), PLAIN),
    Case("a header is added to one", http_request("/only", "x-do: a", "x-added: 1"), PLAIN),
    Case("a header is removed", http_request("/only", "x-do: r", "x-removed: 1", "x-b: 2"), PLAIN),
    Case("the path is replaced", http_request("/only", "x-do: p"), PLAIN),
    Case("denied", http_request("/only", "x-do: d"), PLAIN),
    Case("denied, HEAD", http_request("/only", "x-do: d", method="HEAD"), PLAIN),
    Case("denied, with a body",
         http_request("/only", "x-do: d", "content-length: 2", method="POST", body=b"ab"), PLAIN),
    Case("a property", http_request("/only", "x-do: s"), PLAIN),
    Case("the body is replaced",
         http_request("/only", "x-do: b", "content-length: 4", method="POST", body=b"once"), PLAIN),
    Case("a body in pieces is replaced",
         (http_request("/only", "x-do: b", "transfer-encoding: chunked", method="POST"),
          b"2\r\nab\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n"), PLAIN),
    Case("the answer grows", http_request("/only"), CHANGED),
    Case("no route behind a filter", http_request("/none")),
    Case("no scheme behind a filter", http_request("/only", "x-forwarded-proto:")),
    Case("denied without a scheme", http_request("/only", "x-forwarded-proto:", "x-do: d")),
    Case("a direct answer behind a filter", http_request("/other")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_filter_has_the_same_effect(pair: Pair, case: Case):
    pair.check(case)
