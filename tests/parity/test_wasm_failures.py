"""What follows a trap, policy by policy."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, extension, listener, virtual_host
from tests.parity.harness import PROXIES, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import RawClient, http_request

ROUTES = "- match: {prefix: /}\n  direct_response: {status: 200, body: {inline_string: ok}}"
# Traps on a request with the header `x-trap`.
FILTER = """(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "x-trap")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 0) (i32.const 4)))
      (then unreachable))
    (i32.const 0)))"""
PLUGINS: dict[str, dict[str, Any]] = {
    "unspecified": {},
    "closed": {"failure_policy": "FAIL_CLOSED"},
    "open": {"failure_policy": "FAIL_OPEN"},
    "fail_open": {"fail_open": True},
    "patient": {
        "failure_policy": "FAIL_RELOAD",
        "reload_config": {"backoff": {"base_interval": "60s"}},
    },
    "eager": {
        "failure_policy": "FAIL_RELOAD",
        "reload_config": {"backoff": {"base_interval": "0.002s"}},
    },
}


def configuration(up: int, dead: int) -> str:
    code = base64.b64encode(wat2wasm(FILTER)).decode()
    listeners = []
    for name, policy in PLUGINS.items():
        vm = {
            "vm_id": name,  # a VM of its own, so that nobody fails with it
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"inline_bytes": code}},
            "environment_variables": {"key_values": {"MESHPROXY_COMPAT": "envoy"}},
        }
        config = {"name": name, "vm_config": vm, **policy}
        wasm = extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=config)
        listeners.append(listener(name, virtual_host(ROUTES), http_filters=[wasm]))
    return bootstrap(listeners, [])


def asker(pair: Pair, kind: str, name: str) -> Callable[..., tuple[int, bytes]]:
    """Sends one request to the listener of this plugin and gives status and body."""
    port = pair.sides[kind].proxy.ports[name]

    def ask(*fields: str) -> tuple[int, bytes]:
        with RawClient(port) as client:
            answer = client.request(http_request("/", *fields))
            return answer.status, answer.body

    return ask


def counters(pair: Pair, kind: str, name: str) -> dict[str, int]:
    """The statistics of a plugin that Envoy has, too."""
    all_of_it = pair.sides[kind].proxy.counters()
    return {key: value for key, value in all_of_it.items() if key.startswith(f"wasm.{name}.vm_")}


@pytest.mark.parametrize(
    ("name", "trapped", "later"),
    [
        ("unspecified", 503, 503),
        ("closed", 503, 503),
        ("open", 503, 200),
        ("fail_open", 200, 200),  # the deprecated field is the friendlier one
        ("patient", 503, 503),
    ],
)
def test_requests_after_a_trap_get_what_the_policy_says(
    pair: Pair, name: str, trapped: int, later: int
):
    seen = {}
    for kind in PROXIES:
        ask = asker(pair, kind, name)
        answers = [ask(), ask("x-trap: 1"), ask(), ask("x-trap: 1"), ask()]
        seen[kind] = (answers, counters(pair, kind, name))
    assert seen["envoy"] == seen["meshproxy"]
    answers, _ = seen["meshproxy"]
    assert [status for status, _ in answers] == [200, trapped, later, later, later]


def test_fail_reload_serves_again_after_its_backoff_as_often_as_it_traps(pair: Pair):
    seen = {}
    for kind in PROXIES:
        ask = asker(pair, kind, "eager")
        for _ in range(3):
            assert ask("x-trap: 1")[0] == 503
            eventually(lambda ask=ask: ask() == (200, b"ok"))
        all_of_it = counters(pair, kind, "eager")
        # How often a request came too early is a matter of speed.
        seen[kind] = {k: v for k, v in all_of_it.items() if not k.endswith("backoff")}
    assert seen["envoy"] == seen["meshproxy"]
    assert seen["meshproxy"]["wasm.eager.vm_reload_success"] == 3


def test_the_statistics_have_envoys_names(pair: Pair):
    names = {
        kind: {name for name in pair.sides[kind].proxy.counters() if name.startswith("wasm.")}
        for kind in PROXIES
    }
    own = re.compile(r"wasm\.\w+\.(memory_bytes|module_reload_\w+|streams_\w+|traps)")
    assert {name for name in names["meshproxy"] if not own.fullmatch(name)} == names["envoy"]
