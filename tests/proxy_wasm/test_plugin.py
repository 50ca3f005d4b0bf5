"""Who shares a VM, what follows a failure, and the end of a plugin."""

import pytest

from meshproxy.http.filter import CONTINUE, StreamFilter
from meshproxy.proxy_wasm.config import FAIL_CLOSED, FAIL_OPEN, FAIL_RELOAD
from meshproxy.proxy_wasm.plugin import FailedFilter
from meshproxy.proxy_wasm.vm_pool import pool_of
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import Request, World, filter_text

# Traps on a request without a user agent.
MOODY = filter_text("""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (i32.ne (i32.const 0) (call $proxy_get_header_map_value (i32.const 0) "user-agent"/
      (i32.const 16) (i32.const 20))) (then unreachable))
  (i32.const 1))
  (func (export "proxy_on_log") (param i32) unreachable)""")
QUIET = filter_text("")


def trap(plugin) -> Request:
    """A request that the filter traps on."""
    request = Request(plugin)
    request.request.remove(b"user-agent")
    request.headers()
    return request


def stats(world: World, name: str) -> int:
    """A statistic of the plugin `p`."""
    return world.store.metrics[f"wasm.p.{name}"].value


# -- sharing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({}, True),
        ({"configuration": b"x"}, True),
        ({"root_id": "x"}, True),
        ({"vm_id": "x"}, False),
        ({"vm_configuration": b"x"}, False),
        ({"environment_variables": {"A": "b"}}, False),
        ({"allowed_capabilities": frozenset({"proxy_log"})}, False),
        ({"memory_size": 1 << 20}, False),
        ({"strict": True}, False),
    ],
)
def test_plugins_share_a_vm_when_everything_of_the_vm_is_equal(other, shared):
    world = World()
    one, two = world.plugin(QUIET), world.plugin(QUIET, **other)
    assert (one.vm is two.vm) is shared


def test_another_module_is_another_vm():
    world = World()
    assert world.plugin(QUIET).vm is not world.plugin(filter_text("(func $more)")).vm


def test_plugins_of_a_vm_have_roots_of_their_own_and_equal_ones_have_one():
    world = World()
    plugins = [world.plugin(QUIET, root_id=each) for each in ("a", "b", "a")]
    assert len(plugins[0].vm.roots) == 2
    assert sorted(plugins[0].vm.contexts) == [1, 2]


def test_all_plugins_with_the_same_services_share_a_pool():
    world = World()
    assert pool_of(world.services) is pool_of(world.services)


def test_a_second_plugin_that_refuses_leaves_the_first_alone():
    world = World()
    text = filter_text("""(func (export "proxy_on_configure") (param i32 i32) (result i32)
      (i32.eqz (local.get 1)))""")
    first = world.plugin(text)
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        world.plugin(text, configuration=b"x")
    assert first.vm.failed is None
    assert list(first.vm.contexts) == [1]


# -- failures ----------------------------------------------------------------------------------


def test_the_request_after_a_trap_gets_a_fresh_vm():
    world = World()
    plugin = world.plugin(MOODY, name="p")
    before = plugin.vm
    assert trap(plugin).callbacks.reply.status == 503
    after = Request(plugin)
    assert after.headers() != CONTINUE
    assert after.callbacks.reply is None
    assert plugin.vm is not before
    assert (stats(world, "traps"), stats(world, "vm_reload_success")) == (1, 1)


def test_fail_reload_refuses_until_the_interval_since_the_load_is_over():
    world = World()
    plugin = world.plugin(MOODY, name="p", failure_policy=FAIL_RELOAD, reload_interval=1.0)
    trap(plugin)
    assert type(plugin.new_filter()) is FailedFilter
    world.dispatcher.advance(1.1)
    assert type(plugin.new_filter()) is not FailedFilter
    assert (stats(world, "vm_reload_backoff"), stats(world, "vm_reload_success")) == (1, 1)


def test_the_other_streams_of_a_failed_vm_are_answered_and_never_enter_it_again():
    plugin = World().plugin(MOODY)
    waiting = Request(plugin)
    waiting.headers()
    trap(plugin)
    assert waiting.callbacks.reply.details == "wasm_fail_stream"
    assert waiting.answer() == CONTINUE
    waiting.end()  # its log callback would trap


def test_streams_that_have_ended_are_left_alone():
    plugin = World().plugin(
        filter_text("""
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
      (func (export "proxy_on_log") (param i32) unreachable)""")
    )
    request = Request(plugin)
    request.headers()
    request.end()
    assert request.callbacks.reply is None
    assert plugin.vm is None


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"failure_policy": FAIL_CLOSED}, FailedFilter),
        ({"strict": True}, FailedFilter),
        ({"failure_policy": FAIL_OPEN}, StreamFilter),
    ],
)
def test_a_policy_without_reload_serves_without_a_vm(settings, kind):
    plugin = World().plugin(MOODY, **settings)
    assert trap(plugin).callbacks.reply.status == 503
    later = Request(plugin)
    assert type(later.filter) is kind
    if kind is FailedFilter:
        assert later.headers() != CONTINUE
        assert later.callbacks.reply.status == 503


