"""A plugin per route, from the configuration to the answer: one VM, a root for each."""

import json

import wasmtime

from tests.parity.config import bootstrap, extension, listener
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.wat_filter import filter_text

WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"
# Says its root id in the answers' header `x-plugin`.
CODE = filter_text("""
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $proxy_get_property "plugin_root_id"/ (i32.const 16) (i32.const 20)))
    (drop (call $proxy_add_header_map_value (i32.const 2) "x-plugin"/
      (i32.load (i32.const 16)) (i32.load (i32.const 20)))) (i32.const 0))""")


def test_every_route_has_its_plugin_in_one_vm(tmp_path):
    path = tmp_path / "filter.wasm"
    path.write_bytes(wasmtime.wat2wasm(CODE))

    def plugin(name: str) -> dict:
        vm = {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(path)}}}
        config = {"name": name, "root_id": name, "vm_config": vm}
        return extension("f", WASM, config=config)

    def route(prefix: str, override: dict | None = None) -> dict:
        found = {"match": {"prefix": prefix}, "direct_response": {"status": 200}}
        return found | ({"typed_per_filter_config": {"f": override}} if override else {})

    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    one, two = (plugin(name)["typed_config"] for name in ("one", "two"))
    hosts = [
        {"name": "a", "domains": ["a"], "routes": [
            route("/one", one), route("/off", off), route("/")]},
        {"name": "b", "domains": ["b"], "typed_per_filter_config": {"f": two}, "routes": [
            route("/one", one), route("/")]},
    ]  # fmt: skip
    yaml = bootstrap([listener("main", json.dumps(hosts), http_filters=[plugin("default")])], [])
    with (
        ProxyProcess("meshproxy", yaml) as proxy,
        RawClient(proxy.ports["main"]) as client,
    ):

        def seen(host: str, target: str) -> str | None:
            answer = client.request(http_request(target, host=host))
            assert answer.status == 200
            return answer.get("x-plugin")

        assert [seen("a", target) for target in ("/one", "/off", "/")] == ["one", None, "default"]
        assert [seen("b", target) for target in ("/one", "/off", "/")] == ["one", "two", "two"]
        document = json.loads(proxy.admin("/wasm?format=json"))
        assert len(document["vms"]) == 1
        assert {each["root_id"] for each in document["vms"][0]["roots"]} == {
            "default", "one", "two",
        }  # fmt: skip
        proxy.admin("/wasm/reload?plugin=two", "POST")
        assert seen("b", "/") == "two"
