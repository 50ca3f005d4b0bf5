"""Modules that cannot run: a start that is refused with module, function and reason."""

import base64

import pytest
from wasmtime import wat2wasm

from tests.conformance.harness import Plugin, configuration
from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.support.processes import ProxyProcess, StartError
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream
from tests.support.wat_filter import filter_text

GOOD = wat2wasm(filter_text(""))
WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"


def callback(name: str, body: str) -> bytes:
    """A module with one callback of two parameters and a result."""
    text = f'(func (export "{name}") (param i32 i32) (result i32) {body})'
    return bytes(wat2wasm(filter_text(text)))


BAD = {
    "truncated": (GOOD[:-3], ("truncated", "end")),
    "no marker": (wat2wasm(filter_text("", marker="")), ("Missing or unknown Proxy-Wasm ABI",)),
    "a missing import": (
        wat2wasm(filter_text('(import "env" "nobody" (func (param i32)))')),
        ("missing import", "nobody"),
    ),
    "an import of the wrong type": (
        wat2wasm(filter_text('(import "env" "proxy_log" (func (param i32) (result i32)))')),
        ("env.proxy_log", "want"),
    ),
    "a callback of the wrong type": (
        wat2wasm(filter_text('(func (export "proxy_on_log") (param i64))')),
        ("Bad function signature for: proxy_on_log",),
    ),
    "a trap in the start function": (
        wat2wasm(filter_text("(func $s unreachable) (start $s)")),
        ("unreachable",),
    ),
    "a trap in _initialize": (
        wat2wasm(filter_text('(func (export "_initialize") unreachable)')),
        ("_initialize", "unreachable"),
    ),
    "on_vm_start false": (
        callback("proxy_on_vm_start", "(i32.const 0)"),
        ("proxy_on_vm_start returned false",),
    ),
    "on_configure false": (
        callback("proxy_on_configure", "(i32.const 0)"),
        ("proxy_on_configure returned false",),
    ),
    "a trap in on_configure": (
        callback("proxy_on_configure", "unreachable"),
        ("proxy_on_configure", "unreachable"),
    ),
}


def yaml(code: bytes, up: int) -> str:
    local = {"local": {"inline_bytes": base64.b64encode(code).decode()}}
    vm = {"runtime": "envoy.wasm.runtime.v8", "code": local}
    wasm = extension("filter", WASM, config={"name": "bad", "vm_config": vm})
    routes = virtual_host("- match: {prefix: /}\n  route: {cluster: up}")
    return bootstrap([listener("main", routes, http_filters=[wasm])], [cluster("up", [up])])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_module_is_refused_and_named(name: str):
    code, words = BAD[name]
    with pytest.raises(StartError) as caught, ProxyProcess("meshproxy", yaml(code, 1)):
        pass
    log = str(caught.value)
    assert "Unable to create Wasm HTTP filter filter: inline: " in log
    assert all(word in log for word in words), log
    assert "Traceback" not in log


@pytest.mark.parametrize("name", ["a missing import", "on_configure false"])
def test_envoy_refuses_it_as_well(name: str):
    with pytest.raises(StartError), ProxyProcess("envoy", yaml(BAD[name][0], 1)):
        pass


# What goes wrong while a request is there; the allocator answers 0, or an address that is none.
AT_WORK = {
    "lengths of 4 GiB": (0, "(call $proxy_log (i32.const 2) (i32.const 16) (i32.const -1))"),
    "addresses out of bounds": (
        0,
        "(call $proxy_get_header_map_pairs (i32.const 0) (i32.const -8) (i32.const -4))",
    ),
    "an allocator that gives nothing": (
        0,
        "(call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20))",
    ),
    "an allocator that gives what is not there": (
        -16,
        "(call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20))",
    ),
}


@pytest.mark.parametrize("name", AT_WORK)
def test_a_module_that_misuses_memory_gets_status_6_and_its_request_goes_on(name: str):
    given, call = AT_WORK[name]
    allocator = f"""(func (export "malloc") (param i32) (result i32) (i32.const {given}))"""
    code = wat2wasm(
        filter_text(
            f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (if (i32.ne (i32.const 6) {call}) (then (drop (call $proxy_send_local_response
                (i32.const 500) ""/ ""/ ""/ (i32.const -1))))) (i32.const 0))""",
            allocator=allocator,
        )
    )
    with RecordingUpstream() as up:
        for kind in ("envoy", "meshproxy"):
            with ProxyProcess(kind, yaml(code, up.port)) as proxy:
                for _ in range(2):
                    with RawClient(proxy.ports["main"]) as client:
                        assert client.request(http_request("/")).status == 200, kind


def test_a_module_of_0_1_0_may_have_callbacks_of_0_2_0():
    """Envoy refuses these, among them every filter that was made for MOSN."""
    with RecordingUpstream() as up:
        text = configuration([Plugin(1, short_headers=False)], up.port, 1)
        with ProxyProcess("meshproxy", text) as proxy, RawClient(proxy.ports["main"]) as client:
            assert client.request(http_request("/")).status == 200
        with pytest.raises(StartError, match="Bad function signature"), ProxyProcess("envoy", text):
            pass
