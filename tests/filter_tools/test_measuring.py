import time

import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.measuring import Stopwatch, quantile, timed
from tests.support.wat_filter import filter_text


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 6), (0.99, 10), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(share, value):
    assert quantile(range(1, 11), share) == value


def test_a_timed_call_is_the_call():
    noted = []
    assert timed(lambda *arguments: sum(arguments), noted.append)(1, 2, 3) == 6
    assert len(noted) == 1
    assert noted[0] > 0


def test_giving_the_map_is_time_of_a_headers_callback(harness, monkeypatch):
    given = []

    def slow(core, map_type, context):
        given.append(map_type)
        time.sleep(0.002)

    monkeypatch.setattr("meshproxy.proxy_wasm.core.abi_core.AbiCore.give", slow)
    monkeypatch.setattr("meshproxy.proxy_wasm.core.abi_core.AbiCore.take_back", lambda core: None)
    loaded = harness.load(
        bytes(
            wat2wasm(
                filter_text("""(func (export "proxy_on_request_headers") (param i32 i32 i32)
                  (result i32) (i32.const 0))""")
            )
        )
    )
    vm = loaded.plugin.vm
    vm.core.wanted[0] = True
    watch = Stopwatch()
    watch.attach(vm)
    loaded.request()
    assert given == [0]
    [phase] = watch.phases()
    assert phase.p50 >= 0.002


def test_every_callback_is_timed_from_the_start_on(harness):
    loaded = harness.load(bytes(wat2wasm(filter_text("""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_log") (param i32))"""))))  # fmt: skip
    loaded.request()
    watch = Stopwatch()
    watch.attach(loaded.plugin.vm)
    assert watch.phases() == []
    for _ in range(3):
        loaded.request()
    assert [(each.name, each.calls) for each in watch.phases()] == [
        ("proxy_on_request_headers", 3), ("proxy_on_log", 3)]  # fmt: skip
    for each in watch.phases():
        assert 0 <= each.p50 <= each.p99
        assert 0 < each.mean <= each.p99
        assert each.total == each.mean * 3
    watch.clear()
    assert watch.phases() == []
