"""Dapr's own SDK for Go, unchanged: both of its services and its client, by `meshproxy run`.

The app is `tests/support/dapr_go/main.go`; it uses every block and prints what it got. Long,
because the first build compiles all that the SDK depends on.
"""

from pathlib import Path

import pytest

from tests.support import toolchains
from tests.support.dapr_apps.blocks import TICK, resources, result_of
from tests.support.dapr_apps.run import Run

pytestmark = pytest.mark.long
SOURCES = Path(__file__).parents[1] / "support" / "dapr_go"
BUILD_TIMEOUT_S = 900


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the app."""
    toolchains.need("go")
    folder = toolchains.copied(SOURCES, tmp_path_factory.mktemp("dapr_go"), "*.go", "go.mod")
    toolchains.fetch(["go", "mod", "tidy"], folder, timeout=BUILD_TIMEOUT_S)
    toolchains.build(["go", "build", "-o", "peer", "."], folder, timeout=BUILD_TIMEOUT_S)
    return [str(folder / "peer")]


@pytest.mark.parametrize("heard", ["HTTP", "GRPC"])
def test_every_block_and_a_service_that_hears(peer, tmp_path, redis_server, heard):
    pytest.importorskip("dapr")
    redis_server.client.set("greeting", "hello||1")
    components = resources(tmp_path, redis_server.address, TICK)
    ready = "app is subscribed to topic routed"
    flags = ("--app-protocol", heard.lower())
    with Run("go", components, peer, *flags, ready=ready, env={"DAPR_SERVER": heard}) as run:
        result = result_of(run, redis_server)
    assert result["state"] == "one"
    assert result["wrong etag"] is True
    assert result["bulk"] == ["a=two", "b=b", "none="]
    assert result["after"] == ["", "", "three"]
    assert result["plain"] == '{"n":1}'
    assert result["text"] == "text"
    assert (result["many"], result["failed"]) == (["x", "y"], 0)
    assert result["routed"] == ["1", "2"]
    assert result["streamed"] == "now"
    assert result["tick"] == "tick"
    assert result["secret"] == {"key": "value"}
    assert result["secrets"] == {"key": {"key": "value"}}
    assert result["echo"] == "POST text/plain hello"
    assert "couldn't find service: nobody" in result["nobody"]
    assert result["file"] == "content"
    assert (result["configuration"], result["changed"]) == ("hello", "changed")
    assert result["lock"] == [True, False]
    assert result["unlock"] == ["LOCK_BELONGS_TO_OTHERS", "SUCCESS", "LOCK_DOES_NOT_EXIST"]
    assert result["metadata"] == ["go", 7, "yes"]
