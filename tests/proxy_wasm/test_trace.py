"""Every call between host and guest is told, in order, in Envoy's words."""

import logging

import pytest

from meshproxy.proxy_wasm.trace import LEVEL, Step
from tests.support.wat_filter import Request, World, filter_text

FILTER = filter_text("""
 (func (export "_initialize"))
 (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
 (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
   (drop (call $proxy_get_header_map_value (i32.const 0) ":path"/
     (i32.const 16) (i32.const 20)))
   (drop (call $proxy_log (i32.const 2) (i32.const -1) (i32.const 1)))
   (drop (call $proxy_increment_metric (i32.const 4) (i64.const -2)))
   (i32.const 0))
 (func (export "proxy_on_log") (param i32) unreachable)""")
START = [
    "[host->vm] _initialize()",
    "[host<-vm] _initialize return: void",
    "[host->vm] proxy_on_vm_start(1, 0)",
    "[host<-vm] proxy_on_vm_start return: 1",
]
REQUEST = [
    "[host->vm] proxy_on_request_headers(2, 7, 1)",
    "[vm->host] env.proxy_get_header_map_value(0, 4096, 5, 16, 20)",
    "[host->vm] proxy_on_memory_allocate(12)",
    "[host<-vm] proxy_on_memory_allocate return: 65536",
    "[vm<-host] env.proxy_get_header_map_value return: 0",
    "[vm->host] env.proxy_log(2, 4294967295, 1)",
    "[vm<-host] env.proxy_log return: 6",
    "[vm->host] env.proxy_increment_metric(4, -2)",
    "[vm<-host] env.proxy_increment_metric return: 1",
    "[host<-vm] proxy_on_request_headers return: 0",
]


def test_a_sink_gets_every_step_of_its_vm():
    world = World()
    steps: list[Step] = []
    world.services.tracer = lambda vm: steps.append
    plugin = world.plugin(FILTER)
    assert list(map(str, steps)) == START
    steps.clear()
    Request(plugin).headers()
    assert list(map(str, steps)) == REQUEST


def test_a_call_that_traps_does_not_return():
    world = World()
    steps: list[Step] = []
    world.services.tracer = lambda vm: steps.append
    request = Request(world.plugin(FILTER))
    request.headers()
    steps.clear()
    request.end()
    assert list(map(str, steps)) == ["[host->vm] proxy_on_log(2)"]


def test_a_vm_that_starts_at_level_trace_writes_its_steps_to_the_log(caplog):
    with caplog.at_level(LEVEL, logger="meshproxy.wasm"):
        plugin = World().plugin(FILTER)
        Request(plugin).headers()
    assert [r.getMessage() for r in caplog.records if r.levelno == LEVEL] == START + REQUEST


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_nothing_is_wrapped_where_nobody_listens(level, caplog):
    with caplog.at_level(level, logger="meshproxy.wasm"):
        assert World().plugin(FILTER).vm.trace is None


def test_a_tracer_may_have_nobody_told_whatever_the_log_level(caplog):
    world = World()
    world.services.tracer = lambda vm: None
    with caplog.at_level(LEVEL, "meshproxy.wasm"):
        Request(world.plugin(FILTER)).headers()
    assert not [line for line in caplog.messages if line.startswith("[")]
