"""`/wasm/reload`: what it answers; that it reloads is shown in tests/proxy_wasm/test_reload.py."""

import asyncio
import json

import pytest

from meshproxy.admin.endpoint import Query
from meshproxy.admin.endpoints import handle
from meshproxy.wasm.code_source import LocalFile
from tests.support.wat_filter import World, filter_text


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
