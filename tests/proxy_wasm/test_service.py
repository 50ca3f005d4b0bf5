"""A plugin without streams: it lives by its timer, also after a failure."""

import pytest

from meshproxy.proxy_wasm.config import (
    FAIL_CLOSED,
    FAIL_OPEN,
    FAIL_RELOAD,
    PluginConfig,
    VmConfig,
    WasmServiceConfig,
)
from meshproxy.proxy_wasm.service import WasmService
from meshproxy.wasm.code_source import InlineCode
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import World, filter_text

TICKING = """(func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $proxy_log (i32.const 4) "tick"/)) {})"""


def start(world: World, body: str = "", **settings) -> WasmService:
    code = InlineCode(world.services.engine.assemble(filter_text(TICKING.format(body))))
    plugin = PluginConfig(VmConfig(code), name="p", **settings)
    return WasmService(world.pool, WasmServiceConfig("s", plugin))


def test_a_service_ticks_from_its_start(caplog):
    world = World()
    start(world)
    world.dispatcher.advance(0.35)
    assert caplog.text.count("wasm log p: tick") == 3


@pytest.mark.parametrize("policy", [0, FAIL_RELOAD])
def test_a_service_that_trapped_is_started_again_without_a_request(policy, caplog):
    world = World()
    service = start(world, "unreachable", failure_policy=policy)
    world.dispatcher.advance(0.15)
    assert service.plugin.vm is None
    world.dispatcher.advance(1.5)
    assert service.plugin.vm is not None
    world.dispatcher.advance(20)
    assert world.store.metrics["wasm.p.traps"].value > 5
    assert world.store.metrics["wasm.p.vm_reload_backoff"].value == 0


@pytest.mark.parametrize("policy", [FAIL_CLOSED, FAIL_OPEN])
def test_a_service_that_is_not_to_be_restarted_stays_down(policy):
    world = World()
    start(world, "unreachable", failure_policy=policy)
    world.dispatcher.advance(100)
    assert world.store.metrics["wasm.p.traps"].value == 1
    assert world.dispatcher.timers == []


def test_a_service_whose_restart_fails_tries_again():
    # Every start after the first refuses while the shared data are there: another VM keeps them.
    world = World()
    world.plugin(filter_text(""), vm_id="v")
    text = filter_text("""
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (if (i32.eqz (call $proxy_get_shared_data "k"/ (i32.const 16) (i32.const 20)
            (i32.const 24))) (then (return (i32.const 0))))
        (drop (call $proxy_set_shared_data "k"/ "v"/ (i32.const 0)))
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))
      (func (export "proxy_on_tick") (param i32) unreachable)""")
    code = InlineCode(world.services.engine.assemble(text))
    plugin = PluginConfig(VmConfig(code, vm_id="v"), name="p")
    service = WasmService(world.pool, WasmServiceConfig("s", plugin))
    world.dispatcher.advance(10)
    assert world.store.metrics["wasm.p.vm_reload_failure"].value > 3
    world.services.shared_data.set("v", b"k", None, 0)
    world.dispatcher.advance(1.55)
    assert world.store.metrics["wasm.p.vm_reload_success"].value == 1
    service.plugin.close()
    world.dispatcher.advance(10)
    assert world.dispatcher.timers == []


def test_a_service_that_cannot_start_says_why():
    with pytest.raises(ModuleError, match="not a Wasm module"):
        WasmService(
            World().pool, WasmServiceConfig("s", PluginConfig(VmConfig(InlineCode(b"x" * 9))))
        )
