"""`typed_per_filter_config` and `HttpFilter.disabled`: which filters a request goes through."""

import base64
import json

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, cluster, extension, listener
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.wat_filter import filter_text

SWITCH = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig"}
OFF = {**SWITCH, "disabled": True}
ON = {**SWITCH, "config": {}}
# Adds `x-seen: <its name>` to the request and the answer.
FILTER = filter_text(
    "\n".join(
        f"""(func (export "proxy_on_{phase}_headers") (param i32 i32 i32) (result i32)
          (drop (call $proxy_get_property "plugin_name"/ (i32.const 16) (i32.const 20)))
          (drop (call $proxy_add_header_map_value (i32.const {map_type}) "x-seen"/
            (i32.load (i32.const 16)) (i32.load (i32.const 20))))
          (i32.const 0))"""
        for phase, map_type in (("request", 0), ("response", 2))
    ),
    allocator="""(func (export "malloc") (param i32) (result i32) (i32.const 65536))""",
)


def route(path: str, **more):
    return {"match": {"path": path}, "route": {"cluster": "up"}, **more}


def switched(**filters):
    return {"typed_per_filter_config": filters}


def weighted(*clusters):
    return {
        "match": {"path": "/weighted"},
        "route": {
            "weighted_clusters": {
                "header_name": "x-value",
                "clusters": [{"name": "up", "weight": 1, **each} for each in clusters],
            }
        },
        **switched(b=OFF),
    }


def configuration(up: int, dead: int) -> str:
    code = base64.b64encode(wat2wasm(FILTER)).decode()
    filters = [
        extension(
            name,
            "envoy.extensions.filters.http.wasm.v3.Wasm",
            config={
                "name": name,
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"inline_bytes": code}},
                },
            },
        )
        for name in ("a", "b", "c")
    ]
    filters[2]["disabled"] = True  # only a route can switch it on
    hosts = [
        {
            "name": "plain",
            "domains": ["*"],
            "routes": [
                route("/default"),
                route("/a-off", **switched(a=OFF)),
                route("/both-off", **switched(a=OFF, b=OFF)),
                route("/a-on", **switched(a=ON)),
                route("/c-on", **switched(c=ON)),
                route("/c-alone", **switched(a=OFF, b=OFF, c=ON)),
                {
                    "match": {"path": "/direct"},
                    "direct_response": {"status": 200},
                    **switched(a=OFF),
                },
                weighted(switched(a=OFF), switched(b=ON), {}),
                {"match": {"prefix": "/late"}, "route": {"cluster": "up"}, **switched(b=OFF)},
            ],
        },
        {
            "name": "host",
            "domains": ["off.example"],
            "routes": [route("/default"), route("/a-on", **switched(a=ON))],
            **switched(a=OFF, b=OFF),
        },
    ]
    main = listener("main", json.dumps(hosts), http_filters=filters)
    everywhere = listener(
        "everywhere",
        json.dumps(hosts),
        http_filters=filters,
        route_options=json.dumps(switched(c=ON, b=OFF)),
    )
    return bootstrap([main, everywhere], [cluster("up", [up])])


PATHS = ("/default", "/a-off", "/both-off", "/a-on", "/c-on", "/c-alone", "/direct", "/none",
         "/late")  # fmt: skip
CASES = [
    *(Case(f"{path} on {where}", http_request(path), listener=where)
      for path in PATHS for where in ("main", "everywhere")),
    *(Case(f"{path} of a virtual host on {where}", http_request(path, host="off.example"),
           listener=where)
      for path in ("/default", "/a-on") for where in ("main", "everywhere")),
    *(Case(f"weighted cluster {value}", http_request("/weighted", f"x-value: {value}"))
      for value in range(3)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_filters_see_the_request(pair: Pair, case: Case):
    pair.check(case)


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/default", ["a", "b"]), ("/c-alone", ["c"]), ("/a-off", ["b"]), ("/both-off", [])],
)
def test_they_are_the_expected_ones(pair: Pair, path: str, seen: list[str]):
    pair.run(Case("", http_request(path)))
    request = pair.check(Case("", http_request(path))).upstream[0]
    assert [value for name, value in request[3] if name == "x-seen"] == seen
