"""`/wasm` and `/wasm/reload`: what they answer; that it reloads is shown in tests/proxy_wasm/."""

import asyncio
import json

import pytest

from meshproxy.admin.endpoint import Query
from meshproxy.admin.endpoints import handle
from meshproxy.wasm.code_source import LocalFile
from tests.support.wat_filter import Request, World, filter_text


@pytest.fixture
def world(server):
    world = World()
    server.wasm = world.pool
    return world


def post(server, query: str = "") -> tuple[int, dict]:
    """Status and document of `POST /wasm/reload?query`."""

    async def ask():
        return await handle(server, "POST", "/wasm/reload", Query(query))

    answer = asyncio.run(ask())
    assert answer.content_type == "application/json"
    return answer.status, json.loads(answer.body)


def test_every_plugin_is_answered_for(server, world):
    plugins = [world.plugin(filter_text(""), name=name) for name in ("one", "two")]
    assert post(server) == (
        200,
        {
            "plugins": [
                {"name": p.config.name, "digest": p.digest, "reloaded": True} for p in plugins
            ]
        },
    )


def test_named_plugins_are_answered_for(server, world):
    for name in ("one", "two", "three"):
        world.plugin(filter_text(""), name=name)
    status, document = post(server, "plugin=three&plugin=one")
    assert (status, [each["name"] for each in document["plugins"]]) == (200, ["one", "three"])


def test_a_failure_is_an_error_with_its_reason(server, world, tmp_path):
    path = tmp_path / "filter.wasm"
    path.write_bytes(world.services.engine.assemble(filter_text("")))
    world.plugin(b"", code=LocalFile(str(path)), name="one")
    world.plugin(filter_text(""), name="two")
    path.unlink()
    status, document = post(server)
    assert status == 500
    assert [each["reloaded"] for each in document["plugins"]] == [False, True]
    assert "No such file" in document["plugins"][0]["error"]


@pytest.mark.parametrize(
    ("query", "says"), [("?plugin=x&plugin=one", "no Wasm plugin x; there are: one\n")]
)
def test_an_unknown_plugin_is_named_and_nothing_is_reloaded(server, world, ask, query, says):
    plugin = world.plugin(filter_text(""), name="one")
    before = plugin.vm
    assert ask(f"/wasm/reload{query}", "POST") == (400, says)
    assert plugin.vm is before


def test_without_plugins_there_is_nothing_to_reload(ask):
    assert ask("/wasm/reload", "POST") == (400, "no Wasm plugin is configured\n")


# -- /wasm -------------------------------------------------------------------------------------

DEEP = filter_text("""(func $inner unreachable) (func $middle (call $inner))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $proxy_get_header_map_value (i32.const 0) "x-trap"/
      (i32.const 16) (i32.const 20))) (then (call $middle)))
    (i32.const 1))
  (func (export "proxy_on_log") (param i32))""")


def document(ask) -> dict:
    """`/wasm?format=json`."""
    status, body = ask("/wasm?format=json")
    assert status == 200
    return json.loads(body)


def trap(plugin) -> None:
    """A request that the filter traps on."""
    request = Request(plugin)
    request.request.pairs.append((b"x-trap", b"1"))
    request.headers()
    request.end()


def test_plugins_are_shown_with_their_vms(ask, world):
    one = world.plugin(DEEP, name="one", root_id="r", memory_size=1 << 20)
    world.plugin(DEEP, name="two", memory_size=1 << 20)
    first, second = Request(one), Request(one)
    first.headers()
    second.headers()
    second.end()
    tree = document(ask)
    (vm,) = tree["vms"]
    assert vm["memory_bytes"] == 2 * 65536
    assert (vm["memory_limit_bytes"], vm["abi_version"], vm["contexts"]) == (1 << 20, "0.2.1", 3)
    assert [(root["plugin"], root["streams"]) for root in vm["roots"]] == [("one", 1), ("two", 0)]
    assert [(each["name"], each["state"], each["vm"]) for each in tree["plugins"]] == [
        ("one", "serving", vm["key"]),
        ("two", "serving", vm["key"]),
    ]
    shown = tree["plugins"][0]
    assert (shown["streams"], shown["streams_paused"], shown["root_id"]) == (1, 1, "r")
    calls = {name: times["calls"] for name, times in shown["callbacks"].items()}
    assert calls == {"proxy_on_request_headers": 2, "proxy_on_log": 1}
    assert shown["digest"] == one.digest
    assert shown["last_failure"] is None


def test_the_last_trap_is_shown_with_the_names_of_its_functions(ask, world):
    plugin = world.plugin(DEEP, name="one", strict=True)
    trap(plugin)
    (shown,) = document(ask)["plugins"]
    assert (shown["state"], shown["traps"], shown["vm"]) == ("failed", 1, "")
    failure = shown["last_failure"]
    assert failure["backtrace"][:2] == ["filter!inner", "filter!middle"]
    assert failure["callback"] == "proxy_on_request_headers"
    assert "unreachable" in failure["reason"]
    assert failure["time"] == "2023-11-14T22:30:00.000+00:00"
    _, text = ask("/wasm")
    assert "plugin one: failed, code" in text
    assert "    1: filter!middle\n" in text


def test_what_is_trapped_in_is_gone_and_what_drains_is_shown(ask, world):
    plugin = world.plugin(DEEP, name="one")
    trap(plugin)
    waiting = Request(plugin)
    waiting.headers()
    world.pool.reloader.reload((), lambda outcomes: None)
    tree = document(ask)
    assert [root["draining"] for vm in tree["vms"] for root in vm["roots"]] == [True, False]
    assert tree["plugins"][0]["restarts"] == 1
    assert tree["plugins"][0]["module_reloads"] == 1
    assert "root 1: plugin one, 1 streams, draining\n" in ask("/wasm")[1]


def test_gauges_are_brought_up_to_date_when_they_are_read(ask, world):
    plugin = world.plugin(DEEP, name="one")
    Request(plugin).headers()
    world.store.refresh()
    value = {name: metric.value for name, metric in world.store.metrics.items()
             if name.startswith("wasm.one.") and metric.kind == "gauge"}  # fmt: skip
    assert value == {
        "wasm.one.memory_bytes": 131072,
        "wasm.one.streams_active": 1,
        "wasm.one.streams_paused": 1,
    }


def test_without_plugins_the_page_says_so(ask):
    assert ask("/wasm") == (200, "no Wasm plugin is configured\n")
    assert document(ask) == {"plugins": [], "vms": []}
