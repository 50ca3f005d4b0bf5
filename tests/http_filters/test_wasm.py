import pytest
import wasmtime

from meshproxy.errors import StartupError
from meshproxy.http_filters import HTTP_FILTERS, FactoryContext
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.stream_context import StreamContext
from meshproxy.wasm.code_source import InlineCode, LocalFile
from tests.support.wat_filter import World, filter_text

TYPE = "envoy.extensions.filters.http.wasm.v3.Wasm"


def context(world: World, **settings) -> FactoryContext:
    return FactoryContext(
        "my-filter", None, world.store, None, world.dispatcher, world.services, **settings
    )


def test_a_plugin_becomes_a_filter_factory_that_knows_its_direction():
    code = InlineCode(bytes(wasmtime.wat2wasm(filter_text(""))))
    factory = HTTP_FILTERS[TYPE](PluginConfig(VmConfig(code)), context(World(), direction=2))
    stream = factory()
    assert isinstance(stream, StreamContext)
    assert stream.root.plugin.direction == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (LocalFile("/nowhere.wasm"), "/nowhere.wasm: No such file"),
        (InlineCode(b"junk"), "inline: not a Wasm module"),
    ],
)
def test_a_plugin_that_cannot_start_stops_the_start_by_name(code, reason):
    with pytest.raises(StartupError, match=reason) as caught:
        HTTP_FILTERS[TYPE](PluginConfig(VmConfig(code)), context(World()))
    assert "my-filter" in str(caught.value)
