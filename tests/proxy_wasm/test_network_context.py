"""A connection of a plugin: what parity with Envoy does not show."""

from types import SimpleNamespace

import pytest

from meshproxy.http.buffer import Buffer
from meshproxy.http.stream_info import StreamInfo
from meshproxy.network.address import Address
from meshproxy.proxy_wasm import network_context, properties
from meshproxy.proxy_wasm.abi import NOT_FOUND
from meshproxy.proxy_wasm.network_context import CONTINUE, STOP_ITERATION, NetworkContext
from tests.support.wat_filter import World, filter_text

DATA = "(param i32 i32 i32) (result i32)"


class Connection:
    """A connection and its filter's callbacks; `events` says what was asked for."""

    def __init__(self, plugin) -> None:
        self.events = []
        callbacks = SimpleNamespace(
            info=StreamInfo(),
            connection=SimpleNamespace(
                close_after_flush=lambda linger: self.events.append("close"),
                remote_address=Address.parse("192.0.2.7", 4711),
            ),
            continue_reading=lambda: self.events.append("continue"),
        )
        self.filter = NetworkContext(plugin.root, callbacks)

    def read(self, data: bytes, end_stream: bool = False) -> int:
        return self.filter.on_data(Buffer(data), end_stream)

    def write(self, data: bytes, end_stream: bool = False) -> tuple[int, bytes]:
        buffer = Buffer(data)
        return self.filter.on_write(buffer, end_stream), buffer.peek()


def plugin(functions: str, world: World | None = None, **settings):
    return (world or World()).plugin(filter_text(functions), name="p", **settings)


def test_without_callbacks_everything_passes():
    connection = Connection(plugin(""))
    assert connection.filter.on_new_connection() == CONTINUE
    assert connection.read(b"x") == CONTINUE
    assert connection.write(b"y") == (CONTINUE, b"y")
    connection.filter.on_closed(False)
    assert connection.filter.root.streams == 0


def test_data_before_the_connection_was_announced_are_not_shown():
    trapping = f'(func (export "proxy_on_downstream_data") {DATA} unreachable)'
    connection = Connection(plugin(trapping))
    assert connection.read(b"x") == CONTINUE
    assert connection.filter.vm.failed is None


HOLDING = f"""(func (export "proxy_on_upstream_data") {DATA} (i32.eqz (local.get 2)))
  (func (export "proxy_on_downstream_data") {DATA} (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $proxy_set_effective_context (i32.const 2)))
    (drop (call $proxy_continue_stream (i32.const 2)))
    (i32.store (i32.const 0) (call $proxy_continue_stream (i32.const 3)))
    (i32.store (i32.const 4) (call $proxy_continue_stream (i32.const 4))))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 100))) (i32.const 1))"""


def test_what_is_held_back_from_upstream_comes_with_what_follows():
    connection = Connection(plugin(HOLDING))
    connection.filter.on_new_connection()
    assert connection.write(b"one") == (STOP_ITERATION, b"")
    assert connection.write(b"two") == (STOP_ITERATION, b"")
    assert connection.write(b"!", end_stream=True) == (CONTINUE, b"onetwo!")


def test_holding_back_too_much_ends_the_connection(monkeypatch, caplog):
    monkeypatch.setattr(network_context, "MAX_HELD", 10)
    connection = Connection(plugin(HOLDING))
    connection.filter.on_new_connection()
    connection.write(b"12345")
    assert connection.events == []
    connection.write(b"678901")
    assert connection.events == ["close"]
    assert "holds back more than 10 bytes" in caplog.text


def test_a_connection_that_is_stopped_goes_on_when_the_guest_says_so():
    world = World()
    connection = Connection(plugin(HOLDING, world))
    connection.filter.on_new_connection()
    assert connection.read(b"x") == STOP_ITERATION
    world.dispatcher.advance(0.1)
    assert connection.events == ["continue"]
    world.dispatcher.advance(0.1)
    assert connection.events == ["continue"]
    memory = connection.filter.vm.memory
    assert (memory.read(0, 4)[0], memory.read(4, 4)[0]) == (12, 2)


@pytest.mark.parametrize(
    "callback", ["new_connection", "downstream_data", "upstream_data", "upstream_connection_close"]
)
@pytest.mark.parametrize("settings", [{}, {"fail_open": True}])
def test_a_trap_closes_the_connections_of_the_vm_or_lets_them_pass(callback, settings):
    types = {"new_connection": "(param i32) (result i32)",
             "upstream_connection_close": "(param i32 i32)"}.get(callback, DATA)  # fmt: skip
    made = plugin(f'(func (export "proxy_on_{callback}") {types} unreachable)', **settings)
    waiting, connection = Connection(made), Connection(made)
    connection.filter.on_new_connection()
    read, (wrote, data) = connection.read(b"x"), connection.write(b"y", end_stream=True)
    assert made.vm is None
    if settings:
        assert (read, wrote, data) == (CONTINUE, CONTINUE, b"y")
        assert connection.events == []
        assert waiting.filter.on_new_connection() == CONTINUE
    else:
        assert connection.events == ["close"]
        assert waiting.filter.on_new_connection() == STOP_ITERATION
        assert waiting.events == ["close"]
    connection.filter.on_closed(True)
    waiting.filter.on_closed(True)
    assert connection.filter.root.streams == 0


