"""Plugins that are no HTTP filter: access logger and bootstrap service, and what they see."""

import base64
import json
import re

import pytest
import wasmtime

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import PROXIES, Case, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import http_request
from tests.support.upstreams import Play, answering, answering_then_close
from tests.support.wat_filter import filter_text

ROUTES = """
- match: {prefix: /up}
  name: to-up
  route: {cluster: up}
- match: {prefix: /dead}
  route: {cluster: dead}
- match: {prefix: /direct}
  direct_response: {status: 201, body: {inline_string: direct}}
"""
MAPS = {"0": (":path", "x-a", ":none"), "2": (":status", "x-b"), "3": ("x-t",)}
PROPERTIES = (
    "request\\x00path", "request\\x00method", "request\\x00protocol", "response\\x00code_details",
    "xds\\x00route_name", "xds\\x00cluster_name", "plugin_name", "response\\x00headers\\x00x-b",
)  # fmt: skip
OUT = "(i32.const 16) (i32.const 20)"
SAY = "(drop (call $proxy_log (i32.const 5) (i32.load (i32.const 16)) (i32.load (i32.const 20))))"
MALLOC = '(func (export "malloc") (param i32) (result i32) (i32.const 65536))'


def say(hostcall: str) -> str:
    """Log what a hostcall gives, or nothing where it fails."""
    return f"(if (i32.eqz {hostcall}) (then {SAY}) (else (call $nothing)))"


def code(functions: str) -> dict:
    """The `vm_config.code` of a module that says `-` for what is not there."""
    nothing = '(func $nothing (drop (call $proxy_log (i32.const 5) "-"/)))'
    module = wasmtime.wat2wasm(filter_text(nothing + functions, allocator=MALLOC))
    return {"local": {"inline_bytes": base64.b64encode(module).decode()}}


def plugin(name: str, functions: str) -> dict:
    vm = {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": code(functions)}
    return {"name": name, "vm_config": vm}


def logger() -> str:
    """Says the maps and properties of every stream, and the id of its context."""
    calls = [
        say(f'(call $proxy_get_header_map_value (i32.const {each}) "{name}"/ {OUT})')
        for each, names in MAPS.items()
        for name in names
    ]
    calls += [say(f'(call $proxy_get_property "{path}"/ {OUT})') for path in PROPERTIES]
    return f"""(func (export "proxy_on_log") (param i32)
      (if (i32.ne (local.get 0) (i32.const 1)) (then unreachable)) {" ".join(calls)})"""


SERVICE = f"""
  (func (export "proxy_on_context_create") (param i32 i32)
    (if (i32.ne (local.get 1) (i32.const 0)) (then unreachable))
    (drop (call $proxy_log (i32.const 5) "create"/)))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (drop (call $proxy_log (i32.const 5) "start"/)) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    {say(f'(call $proxy_get_property "plugin_name"/ {OUT})')}
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 5))) (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 0)))
    (drop (call $proxy_log (i32.const 5) "tick"/)))"""


def configuration(up: int, dead: int) -> str:
    log = extension(
        "log",
        "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog",
        config=plugin("logger", logger()),
    )
    log["filter"] = {
        "header_filter": {
            "header": {"name": "x-silent", "present_match": True, "invert_match": True}
        }
    }
    main = listener("main", virtual_host(ROUTES))
    main["filter_chains"][0]["filters"][0]["typed_config"]["access_log"].append(log)
    clusters = [cluster("up", [up]), cluster("dead", [dead])]
    document = json.loads(bootstrap([main], clusters))
    document["bootstrap_extensions"] = [
        extension(
            "service",
            "envoy.extensions.wasm.v3.WasmService",
            config=plugin("service", SERVICE),
            singleton=True,
        )
    ]
    return json.dumps(document)


def said(pair: Pair, kind: str, name: str) -> list[str]:
    """What a plugin has logged so far."""
    return re.findall(rf"wasm log(?: {name})+: (.*)$", pair.sides[kind].proxy.log, re.MULTILINE)


LINES = sum(map(len, MAPS.values())) + len(PROPERTIES)
ANSWER = answering(b"HTTP/1.1 200 OK\r\nx-b: b\r\ncontent-length: 2\r\n\r\nok")
CUT = answering_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")


@pytest.mark.parametrize(
    ("path", "play", "truncated"),
    [
        ("/up", ANSWER, False),
        ("/dead", ANSWER, False),
        ("/direct", ANSWER, False),
        ("/none", ANSWER, False),
        ("/up/cut", CUT, True),
    ],
)
def test_the_access_logger_sees_the_same_of_a_stream(
    pair: Pair, path: str, play: Play, truncated: bool
):
    before = {kind: len(said(pair, kind, "logger")) for kind in PROXIES}
    silent = Case("silent", http_request("/direct", "x-silent: 1"))
    pair.run(silent)
    request = http_request(path, "x-a: a", "connection: close")
    pair.run(Case(path, request, play, truncated=truncated))
    seen = {}
    for kind in PROXIES:
        # The stream, and in the case of the silent one the probe after it.
        eventually(lambda kind=kind: len(said(pair, kind, "logger")) >= before[kind] + 2 * LINES)
        seen[kind] = said(pair, kind, "logger")[before[kind] :]
    assert seen["envoy"] == seen["meshproxy"]
    assert seen["envoy"][LINES] == path
    assert len(seen["envoy"]) == 2 * LINES


def test_the_service_starts_and_ticks_without_a_request(pair: Pair):
    for kind in PROXIES:
        eventually(lambda kind=kind: "tick" in said(pair, kind, "service"))
    # Envoy starts a canary, and a copy per thread: the last one is the one that ticks.
    envoy, ours = (said(pair, kind, "service") for kind in PROXIES)
    assert ours == ["create", "start", "service", "tick"]
    assert set(envoy) == set(ours)
    assert envoy[-4:-1] == ours[:3]
