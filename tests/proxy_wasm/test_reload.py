"""New code for a plugin that serves: the swap, the old VM's end, and what happens if it fails."""

import os

import pytest
import wasmtime

from meshproxy.http.filter import CONTINUE
from meshproxy.proxy_wasm.config import FAIL_CLOSED
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.reload import POLL
from meshproxy.wasm.code_source import LocalFile
from tests.support.wat_filter import Request, World, filter_text

HEADERS = "(param i32 i32 i32) (result i32)"


def module(version: int, extra: str = "") -> bytes:
    """A filter that leaves its version in memory, and says so when it ends."""
    return bytes(
        wasmtime.wat2wasm(
            filter_text(f"""(func (export "proxy_on_request_headers") {HEADERS}
              (i32.store (i32.const 0) (i32.const {version})) (i32.const 0))
            (func (export "proxy_on_delete") (param i32)
              (drop (call $proxy_log (i32.const 2) "deleted {version}"/)))
            {extra}""")
        )
    )


REFUSING = '(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))'
TRAPPING = f'(func (export "proxy_on_response_headers") {HEADERS} unreachable)'


class Filter:
    """A plugin whose code is a file."""

    def __init__(self, world: World, path, code: bytes | None = None, **settings) -> None:
        self.world = world
        self.path = path
        if code is not None:
            path.write_bytes(code)
        self.plugin: Plugin = world.plugin(b"", code=LocalFile(str(path)), name="p", **settings)
        self.outcomes = []

    def write(self, code: bytes) -> None:
        """Other content; the modification time may have not moved in between."""
        self.path.write_bytes(code)
        facts = self.path.stat()
        os.utime(self.path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))

    def reload(self, *names: str) -> None:
        self.world.pool.reloader.reload(names, self.outcomes.extend)

    def version(self) -> int:
        """Which code serves a request."""
        request = Request(self.plugin)
        assert request.headers() == CONTINUE
        found = request.words(0)[0]
        request.end()
        return found

    def count(self, name: str) -> int:
        return self.world.store.metrics[f"wasm.p.{name}"].value


@pytest.fixture
def served(tmp_path) -> Filter:
    return Filter(World(), tmp_path / "filter.wasm", module(1))


def living(world: World) -> int:
    """How many VMs there are."""
    return world.store.metrics["wasm.wasm_vm_count"].value


# -- on request --------------------------------------------------------------------------------


def test_new_streams_get_the_new_code_and_the_old_vm_ends_at_once_without_streams(served):
    old = served.plugin.vm
    served.write(module(2))
    served.reload()
    assert served.version() == 2
    assert old.failed is not None
    assert living(served.world) == 1
    assert [each.error for each in served.outcomes] == [""]
    assert served.outcomes[0].digest == served.plugin.digest
    assert served.count("module_reload_success") == 1


def test_streams_of_the_old_vm_end_in_it_and_it_ends_with_the_last(served, caplog):
    caplog.set_level("INFO", "meshproxy.wasm")
    first, second = Request(served.plugin), Request(served.plugin)
    first.headers()
    old = served.plugin.vm
    served.write(module(2))
    served.reload()
    # One stream has not even been shown to the filter.
    assert second.headers() == CONTINUE
    assert first.answer() == CONTINUE
    assert (first.callbacks.reply, second.callbacks.reply) == (None, None)
    first.end()
    served.world.dispatcher.advance(0)
    assert old.failed is None
    assert living(served.world) == 2
    caplog.clear()
    second.end()
    served.world.dispatcher.advance(0)
    assert old.failed is not None
    assert living(served.world) == 1
    assert [r.message for r in caplog.records] == ["wasm log p: deleted 1"] * 2  # stream and root


def test_a_reload_of_the_same_code_is_a_fresh_vm_all_the_same(served):
    old = served.plugin.vm
    served.reload()
    assert served.plugin.vm is not old
    assert served.version() == 1


def test_a_plugin_that_has_failed_closed_serves_again(tmp_path):
    served = Filter(World(), tmp_path / "f.wasm", module(1, TRAPPING), failure_policy=FAIL_CLOSED)
    request = Request(served.plugin)
    request.headers()
    request.answer()
    assert served.plugin.vm is None
    served.write(module(2))
    served.reload()
    assert served.version() == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"nonsense", "not a Wasm module"),
        (module(2, REFUSING), "proxy_on_configure returned false"),
        (None, "No such file"),
    ],
)
def test_what_cannot_be_started_leaves_the_old_code_serving(served, code, reason, caplog):
    old = served.plugin.vm
    digest = served.plugin.digest
    if code is None:
        served.path.unlink()
    else:
        served.write(code)
    served.reload()
    assert served.plugin.vm is old
    assert served.version() == 1
    assert reason in served.outcomes[0].error
    assert served.outcomes[0].digest == digest
    assert reason in caplog.text
    assert served.count("module_reload_failure") == 1
    assert living(served.world) == 1


def test_new_code_starts_once_and_is_its_own_canary(served, caplog):
    started = """(func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $proxy_log (i32.const 4) "configured"/)) (i32.const 1))"""
    served.write(module(2, started))
    served.reload()
    assert caplog.text.count("configured") == 1
    assert served.version() == 2


def test_code_that_does_not_work_twice_does_not_join_the_vm_where_it_works(tmp_path):
    world = World()
    world.plugin(filter_text(""), vm_id="v")  # keeps the shared data
    first = Filter(world, tmp_path / "f.wasm", module(1), vm_id="v")
    served = Filter(world, tmp_path / "f.wasm", vm_id="v", root_id="other")
    second_start = """(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
      (if (i32.eqz (call $proxy_get_shared_data "k"/ (i32.const 16) (i32.const 20) (i32.const 24)))
        (then (return (i32.const 0))))
      (drop (call $proxy_set_shared_data "k"/ "v"/ (i32.const 0))) (i32.const 1))"""
    served.write(module(2, second_start))
    served.reload("p")
    assert [each.error == "" for each in served.outcomes] == [True, False]
    assert "proxy_on_vm_start returned false" in served.outcomes[1].error
    assert (first.version(), served.version()) == (2, 1)


