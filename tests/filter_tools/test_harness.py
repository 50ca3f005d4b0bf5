import logging

import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.logs import LOGGER, LogLine
from meshproxy.resources import filters_directory
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import ENGINE, filter_text


def module(functions: str) -> bytes:
    return bytes(wat2wasm(filter_text(functions)))


TICKING = module("""
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $proxy_define_metric (i32.const 0) "ticks"/ (i32.const 16)))
      (drop (call $proxy_define_metric (i32.const 2) "sizes"/ (i32.const 20)))
      (drop (call $proxy_record_metric (i32.load (i32.const 20)) (i64.const 7)))
      (drop (call $proxy_set_tick_period_milliseconds (i32.const 100)))
      (drop (call $proxy_log (i32.const 3) "started: yes"/))
      (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
      (drop (call $proxy_increment_metric (i32.load (i32.const 16)) (i64.const 1))))
    (func (export "proxy_on_done") (param i32) (result i32)
      (drop (call $proxy_log (i32.const 0) "done"/))
      (i32.const 1))""")
TRAPPING = module("""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (unreachable))""")
MARKING = module("""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_get_buffer_bytes (i32.const 6) (i32.const 0) (i32.const 99)
        (i32.const 16) (i32.const 20)))
      (drop (call $proxy_add_header_map_value (i32.const 0) "x-mark"/
        (i32.load (i32.const 16)) (i32.load (i32.const 20))))
      (i32.const 0))""")


def test_ticks_come_with_the_fake_clock(harness):
    loaded = harness.load(TICKING)
    assert loaded.metrics == {"ticks": 0, "sizes": 1}
    loaded.advance(0.35)
    assert loaded.metrics["ticks"] == 3
    assert harness.histogram("sizes") == [(7, 1)]
    with pytest.raises(KeyError, match="no histogram ticks; there are: ticks, sizes"):
        harness.histogram("ticks")


def test_lines_are_collected_with_level_and_plugin():
    with FilterHarness(engine=ENGINE) as harness:
        harness.load(TICKING, name="ticker", root_id="root")
        assert harness.logs == [LogLine("warn", "started: yes", "ticker root")]
        assert str(harness.logs[0]) == "warn: started: yes"
    assert harness.logs[-1] == LogLine("trace", "done", "ticker root")


def test_the_lowest_level_can_be_chosen():
    with FilterHarness(engine=ENGINE, log_level="error") as harness:
        harness.load(TICKING)
    assert harness.logs == []


def test_the_logger_is_left_as_it_was():
    LOGGER.setLevel(logging.ERROR)
    try:
        with FilterHarness(engine=ENGINE, propagate_logs=False):
            assert not LOGGER.propagate
        assert (LOGGER.level, LOGGER.propagate) == (logging.ERROR, True)
    finally:
        LOGGER.setLevel(logging.NOTSET)


def test_a_trap_is_noted_for_every_vm_it_ends(harness):
    loaded = harness.load(TRAPPING, name="broken")
    assert loaded.request().local_reply.status == 503
    assert loaded.request().local_reply.status == 503
    assert [(trap.plugin, "unreachable" in trap.reason) for trap in loaded.traps] == [
        ("broken", True), ("broken", True)]  # fmt: skip
    assert "filter!" in loaded.traps[0].backtrace[0]


def test_filters_stand_in_a_chain_in_the_order_given(harness):
    first = harness.load(MARKING, name="a", vm_configuration="1")
    second = harness.load(MARKING, name="b", vm_configuration="2")
    assert harness.request().upstream.headers.values("x-mark") == ["1", "2"]
    backwards = harness.request(filters=(second, first))
    assert backwards.upstream.headers.values("x-mark") == ["2", "1"]
    assert second.request().upstream.headers.values("x-mark") == ["2"]


def test_what_cannot_be_loaded_is_named(harness, tmp_path):
    with pytest.raises(ModuleError, match="No such file"):
        harness.load(tmp_path / "absent.wasm")
    with pytest.raises(ModuleError, match="not a Wasm module"):
        harness.load(b"not wasm at all")
    assert harness.request().downstream.status == 200  # and it does not stand in the chain


def test_an_installed_filter_changes_what_it_says(harness):
    loaded = harness.load(
        filters_directory() / "header_tag.wasm",
        "request set x-plugin {plugin_name}\nresponse set x-cluster {xds.cluster_name}",
    )
    stream = loaded.request("POST", body="x")
    assert stream.upstream.headers["x-plugin"] == "filter"
    assert stream.downstream.headers["x-cluster"] == "upstream"


def test_the_guests_clocks_are_the_fake_one(harness):
    asking = """
    (import "wasi_unstable" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
      (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 72)))
      (i32.const 0))"""
    loaded = harness.load(module(asking))
    harness.advance(1.5)
    loaded.request()
    memory = loaded.plugin.vm.memory
    assert int.from_bytes(memory.read(64, 8), "little") == 1_767_225_601_500_000_000
    assert int.from_bytes(memory.read(72, 8), "little") == 2_500_000_000


def test_every_step_can_be_listened_to():
    steps: list[str] = []
    with FilterHarness(engine=ENGINE, trace=lambda vm, step: steps.append(str(step))) as harness:
        harness.load(TICKING)
    assert steps[0] == "[host->vm] proxy_on_configure(1, 0)"
    assert steps[-1] == "[host<-vm] proxy_on_done return: 1"
    assert "[vm<-host] env.proxy_set_tick_period_milliseconds return: 0" in steps


def test_closing_ends_open_streams_and_then_the_plugins():
    steps: list[str] = []
    with FilterHarness(engine=ENGINE, trace=lambda vm, step: steps.append(str(step))) as harness:
        stream = harness.load(TICKING).stream()
        stream.request_headers()
        harness.load(MARKING).close()
    assert stream.ended
    ends = [step for step in steps if "proxy_on_done(" in step]
    assert ends == ["[host->vm] proxy_on_done(2)", "[host->vm] proxy_on_done(1)"]


def test_a_filter_has_its_own_lines(harness):
    first, second = (harness.load(TICKING, name=name) for name in ("a", "b"))
    assert [line.plugin for line in harness.logs] == ["a", "b"]
    assert [line.plugin for line in first.logs + second.logs] == ["a", "b"]


def test_a_vm_is_the_products_own_with_its_abi_core(harness):
    assert harness.load(MARKING).plugin.vm.core is not None
