"""What a plugin may call and be called with, and the environment that it sees."""

import base64
from typing import Any

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, extension, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.wat_filter import filter_text

ROUTES = "- match: {prefix: /}\n  direct_response: {status: 200, body: {inline_string: ok}}"
# Adds to the answer: `x-a: <two digits of a hostcall's status><two digits of a WASI status>`, then
# the environment, its NULs as semicolons.
CODE = filter_text(
    """(import "wasi_snapshot_preview1" "fd_write" (func $say (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (func $digits (param $at i32) (param $number i32)
    (i32.store8 (local.get $at)
      (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 10))))
    (i32.store8 (i32.add (local.get $at) (i32.const 1))
      (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
  (func $visible (param $at i32) (param $end i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (if (i32.eqz (i32.load8_u (local.get $at)))
        (then (i32.store8 (local.get $at) (i32.const 59))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $proxy_add_header_map_value (i32.const 0) "x-unseen"/ "1"/)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $digits (i32.const 2000) (call $proxy_set_property "k"/ "v"/))
    (call $digits (i32.const 2002)
      (call $say (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 24)))
    (drop (call $sizes (i32.const 32) (i32.const 36)))
    (drop (call $environ (i32.const 1024) (i32.const 2004)))
    (call $visible (i32.const 2004) (i32.add (i32.const 2004) (i32.load (i32.const 36))))
    (drop (call $proxy_add_header_map_value (i32.const 2) "x-a"/
      (i32.const 2000) (i32.add (i32.const 4) (i32.load (i32.const 36)))))
    (i32.const 0))""",
    allocator='(func (export "malloc") (param i32) (result i32) (i32.const 65536))',
)
NAMES = {
    "all": ("proxy_on_context_create", "proxy_on_response_headers", "proxy_set_property",
            "proxy_add_header_map_value", "fd_write", "environ_get", "environ_sizes_get"),
    "no hostcall": ("proxy_on_response_headers", "proxy_add_header_map_value", "fd_write"),
    "no WASI": ("proxy_on_response_headers", "proxy_add_header_map_value", "proxy_set_property"),
    "no callback": ("proxy_add_header_map_value", "proxy_set_property", "fd_write"),
    "no answer": ("proxy_on_response_headers", "proxy_set_property"),
}  # fmt: skip
PLUGINS: dict[str, dict[str, Any]] = {
    "free": {},
    "empty": {"capability_restriction_config": {}},
    **{
        name: {
            "capability_restriction_config": {"allowed_capabilities": {each: {} for each in names}}
        }
        for name, names in NAMES.items()
    },
}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "one variable": {"key_values": {"A": "1"}},
    "an empty variable": {"key_values": {"EMPTY": ""}},
    "from the host": {"host_env_keys": ["FROM_THE_HOST", "NOT_THERE"]},
}


@pytest.fixture(scope="module", autouse=True)
def host_environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FROM_THE_HOST", "h")
        patch.delenv("NOT_THERE", raising=False)
        yield


def configuration(up: int, dead: int) -> str:
    code = base64.b64encode(wat2wasm(CODE)).decode()

    def wasm(name: str, vm: dict[str, Any], plugin: dict[str, Any]) -> dict[str, Any]:
        inside = {
            "vm_id": name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"inline_bytes": code}},
            **vm,
        }
        config = {"name": "p", "vm_config": inside, **plugin}
        return extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=config)

    filters = {name: wasm(name, {}, plugin) for name, plugin in PLUGINS.items()}
    for name, variables in ENVIRONMENTS.items():
        filters[name] = wasm(name, {"environment_variables": variables}, {})
    return bootstrap(
        [
            listener(name, virtual_host(ROUTES), http_filters=[filter_config])
            for name, filter_config in filters.items()
        ],
        [],
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("free", "0000"),
        ("empty", "0000"),
        ("all", "0000"),
        ("no hostcall", "1000"),
        ("no WASI", "0076"),
        ("no callback", None),
        ("no answer", None),
        ("one variable", "0000A=1;"),
        ("an empty variable", "0000EMPTY=;"),
        ("from the host", "0000FROM_THE_HOST=h;"),
    ],
)
def test_a_plugin_may_do_the_same(pair: Pair, name: str, says: str | None):
    answer = pair.check(Case(name, http_request("/"), listener=name)).answers[0]
    assert dict(answer[3]).get("x-a") == says