def test_an_old_vm_ends_with_its_last_connection():
    world = World()
    made = plugin("", world)
    connection = Connection(made)
    connection.filter.on_new_connection()
    old = made.vm
    world.pool.reloader.reload((), lambda outcomes: None)
    assert made.vm is not old
    assert old.failed is None
    connection.filter.on_closed(False)
    world.dispatcher.advance(0)
    assert old.failed is not None


def test_properties_and_values_belong_to_the_connection():
    made = plugin(
        """(func (export "proxy_on_new_connection") (param i32) (result i32)
          (drop (call $proxy_set_property "k"/ "value"/))
          (drop (call $proxy_get_property "k"/ (i32.const 0) (i32.const 4))) (i32.const 0))"""
    )
    connection = Connection(made)
    connection.filter.on_new_connection()
    assert connection.filter.info.filter_state == {"wasm.k": b"value"}
    memory = connection.filter.vm.memory
    at, size = (int.from_bytes(memory.read(each, 4), "little") for each in (0, 4))
    assert memory.read(at, size) == b"value"


def answering(name: str, types: str, answer: str) -> str:
    return f'(func (export "proxy_on_{name}") {types} {answer})'


@pytest.mark.parametrize(
    ("callback", "functions", "drive"),
    [
        ("new_connection", answering("new_connection", "(param i32) (result i32)", "i32.const 1"),
         lambda connection: None),
        ("downstream_data", answering("downstream_data", DATA, "i32.const 1"),
         lambda connection: connection.read(b"x")),
        ("downstream_data", answering("downstream_data", DATA, "local.get 2"),
         lambda connection: connection.read(b"", end_stream=True)),
        ("upstream_data", answering("upstream_data", DATA, "i32.const 1"),
         lambda connection: connection.write(b"x")),
    ],
    ids=["new connection", "downstream", "end of downstream", "upstream"],
)  # fmt: skip
def test_a_connection_that_waits_too_long_for_its_guest_is_closed(
    callback, functions, drive, caplog
):
    world = World()
    connection = Connection(plugin(functions, world, paused_timeout=5.0))
    connection.filter.on_new_connection()
    drive(connection)
    assert len(connection.filter.root.paused) == 1
    world.dispatcher.advance(4.9)
    assert connection.events == []
    world.dispatcher.advance(0.2)
    assert connection.events == ["close"]
    assert world.store.metrics["wasm.p.streams_paused_timeout"].value == 1
    said = f"the connection from 192.0.2.7:4711 (context 2) was paused by proxy_on_{callback} 5 s"
    assert said in caplog.text
    world.dispatcher.advance(60)
    assert connection.events == ["close"]


STOPS_AT_X = answering(
    "downstream_data", DATA,
    """(drop (call $proxy_get_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0)
         (i32.const 4)))
       (i32.eq (i32.load8_u (i32.load (i32.const 0))) (i32.const 120))""",
)  # fmt: skip


def test_bytes_that_come_begin_the_wait_anew_and_going_on_ends_it():
    world = World()
    connection = Connection(plugin(STOPS_AT_X, world, paused_timeout=5.0))
    connection.filter.on_new_connection()
    for _ in range(5):
        assert connection.read(b"x") == STOP_ITERATION
        world.dispatcher.advance(4)
    assert connection.read(b"y") == CONTINUE
    assert len(connection.filter.root.paused) == 0
    world.dispatcher.advance(60)
    assert connection.events == []


@pytest.mark.parametrize("ending", ["closed", "taken", "continued", "failed"])
def test_a_connection_waits_no_more_when(ending):
    world = World()
    taking = """(drop (call $proxy_set_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 9)
      (i32.const 0) (i32.const 0)))"""
    stops = answering(
        "downstream_data", DATA, f"{taking if ending == 'taken' else ''} (i32.const 1)"
    )
    connection = Connection(plugin(stops, world, paused_timeout=5.0))
    connection.filter.on_new_connection()
    connection.read(b"x")
    assert len(connection.filter.root.paused) == (ending != "taken")
    if ending == "closed":
        connection.filter.on_closed(False)
    elif ending == "continued":
        connection.filter.continue_stream(2)
        connection.filter.vm.run_deferred()
    elif ending == "failed":
        connection.filter.vm.fail(ValueError("x"), "tick")
    before = list(connection.events)
    assert len(connection.filter.root.paused) == 0
    world.dispatcher.advance(60)
    assert connection.events == before


@pytest.mark.parametrize("table", ["request", "response", "upstream", "connection", "source"])
def test_what_only_a_request_has_is_not_found_on_a_connection(table):
    connection = Connection(plugin(""))
    connection.filter.on_new_connection()
    facts = getattr(properties, table.upper())
    for name in facts:
        path = f"{table}\0{name}".replace(".*", "\0x").encode()
        assert isinstance(connection.filter.get_property(path), bytes | int), path
    if table == "request":
        for name in ("url_path", "query", "path"):
            assert connection.filter.get_property(f"request\0{name}".encode()) == NOT_FOUND
