"""Which filters stand in which chain, and what a route may not say."""

import pytest

from meshproxy.config import HttpFilterConfig
from meshproxy.errors import StartupError
from meshproxy.http_filters import FactoryContext
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.stream_context import StreamContext
from meshproxy.router.filter_scope import FilterOverride, FilterScope
from meshproxy.server.http_chain import build_chains
from meshproxy.wasm.code_source import InlineCode
from tests.support.wat_filter import World, filter_text

WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"


class Chains:
    """Plugins by name, and the chains that are made of them."""

    def __init__(self, *names: str, disabled: str = "") -> None:
        self.world = World()
        self._code = InlineCode(self.world.services.engine.assemble(filter_text("")))
        self.filters = [
            HttpFilterConfig(name, WASM, self.plugin(name), disabled=name in disabled.split())
            for name in names
        ]
        self.context = FactoryContext(
            "", None, self.world.store, None, self.world.dispatcher, self.world.services
        )

    def plugin(self, name: str) -> PluginConfig:
        return PluginConfig(VmConfig(self._code), name, root_id=name)

    def build(self, *scopes: FilterScope):
        """The names of the plugins in the default chain, and in the chain of each scope."""
        default, by_scope = build_chains(self.filters, self.context, scopes)
        return [names(default), *(names(by_scope[scope]) for scope in scopes)]


def names(factories) -> list[str]:
    made = [factory() for factory in factories]
    assert all(isinstance(each, StreamContext) for each in made)
    return [each.root.plugin.name for each in made]


def scope(**entries: FilterOverride) -> FilterScope:
    return FilterScope(entries, None)


OFF, ON = FilterOverride(disabled=True), FilterOverride()


def test_without_overrides_there_is_one_chain():
    assert Chains("a", "b").build() == [["a", "b"]]


def test_filters_are_switched_off_and_on_by_scope():
    chains = Chains("a", "b", "c", disabled="c")
    assert chains.build(scope(a=OFF), scope(c=ON), scope(a=OFF, b=OFF)) == [
        ["a", "b"],
        ["b"],
        ["a", "b", "c"],
        [],
    ]


def test_another_plugin_takes_the_place_and_is_started_once_for_all_scopes():
    chains = Chains("a", "b")
    other = FilterOverride(type_name=WASM, config=chains.plugin("other"))
    assert chains.build(scope(a=other), scope(a=other, b=OFF)) == [
        ["a", "b"],
        ["other", "b"],
        ["other"],
    ]
    assert [each.config.name for each in chains.world.services.pool.plugins] == ["a", "other", "b"]
    assert len(chains.world.services.pool.vms) == 1  # three roots, one VM


def test_a_configuration_of_another_filters_type_is_refused_by_name():
    chains = Chains("a")
    strange = FilterOverride(type_name="envoy.x.Y", config=object())
    with pytest.raises(
        StartupError, match=f"of the HTTP filter 'a' is envoy.x.Y, but {WASM} takes"
    ):
        chains.build(scope(a=strange))


def test_an_entry_for_a_filter_that_is_not_there_is_a_warning(caplog):
    assert Chains("a").build(scope(b=OFF)) == [["a"], ["a"]]
    assert "an entry 'b', but no HTTP filter of that name is there" in caplog.text


def test_a_plugin_of_a_route_that_cannot_start_stops_the_start():
    chains = Chains("a")
    junk = PluginConfig(VmConfig(InlineCode(b"junk")))
    with pytest.raises(StartupError, match="HTTP filter a: inline: not a Wasm module"):
        chains.build(scope(a=FilterOverride(type_name=WASM, config=junk)))
