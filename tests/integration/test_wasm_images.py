"""A filter from a registry: pulled with a secret, later than asked for, and anew by its tag."""

import base64
import json
import signal
import socket

import pytest
import wasmtime

from tests.parity.config import bootstrap, extension, listener, virtual_host
from tests.support.processes import START_TIMEOUT_S, ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.registry import Registry
from tests.support.wat_filter import filter_text

ROUTES = "- match: {prefix: /}\n  direct_response: {status: 200, body: {inline_string: ok}}"


def module(version: int) -> bytes:
    text = filter_text(f"""(func (export "proxy_on_response_headers") (param i32 i32 i32)
      (result i32) (drop (call $proxy_add_header_map_value (i32.const 2) "x-version"/
        "{version}"/)) (i32.const 0))""")
    return bytes(wasmtime.wat2wasm(text))


def configuration(url: str) -> str:
    plugin = {
        "name": "p",
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": url}}},
    }
    wasm = extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=plugin)
    return bootstrap([listener("main", virtual_host(ROUTES), http_filters=[wasm])], [])


def ask(proxy: ProxyProcess) -> tuple[int, str | None]:
    with RawClient(proxy.ports["main"]) as client:
        answer = client.request(http_request("/"))
        return answer.status, answer.get("x-version")


@pytest.fixture
def docker_config(monkeypatch, tmp_path):
    """Writes a Docker configuration with this user for a registry."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(registry: Registry) -> None:
        assert registry.user is not None
        secret = base64.b64encode(":".join(registry.user).encode()).decode()
        document = {"auths": {registry.host: {"auth": secret}}}
        (tmp_path / "config.json").write_text(json.dumps(document))

    return write


def test_a_private_image_is_there_before_the_first_request_and_moves_with_its_tag(docker_config):
    with Registry(user=("me", "secret")) as registry:
        docker_config(registry)
        registry.push_module("team/filter", module(1), "v1")
        with ProxyProcess("meshproxy", configuration(registry.url("team/filter:v1"))) as proxy:
            assert ask(proxy) == (200, "1")
            assert proxy.counters()["wasm.remote_load_fetch_successes"] == 1
            registry.push_module("team/filter", module(2), "v1")
            proxy.admin("/wasm/reload", "POST")
            assert ask(proxy) == (200, "2")
            assert "secret" not in proxy.log


def test_an_image_that_is_not_there_stops_its_requests_and_not_the_start():
    with (
        Registry() as registry,
        ProxyProcess("meshproxy", configuration(registry.url("filter"))) as proxy,
    ):
        assert ask(proxy) == (503, None)
        assert "failed to load: oci://" in proxy.log
        assert "status 404 for manifests/latest" in proxy.log
        assert json.loads(proxy.admin("/wasm?format=json"))["plugins"][0]["state"] == "pending"
        registry.push_module("filter", module(1))
        proxy.admin("/wasm/reload", "POST")
        assert ask(proxy) == (200, "1")


def test_a_signal_ends_a_start_that_waits_for_a_registry():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"oci://127.0.0.1:{silent.getsockname()[1]}/filter"
        proxy = ProxyProcess("meshproxy", configuration(url))
        try:
            silent.settimeout(START_TIMEOUT_S)
            connection, _ = silent.accept()
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0
            connection.close()
        finally:
            proxy.stop()
