"""`code.remote`: what is asked of the code's server, and what requests get without it."""

import hashlib
from typing import Any

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import PROXIES
from tests.support.processes import ProxyProcess, StartError
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import Peer, RecordingUpstream, Request
from tests.support.wat_filter import filter_text

ROUTES = "- match: {prefix: /}\n  direct_response: {status: 200, body: {inline_string: ok}}"
CODE = bytes(
    wat2wasm(
        filter_text(
            """(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
              (drop (call $proxy_add_header_map_value (i32.const 2) "x-filter"/ "here"/))
              (i32.const 0))""",
            allocator='(func (export "malloc") (param i32) (result i32) (i32.const 65536))',
        )
    )
)
SHA256 = hashlib.sha256(CODE).hexdigest()


def serve(peer: Peer, request: Request) -> None:
    if request.target.startswith("/missing"):
        peer.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    else:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(CODE), CODE))


def configuration(port: int, path: str, sha256: str, vm: dict[str, Any], plugin: dict) -> str:
    remote = {
        "http_uri": {"uri": f"http://code.example{path}", "cluster": "code", "timeout": "5s"},
        "sha256": sha256,
        "retry_policy": {"retry_back_off": {"base_interval": "0.001s"}, "num_retries": 2},
    }
    code = {"runtime": "envoy.wasm.runtime.v8", "code": {"remote": remote}, **vm}
    wasm = extension(
        "f",
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        config={"name": "p", "vm_config": code, **plugin},
    )
    return bootstrap(
        [listener("main", virtual_host(ROUTES), http_filters=[wasm])], [cluster("code", [port])]
    )


def observe(kind: str, **settings: Any) -> dict[str, Any]:
    """Status and filter of a request, what the code's server was asked, and the statistics."""
    with RecordingUpstream() as upstream:
        upstream.play = serve
        yaml = configuration(upstream.port, **settings)
        with ProxyProcess(kind, yaml) as proxy:
            with RawClient(proxy.ports["main"]) as client:
                answer = client.request(http_request("/"))
            counters = proxy.counters()
        asked = upstream.take_all()
    return {
        "answer": (answer.status, answer.get("x-filter")),
        "asked": [(one.method, one.target, sorted(one.headers)) for one in asked],
        "stats": {name: value for name, value in counters.items()
                  if name.startswith("wasm.remote_load_")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "sha256", "plugin", "answer", "asked"),
    [
        ("/f.wasm?v=1", SHA256, {}, (200, "here"), 1),
        ("/missing", SHA256, {}, (503, None), 3),
        ("/missing", SHA256, {"failure_policy": "FAIL_OPEN"}, (200, None), 3),
        ("/f.wasm", "00" * 32, {"failure_policy": "FAIL_CLOSED"}, (503, None), 3),
    ],
)
def test_code_is_fetched_before_the_first_request(path, sha256, plugin, answer, asked):
    seen = {kind: observe(kind, path=path, sha256=sha256, vm={}, plugin=plugin) for kind in PROXIES}
    for each in seen.values():
        for _, _, headers in each["asked"]:
            # Envoy gives the address of its host.
            headers[:] = [pair for pair in headers if pair[0] != "x-forwarded-for"]
    assert seen["envoy"] == seen["meshproxy"]
    assert seen["meshproxy"]["answer"] == answer
    assert len(seen["meshproxy"]["asked"]) == asked


def test_a_miss_of_the_cache_refuses_the_start_where_it_is_asked_to():
    for kind in PROXIES:
        with pytest.raises(StartError, match="ended with 1"):
            observe(kind, path="/f.wasm", sha256=SHA256,
                    vm={"nack_on_code_cache_miss": True}, plugin={})  # fmt: skip
