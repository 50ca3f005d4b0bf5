"""Dapr's own SDK for JavaScript, unchanged: its server and both of its clients, by `meshproxy run`.

The app is `tests/support/dapr_js/peer.js`; it uses every block and prints what it got.
"""

import json
import os
from pathlib import Path

import pytest

from tests.support import toolchains
from tests.support.dapr_apps.blocks import TICK, resources, result_of
from tests.support.dapr_apps.run import Run

SOURCES = Path(__file__).parents[1] / "support" / "dapr_js"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """The command of the app, installed as its package.json says."""
    toolchains.need("node", "npm")
    folder = toolchains.copied(SOURCES, tmp_path_factory.mktemp("dapr_js"), "*.js*")
    toolchains.fetch(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], folder)
    return ["node", str(folder / "peer.js")]


@pytest.mark.parametrize(
    ("protocol", "heard"), [("HTTP", "HTTP"), ("GRPC", "HTTP"), ("GRPC", "GRPC")]
)
def test_every_block_and_a_server_that_hears(peer, tmp_path, redis_server, protocol, heard):
    pytest.importorskip("dapr")
    redis_server.client.set("greeting", "hello||1")
    env = {
        "DAPR_CLIENT": protocol,
        "DAPR_SERVER": heard,
        "NODE_OPTIONS": os.environ.get("NODE_OPTIONS", ""),
    }
    flags = ("--app-protocol", heard.lower())
    ready = "app is subscribed to topic routed"
    components = resources(tmp_path, redis_server.address, TICK)
    with Run("js", components, peer, *flags, ready=ready, env=env) as run:
        result = result_of(run, redis_server)
    assert result["saved"] is True
    assert result["state"] == [{"n": 1}, "text"]
    assert result["bulk"] == ["a", "none"]
    assert result["after"] == ["three", ""]
    assert (result["secret"], result["secrets"]) == ({"key": "value"}, {"key": {"key": "value"}})
    assert result["failed"] == 0
    assert result["plain"] == ['"text"', '"x"', '"y"', '{"n":1}']
    # Over gRPC the SDK reads every text as JSON that is some.
    assert [[str(data) for data in one] for one in result["routed"]] == [["1"], ["2"]]
    assert json.loads(result["echo"]["body"]) == {"hello": "world"}
    assert "couldn't find service: nobody" in result["nobody"]
    assert result["file"] == "content"
    assert result["lock"] == [True, False, 2, 0]
    assert result["metadata"] == ["js", 7]
    assert result["healthy"] is True
    if protocol == "GRPC":
        assert (result["configuration"], result["changed"]) == ("hello", "changed")
