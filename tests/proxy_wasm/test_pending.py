"""Plugins whose code has to be fetched: until it is there, and when it does not come."""

import pytest

from meshproxy.http.filter import CONTINUE, StreamFilter
from meshproxy.proxy_wasm.config import FAIL_CLOSED, FAIL_OPEN
from meshproxy.proxy_wasm.plugin import FailedFilter
from meshproxy.proxy_wasm.reload import FETCH_AGAIN
from meshproxy.wasm.code_source import RemoteCode
from meshproxy.wasm.errors import FetchError, ModuleError
from tests.support.wat_filter import Request, World, filter_text

GOOD = filter_text("")
REFUSING = filter_text(
    '(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))'
)


class FakeFetcher:
    """Has what it is given; `None` is a failure."""

    def __init__(self) -> None:
        self.code: bytes | None = None
        self.here = False
        self.fetched = 0

    def cached(self, source):
        return self.code if self.here else None

    def fetch(self, source):
        self.fetched += 1
        if self.code is None:
            raise FetchError(source.name, "status 503")
        return self.code


@pytest.fixture
def world():
    world = World()
    world.services.fetcher = FakeFetcher()
    return world


def remote(world, **settings):
    nack = settings.pop("nack", False)
    code = RemoteCode("http://x/f.wasm", nack_on_miss=nack)
    return world.plugin(b"", code=code, name="p", **settings)


def fetch(world) -> list[str]:
    done = []
    world.pool.reloader.fetch_pending(lambda: done.append("done"))
    return done


def assemble(world, text: str) -> bytes:
    return world.services.engine.assemble(text)


@pytest.mark.parametrize(
    ("policy", "kind"), [(0, FailedFilter), (FAIL_CLOSED, FailedFilter), (FAIL_OPEN, StreamFilter)]
)
def test_until_the_code_is_there_the_failure_policy_decides(world, policy, kind):
    plugin = remote(world, failure_policy=policy)
    assert plugin.pending
    assert type(plugin.new_filter()) is kind
    assert world.store.metrics["wasm.p.vm_reload_backoff"].value == 0


def test_once_it_is_there_streams_go_through_it(world):
    plugin = remote(world, failure_policy=FAIL_CLOSED)
    world.services.fetcher.code = assemble(world, GOOD)
    assert fetch(world) == ["done"]
    assert not plugin.pending
    assert Request(plugin).headers() == CONTINUE
    assert plugin.vm is not None
    assert world.dispatcher.timers == []


def test_code_that_is_here_already_needs_no_fetch(world):
    world.services.fetcher.code, world.services.fetcher.here = assemble(world, GOOD), True
    plugin = remote(world)
    assert not plugin.pending
    assert Request(plugin).headers() == CONTINUE
    assert fetch(world) == ["done"]
    assert world.services.fetcher.fetched == 0


def test_what_does_not_come_is_tried_again_until_it_does(world, caplog):
    plugin = remote(world)
    assert fetch(world) == ["done"]
    assert "wasm log p: failed to load: http://x/f.wasm: status 503" in caplog.text
    world.dispatcher.advance(3 * FETCH_AGAIN)
    assert world.services.fetcher.fetched == 4
    world.services.fetcher.code = assemble(world, GOOD)
    world.dispatcher.advance(FETCH_AGAIN)
    assert Request(plugin).headers() == CONTINUE
    world.dispatcher.advance(10 * FETCH_AGAIN)
    assert world.services.fetcher.fetched == 5


@pytest.mark.parametrize("text", [REFUSING, None])
def test_what_comes_and_cannot_run_is_not_tried_again_by_itself(world, text):
    plugin = remote(world)
    world.services.fetcher.code = assemble(world, text) if text else b"junk" * 9
    fetch(world)
    world.dispatcher.advance(10 * FETCH_AGAIN)
    assert world.services.fetcher.fetched == 1
    assert type(plugin.new_filter()) is FailedFilter
    world.services.fetcher.code = assemble(world, GOOD)
    world.pool.reloader.reload((), lambda outcomes: None)
    assert Request(plugin).headers() == CONTINUE


def test_a_miss_may_refuse_the_plugin(world):
    with pytest.raises(ModuleError, match="is not here yet"):
        remote(world, nack=True)


def test_without_a_fetcher_nothing_remote_can_be_had():
    with pytest.raises(ModuleError, match="nothing here fetches"):
        World().plugin(b"", code=RemoteCode("http://x/f.wasm", nack_on_miss=True))


def test_a_plugin_that_is_closed_while_it_waits_is_forgotten(world):
    plugin = remote(world)
    fetch(world)
    plugin.close()
    world.dispatcher.advance(10 * FETCH_AGAIN)
    assert world.services.fetcher.fetched == 1