def test_a_trap_after_a_reload_restarts_the_new_code(served):
    served.write(module(2, TRAPPING))
    served.reload()
    request = Request(served.plugin)
    request.headers()
    request.answer()
    assert served.plugin.vm is None
    assert served.version() == 2


def test_a_trap_in_the_old_vm_leaves_the_new_one_alone(tmp_path):
    served = Filter(World(), tmp_path / "f.wasm", module(1, TRAPPING))
    late = Request(served.plugin)
    late.headers()
    served.write(module(2))
    served.reload()
    new = served.plugin.vm
    late.answer()
    assert late.callbacks.reply.status == 503
    assert served.plugin.vm is new
    assert served.version() == 2
    late.end()
    served.world.dispatcher.advance(0)
    assert living(served.world) == 1


def test_plugins_of_one_vm_move_together_and_only_the_named_ones_are_reloaded(tmp_path):
    world = World()
    one = Filter(world, tmp_path / "f.wasm", module(1), root_id="one")
    two = Filter(world, tmp_path / "f.wasm", root_id="two")
    other = world.plugin(module(1), name="other")
    before = other.vm
    assert one.plugin.vm is two.plugin.vm
    one.write(module(2))
    one.reload("p")
    assert one.plugin.vm is two.plugin.vm
    assert (one.version(), two.version()) == (2, 2)
    assert other.vm is before
    assert [each.plugin for each in one.outcomes] == ["p", "p"]


def test_requests_wait_for_each_other_and_the_last_code_wins(served):
    pending = []
    served.world.services.offload = lambda work, done: pending.append((work, done))
    served.write(module(2))
    served.reload()
    served.reload()
    assert len(pending) == 1
    work, done = pending.pop()
    found = work()
    served.write(module(3))
    done(found)
    assert served.version() == 2
    work, done = pending.pop()
    done(work())
    assert served.version() == 3
    assert len(served.outcomes) == 2


def test_a_plugin_that_was_closed_meanwhile_is_not_started(served):
    pending = []
    served.world.services.offload = lambda work, done: pending.append((work, done))
    served.reload()
    served.plugin.close()
    work, done = pending.pop()
    done(work())
    assert served.outcomes == []
    assert living(served.world) == 0


def test_compiled_code_that_nobody_uses_is_let_go(served):
    engine = served.world.services.engine
    old = served.plugin.digest
    served.write(module(77))
    served.reload()
    assert old not in engine._modules
    assert served.plugin.digest in engine._modules


# -- on change ---------------------------------------------------------------------------------


def test_a_changed_file_is_loaded_once_it_is_left_alone(served):
    served.world.pool.reloader.watch()
    served.world.dispatcher.advance(POLL)
    assert served.version() == 1
    served.write(module(2)[:20])
    served.world.dispatcher.advance(POLL)
    served.write(module(2))
    served.world.dispatcher.advance(POLL)
    assert served.version() == 1
    served.world.dispatcher.advance(POLL)
    assert served.version() == 2
    served.world.dispatcher.advance(10 * POLL)
    assert served.count("module_reload_success") == 1
    assert served.count("module_reload_failure") == 0


def test_a_changed_file_that_is_being_loaded_on_request_is_not_loaded_twice(served):
    compiling = []
    at_once = served.world.services.offload

    def offload(work, done):
        if done == served.world.pool.reloader._swap:
            compiling.append((work, done))
        else:
            at_once(work, done)

    served.world.services.offload = offload
    served.world.pool.reloader.watch()
    served.write(module(2))
    served.reload()
    served.world.dispatcher.advance(5 * POLL)
    [(work, done)] = compiling
    done(work())
    assert served.version() == 2
    served.world.dispatcher.advance(5 * POLL)
    assert len(compiling) == 1
    served.write(module(3))
    served.world.dispatcher.advance(3 * POLL)
    assert len(compiling) == 2


def test_a_changed_file_that_fails_is_tried_once(served):
    served.world.pool.reloader.watch()
    served.write(b"nonsense")
    served.world.dispatcher.advance(10 * POLL)
    assert served.count("module_reload_failure") == 1
    assert served.version() == 1
    served.write(module(3))
    served.world.dispatcher.advance(3 * POLL)
    assert served.version() == 3


def test_a_file_that_is_gone_changes_nothing(served):
    served.world.pool.reloader.watch()
    served.path.unlink()
    served.world.dispatcher.advance(5 * POLL)
    assert served.version() == 1
    assert served.count("module_reload_failure") == 0


def test_a_plugin_may_refuse_to_be_watched(tmp_path):
    served = Filter(World(), tmp_path / "f.wasm", module(1), reload_on_change=False)
    served.world.pool.reloader.watch()
    served.write(module(2))
    served.world.dispatcher.advance(5 * POLL)
    assert served.version() == 1


# -- the end of a root -------------------------------------------------------------------------


def test_a_guest_that_is_never_done_is_ended_after_its_time(tmp_path, caplog):
    never = '(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))'
    served = Filter(World(), tmp_path / "f.wasm", module(1, never), done_timeout=3.0)
    old = served.plugin.vm
    served.reload()
    served.world.dispatcher.advance(2.9)
    assert old.failed is None
    served.world.dispatcher.advance(0.2)
    assert old.failed is not None
    assert "proxy_done was not called within 3 s" in caplog.text
