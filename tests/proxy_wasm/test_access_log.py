"""A plugin as access log: what it sees of a stream, and when it is not asked."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.proxy_wasm.access_log import WasmAccessLog
from meshproxy.proxy_wasm.config import FAIL_CLOSED
from meshproxy.proxy_wasm.restart import MAX_RESTARTS
from tests.support.wat_filter import World, filter_text, memory_of


def logger(body: str, world: World | None = None, passes=None, **settings):
    """A plugin with this `proxy_on_log`, and the access log that it is."""
    text = filter_text(f"""(func (export "proxy_on_log") (param i32)
      (i32.store (i32.const 0) (local.get 0)) {body})""")
    plugin = (world or World()).plugin(text, name="p", **settings)
    return plugin, WasmAccessLog(plugin, passes)


def finished(path: bytes = b"/p") -> StreamInfo:
    info = StreamInfo()
    info.request_headers = HeaderMap([(b":path", path), (b"a", b"request")])
    info.request_trailers = HeaderMap([(b"a", b"request trailer")])
    info.response_headers = HeaderMap([(b":status", b"404"), (b"a", b"response")])
    info.response_trailers = HeaderMap([(b"a", b"response trailer")])
    info.response_code = 404
    info.response_code_details = "via_upstream"
    return info


def words(plugin, address, count=1):
    data = memory_of(plugin).read(address, 4 * count)
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def text(plugin, address):
    at, size = words(plugin, address, 2)
    return memory_of(plugin).read(at, size)


GET = """(i32.store (i32.const 4) (call $proxy_get_header_map_value (i32.const {map}) "a"/
  (i32.const 16) (i32.const 20)))"""


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("map_type", "value"),
    [(0, b"request"), (1, b"request trailer"), (2, b"response"), (3, b"response trailer")],
)
def test_the_root_sees_all_maps_of_the_stream(map_type, value, strict):
    plugin, log = logger(GET.format(map=map_type), strict=strict)
    log.log(finished())
    assert words(plugin, 0, 2) == [1, 0]  # the root's id, and OK
    assert text(plugin, 16) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("request\\00path", b"/p"),
        ("response\\00code", (404).to_bytes(8, "little")),
        ("response\\00code_details", b"via_upstream"),
        ("plugin_name", b"p"),
    ],
)
def test_the_root_sees_the_properties_of_the_stream(path, value):
    name = path.replace("\\00", "\\x00")
    plugin, log = logger(
        f'(drop (call $proxy_get_property "{name}"/ (i32.const 16) (i32.const 20)))'
    )
    log.log(finished())
    assert text(plugin, 16) == value


def test_pairs_are_those_of_this_stream_and_not_of_the_last_one():
    plugin, log = logger(
        "(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20)))"
    )
    log.log(finished(b"/first"))
    log.log(finished(b"/second"))
    assert b"/second" in text(plugin, 16)


def test_no_context_is_made_and_afterwards_there_is_no_stream():
    plugin, log = logger("")
    log.log(finished())
    assert list(plugin.vm.contexts) == [1]
    root = plugin.root
    assert root.info is None
    assert root.readable(0) is None
    assert root.get_property(b"request\0path") == 1


def test_the_filter_of_the_access_log_decides():
    plugin, log = logger("", passes=lambda info: info.response_code != 404)
    log.log(finished())
    assert words(plugin, 0) == [0]


def test_a_module_without_the_callback_logs_nothing():
    plugin = World().plugin(filter_text(""))
    WasmAccessLog(plugin, None).log(finished())
    assert plugin.vm.failed is None


def test_after_a_trap_the_next_stream_is_logged_by_a_fresh_vm():
    world = World()
    _, log = logger("unreachable", world)
    for _ in range(3):
        log.log(finished())
    assert world.store.metrics["wasm.p.traps"].value == 3
    for _ in range(50):
        log.log(finished())
    linked_ahead = 1
    assert world.store.metrics["wasm.p.traps"].value == 1 + MAX_RESTARTS + linked_ahead


def test_a_plugin_that_failed_closed_logs_no_more():
    world = World()
    plugin, log = logger("unreachable", world, failure_policy=FAIL_CLOSED)
    log.log(finished())
    log.log(finished())
    assert world.store.metrics["wasm.p.traps"].value == 1
    assert plugin.vm is None
