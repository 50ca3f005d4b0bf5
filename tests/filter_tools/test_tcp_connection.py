import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.http_stream import OutOfOrder
from meshproxy.proxy_wasm.config import FAIL_CLOSED
from tests.support.wat_filter import filter_text

DATA = "(param i32 i32 i32) (result i32)"
# Marks what comes from either side, waits for the second piece from downstream when it begins with
# `w`, closes on `c`, traps on `t`.
FILTER = bytes(wat2wasm(filter_text(f"""
(func $first (result i32)
  (drop (call $proxy_get_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 1)
    (i32.const 16) (i32.const 20)))
  (i32.load8_u (i32.load (i32.const 16))))
(func (export "proxy_on_new_connection") (param i32) (result i32)
  (drop (call $proxy_log (i32.const 2) "new"/)) (i32.const 0))
(func (export "proxy_on_downstream_data") {DATA} (local $letter i32)
  (local.set $letter (call $first))
  (if (i32.eq (local.get $letter) (i32.const 116)) (then unreachable))
  (if (i32.eq (local.get $letter) (i32.const 99)) (then
    (drop (call $proxy_close_stream (i32.const 2)))))
  (if (i32.and (i32.eq (local.get $letter) (i32.const 119))
      (i32.lt_u (local.get 1) (i32.const 4))) (then (return (i32.const 1))))
  (drop (call $proxy_set_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 0) ">"/))
  (i32.const 0))
(func (export "proxy_on_upstream_data") {DATA}
  (drop (call $proxy_set_buffer_bytes (i32.const 3) (i32.const 0) (i32.const 0) "<"/))
  (i32.const 0))
(func (export "proxy_on_downstream_connection_close") (param i32 i32)
  (drop (call $proxy_log (i32.const 2) "closed"/)))""")))  # fmt: skip


def test_bytes_go_both_ways_through_the_filter(harness):
    loaded = harness.load(FILTER)
    connection = loaded.connection()
    connection.send("ab")
    connection.receive(b"answer")
    connection.send("last", end_stream=True)
    # The end is a callback of its own, with no bytes; this filter marks that, too.
    assert (connection.upstream, connection.upstream_ended) == (b">ab>last>", True)
    assert (connection.downstream, connection.closed) == (b"<answer", "")
    connection.close()
    connection.close()
    assert connection.closed == "remote"
    assert [line.text for line in loaded.logs] == ["new", "closed"]


def test_what_the_filter_waits_with_comes_together(harness):
    connection = harness.load(FILTER).connection()
    connection.send("wai")
    assert connection.upstream == b""
    connection.send("t")
    assert connection.upstream == b">wait"


def test_a_filter_closes_the_connection(harness):
    loaded = harness.load(FILTER)
    connection = loaded.connection()
    connection.send("c")
    assert connection.closed == "local"
    assert loaded.logs[-1].text == "closed"
    with pytest.raises(OutOfOrder, match="the filter has closed the connection"):
        connection.send("more")


def test_a_trap_closes_the_connection_and_is_noted(harness):
    loaded = harness.load(FILTER)
    connection = loaded.connection()
    connection.send("t")
    assert connection.closed == "local"
    assert len(loaded.traps) == 1
    again = loaded.connection()
    again.send("ok")
    assert again.upstream == b">ok"


def test_a_connection_that_finds_no_vm_is_closed(harness):
    loaded = harness.load(FILTER, failure_policy=FAIL_CLOSED)
    loaded.connection().send("t")
    assert loaded.connection().closed == "local"


def test_filters_stand_in_a_chain(harness):
    first, second = harness.load(FILTER, name="a"), harness.load(FILTER, name="b")
    connection = harness.connection(first, second)
    connection.send("x")
    connection.receive("y")
    assert (connection.upstream, connection.downstream) == (b">>x", b"<<y")


def test_a_client_that_is_done_cannot_send(harness):
    connection = harness.load(FILTER).connection()
    connection.send("x", end_stream=True)
    with pytest.raises(OutOfOrder, match="half-closed"):
        connection.send("y")
    connection.receive("late")
    assert connection.downstream == b"<late"
    connection.close()
    with pytest.raises(OutOfOrder, match="the client has closed"):
        connection.receive("x")


def test_the_end_of_the_harness_closes_connections(harness):
    connection = harness.load(FILTER).connection(source="10.0.0.1:99")
    harness.close()
    assert connection.closed == "remote"
