"""VMs that are linked ahead: when they are made, what they may cost, and that none is left."""

from __future__ import annotations

import logging

import pytest

from meshproxy.http.filter import CONTINUE
from meshproxy.proxy_wasm import spares
from meshproxy.proxy_wasm.config import FAIL_CLOSED, FAIL_OPEN, FAIL_RELOAD
from meshproxy.proxy_wasm.restart import MAX_RESTARTS
from tests.support.wat_filter import Request, World, filter_text

# Traps on every request; says when it starts.
TRAPPING = filter_text("""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  unreachable)
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
  (drop (call $proxy_log (i32.const 4) "started"/)) (i32.const 1))""")
QUIET = filter_text("")


class Elsewhere:
    """Another thread, which does what it was given when it is told to."""

    def __init__(self, world: World) -> None:
        self.given: list = []
        world.services.offload = lambda work, done: self.given.append((work, done))

    def work(self) -> int:
        given, self.given = self.given, []
        for work, done in given:
            done(work())
        return len(given)


def trap(plugin) -> int:
    """One request; what it was answered with."""
    request = Request(plugin)
    request.headers()
    return request.callbacks.reply.status


def count(world: World, name: str) -> int:
    return world.store.metrics[f"wasm.p.{name}"].value


def test_a_plugin_that_never_failed_has_no_spare():
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(QUIET, name="p")
    assert Request(plugin).headers() == CONTINUE
    assert not elsewhere.given


def test_after_a_failure_a_vm_is_linked_elsewhere_and_runs_nothing_before_it_is_needed(caplog):
    caplog.set_level(logging.INFO)
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(TRAPPING, name="p")
    assert trap(plugin) == 503
    assert elsewhere.work() == 1
    assert caplog.text.count("started") == 1
    spare = plugin._pool.spares._spares[plugin._vm_key].vm
    assert plugin.serving_root().vm is spare
    assert caplog.text.count("started") == 2


def test_requests_do_not_wait_for_a_spare():
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(TRAPPING, name="p")
    assert [trap(plugin) for _ in range(MAX_RESTARTS)] == [503] * MAX_RESTARTS
    assert count(world, "vm_reload_success") == MAX_RESTARTS - 1
    assert len(elsewhere.given) == 1


def test_every_spare_is_one_more_restart(monkeypatch):
    monkeypatch.setattr(spares.time, "thread_time", lambda: 0.0)
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(TRAPPING, name="p")
    for _ in range(100):
        trap(plugin)
    before = count(world, "vm_reload_success")
    for _ in range(5):
        assert elsewhere.work() == 1
        trap(plugin)
        assert trap(plugin) == 503
        world.dispatcher.advance(0.05)  # pays for the next one; too short for other restarts
    assert count(world, "vm_reload_success") >= before + 5
    assert count(world, "vm_reload_backoff") > 0


@pytest.mark.parametrize(("cost", "made"), [(0.0005, 400), (0.001, 200), (0.1, 2)])
def test_in_a_storm_making_spares_takes_its_share_of_a_core_and_no_more(monkeypatch, cost, made):
    clock = iter(range(10**6))
    monkeypatch.setattr(spares.time, "thread_time", lambda: next(clock) * cost)
    world = World()
    plugin = world.plugin(TRAPPING, name="p")
    links = []
    world.services.offload = lambda work, done: (links.append(1), done(work()))
    for _ in range(2000):  # ten seconds
        trap(plugin)
        world.dispatcher.advance(0.005)
    assert made * 0.8 <= len(links) <= made * 1.05 + 1


@pytest.mark.parametrize("policy", [FAIL_OPEN, FAIL_CLOSED, FAIL_RELOAD])
def test_a_plugin_with_a_policy_of_its_own_has_none(policy):
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(TRAPPING, name="p", failure_policy=policy)
    Request(plugin).headers()
    assert not elsewhere.given


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_no_spare_is_left_when_the_plugin_ends(when):
    world = World()
    elsewhere = Elsewhere(world)
    plugin = world.plugin(TRAPPING, name="p")
    trap(plugin)
    [(work, done)] = elsewhere.given
    made = work() if when != "before" else None
    if when == "after":
        done(made)
    plugin.close()
    if when != "after":
        made = made or work()
        done(made)
    spare, _ = made
    assert not spare.exports.present()  # it is closed
    assert not plugin._pool.spares._spares


def test_what_cannot_be_linked_is_told_to_who_needs_it_and_not_before(monkeypatch, caplog):
    world = World()
    plugin = world.plugin(TRAPPING, name="p")
    monkeypatch.setattr("meshproxy.proxy_wasm.vm.Instance", _refuse)
    trap(plugin)
    assert "reload failed" not in caplog.text
    assert trap(plugin) == 503
    assert "reload failed: filter.wasm: no more" in caplog.text


def _refuse(*_: object) -> None:
    from meshproxy.wasm.errors import ModuleError

    raise ModuleError("filter.wasm", "no more")
