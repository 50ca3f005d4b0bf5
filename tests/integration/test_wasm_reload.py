"""A filter's file is replaced while requests are under way: none is lost, and each has one code."""

import json
import threading
import urllib.error
from collections import Counter
from pathlib import Path

import pytest
import wasmtime

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.support.eventually import eventually
from tests.support.processes import STOP_TIMEOUT_S, ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import OK_ANSWER, Peer, RecordingUpstream, Request
from tests.support.wat_filter import filter_text

ROUTES = "- match: {prefix: /}\n  route: {cluster: up}"


def module(version: int) -> bytes:
    """Says its version in the answers' header `x-version`, and as often as requests began in it."""
    add = f"""(drop (call $proxy_add_header_map_value (i32.const 2) "x-version"/ "{version}"/))"""
    text = filter_text(f"""
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        {add} (i32.const 0))""")
    return bytes(wasmtime.wat2wasm(text))


def configuration(path: Path, port: int) -> str:
    plugin = {
        "name": "p",
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(path)}},
        },
    }
    wasm = extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=plugin)
    return bootstrap(
        [listener("main", virtual_host(ROUTES), http_filters=[wasm])], [cluster("up", [port])]
    )


def replace(path: Path, code: bytes) -> None:
    """Put another file in the place of this one, in one step."""
    other = path.with_suffix(".new")
    other.write_bytes(code)
    other.replace(path)


def test_nothing_is_lost_while_a_filter_is_replaced_again_and_again(tmp_path):
    path = tmp_path / "filter.wasm"
    path.write_bytes(module(0))
    stop = threading.Event()
    seen: Counter[tuple[int, str | None]] = Counter()

    def ask(port: int) -> None:
        with RawClient(port) as client:
            while not stop.is_set():
                answer = client.request(http_request("/"))
                seen[answer.status, answer.get("x-version")] += 1

    with (
        RecordingUpstream() as upstream,
        ProxyProcess("meshproxy", configuration(path, upstream.port)) as proxy,
    ):
        clients = [
            threading.Thread(target=ask, args=(proxy.ports["main"],), daemon=True) for _ in range(4)
        ]
        for client in clients:
            client.start()
        for version in range(1, 6):
            replace(path, module(version))
            assert '"reloaded": true' in proxy.admin("/wasm/reload", "POST")
            eventually(lambda version=version: seen[200, str(version)] > 20)
        stop.set()
        for client in clients:
            client.join(STOP_TIMEOUT_S)
        assert {status for status, _ in seen} == {200}
        assert {version for _, version in seen} == set("012345")
        eventually(lambda: proxy.counters()["wasm.wasm_vm_count"] == 1)
        assert proxy.counters()["wasm.p.module_reload_success"] == 5


def test_a_request_that_is_under_way_ends_in_the_code_it_began_with(tmp_path):
    path = tmp_path / "filter.wasm"
    path.write_bytes(module(1))
    release = threading.Event()

    def play(peer: Peer, request: Request) -> None:
        if request.target == "/held":
            release.wait(20)
        peer.send(OK_ANSWER)

    with RecordingUpstream() as upstream:
        upstream.play = play
        with (
            ProxyProcess("meshproxy", configuration(path, upstream.port)) as proxy,
            RawClient(proxy.ports["main"]) as held,
            RawClient(proxy.ports["main"]) as other,
        ):
            held.send(http_request("/held"))
            upstream.take()
            replace(path, module(2))
            proxy.admin("/wasm/reload?plugin=p", "POST")
            assert other.request(http_request("/")).get("x-version") == "2"
            assert proxy.counters()["wasm.wasm_vm_count"] == 2
            release.set()
            assert held.read_answer().get("x-version") == "1"
            eventually(lambda: proxy.counters()["wasm.wasm_vm_count"] == 1)


def test_a_changed_file_is_loaded_by_itself_and_a_bad_one_is_not(tmp_path):
    path = tmp_path / "filter.wasm"
    path.write_bytes(module(1))
    with (
        RecordingUpstream() as upstream,
        ProxyProcess("meshproxy", configuration(path, upstream.port)) as proxy,
    ):

        def version() -> str | None:
            with RawClient(proxy.ports["main"]) as client:
                return client.request(http_request("/")).get("x-version")

        assert version() == "1"
        replace(path, b"nonsense")
        eventually(lambda: proxy.counters()["wasm.p.module_reload_failure"] == 1)
        assert "not reloaded, the old code serves on" in proxy.log
        with pytest.raises(urllib.error.HTTPError) as caught:
            proxy.admin("/wasm/reload", "POST")
        assert caught.value.code == 500
        assert "not a Wasm module" in json.load(caught.value)["plugins"][0]["error"]
        assert version() == "1"
        replace(path, module(2))
        eventually(lambda: version() == "2")