@pytest.mark.parametrize("where", ["request_headers", "request_body", "request_trailers"])
def test_fail_open_of_old_lets_the_stream_go_on_in_which_the_vm_failed(where):
    types = "(param i32 i32 i32)" if where != "request_trailers" else "(param i32 i32)"
    text = filter_text(f"""(func (export "proxy_on_{where}") {types} (result i32) unreachable)""")
    request = Request(World().plugin(text, failure_policy=FAIL_OPEN, fail_open=True))
    assert request.headers(end_stream=False) == CONTINUE
    assert request.body(b"body") == (CONTINUE, b"body")
    assert request.trailers() == CONTINUE
    assert request.answer() == CONTINUE
    assert request.callbacks.reply is None
    assert request.plugin.vm is None


def test_fail_open_of_old_lets_waiting_streams_go_on():
    plugin = World().plugin(MOODY, failure_policy=FAIL_OPEN, fail_open=True)
    waiting = Request(plugin)
    waiting.headers()
    late = Request(plugin)
    assert trap(plugin).callbacks.reply is None
    assert waiting.events == ["continue_decoding", "continue_encoding"]
    assert late.headers() == CONTINUE


def test_a_reload_that_fails_is_not_tried_again_within_the_interval(caplog):
    world = World()
    # Every VM after the first refuses: the shared data outlive a VM while another one lives.
    keeper = world.plugin(QUIET, vm_id="v")
    text = filter_text("""
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (i32.eqz (call $proxy_set_shared_data "k"/ "v"/ (i32.const 99))))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)""")
    plugin = world.plugin(text, name="p", vm_id="v")
    Request(plugin).headers()
    assert type(plugin.new_filter()) is FailedFilter
    assert type(plugin.new_filter()) is FailedFilter
    assert stats(world, "vm_reload_failure") == 1
    assert "reload failed: filter.wasm: proxy_on_vm_start returned false" in caplog.text
    assert keeper.vm.failed is None


# -- the end -----------------------------------------------------------------------------------

ENDING = """(func (export "proxy_on_done") (param i32) (result i32) (i32.const {}))
  (func (export "proxy_on_delete") (param i32) (drop (call $proxy_log (i32.const 2) "deleted"/)))
  (func (export "proxy_on_tick") (param i32) (drop (call $proxy_done)))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10))) (i32.const 1))"""


def test_a_closed_plugin_ends_its_root_and_the_last_root_the_vm(caplog):
    caplog.set_level("INFO", "meshproxy.wasm")
    world = World()
    plugin = world.plugin(filter_text(ENDING.format(1)))
    other = world.plugin(filter_text(ENDING.format(1)), root_id="other")
    vm = plugin.vm
    plugin.close()
    assert "deleted" in caplog.text
    assert vm.failed is None
    other.close()
    assert vm.failed is not None
    assert world.dispatcher.timers == []
    assert world.store.metrics["wasm.envoy.wasm.runtime.wasmtime.active"].value == 0


def test_a_root_that_is_not_done_lives_until_it_says_so(caplog):
    caplog.set_level("INFO", "meshproxy.wasm")
    world = World()
    plugin = world.plugin(filter_text(ENDING.format(0)))
    vm = plugin.vm
    plugin.close()
    assert vm.failed is None
    world.dispatcher.advance(0.01)
    assert "deleted" in caplog.text
    assert vm.failed is not None


def test_two_plugins_with_one_root_end_it_together():
    world = World()
    one, two = world.plugin(QUIET), world.plugin(QUIET)
    vm = one.vm
    one.close()
    assert vm.failed is None
    two.close()
    assert vm.failed is not None


def test_shared_data_go_with_the_last_vm_of_their_id():
    world = World()
    plugin = world.plugin(QUIET, vm_id="v")
    world.services.shared_data.set("v", b"k", b"value", 0)
    plugin.close()
    assert world.services.shared_data.get("v", b"k") is None


# -- timers ------------------------------------------------------------------------------------


def test_the_timer_ticks_until_it_is_stopped():
    world = World()
    plugin = world.plugin(
        filter_text("""
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))
      (func (export "proxy_on_tick") (param i32)
        (i32.store (i32.const 0) (i32.add (i32.const 1) (i32.load (i32.const 0))))
        (if (i32.eq (i32.load (i32.const 0)) (i32.const 3))
          (then (drop (call $proxy_set_tick_period_milliseconds (i32.const 0))))))""")
    )
    request = Request(plugin)
    world.dispatcher.advance(0.25)
    assert request.words(0) == [2]
    world.dispatcher.advance(5)
    assert request.words(0) == [3]


def test_a_tick_may_set_another_period_for_those_after_it():
    world = World()
    plugin = world.plugin(
        filter_text("""
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))
      (func (export "proxy_on_tick") (param i32)
        (i32.store (i32.const 0) (i32.add (i32.const 1) (i32.load (i32.const 0))))
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 1000))))""")
    )
    request = Request(plugin)
    world.dispatcher.advance(0.95)
    assert request.words(0) == [1]
    world.dispatcher.advance(0.2)
    assert request.words(0) == [2]


def test_a_failed_vm_ticks_no_more():
    world = World()
    plugin = world.plugin(
        filter_text("""
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))
      (func (export "proxy_on_tick") (param i32) unreachable)""")
    )
    world.dispatcher.advance(1)
    assert plugin.vm is None
    assert world.dispatcher.timers == []
