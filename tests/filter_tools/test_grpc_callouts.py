import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.grpc_callouts import GrpcResponse
from meshproxy.filter_tools.harness import FilterHarness
from tests.support.wat_filter import ENGINE, filter_text

NOTING = """
(func $note (param $letter i32) (param $number i32)
  (i32.store8 (i32.const 1024) (local.get $letter))
  (i32.store8 (i32.const 1025) (i32.add (i32.const 48) (local.get $number)))
  (drop (call $proxy_log (i32.const 2) (i32.const 1024) (i32.const 2))))
(func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32)
  (call $note (i32.const 105) (local.get 2)))
(func (export "proxy_on_grpc_receive") (param i32 i32 i32)
  (call $note (i32.const 109) (local.get 2)))
(func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32)
  (call $note (i32.const 116) (local.get 2)))
(func (export "proxy_on_grpc_close") (param i32 i32 i32)
  (call $note (i32.const 99) (local.get 2)))"""
"""Logs what comes: `i` initial metadata, `m` message, `t` trailing metadata, `c` close."""


def filter_code(call: str, later: str = "(i32.const 0)") -> bytes:
    return bytes(wat2wasm(filter_text(f"""{NOTING}
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop {call}) (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
      (drop {later}) (i32.const 0))""")))  # fmt: skip


def unary(timeout: int = 500) -> bytes:
    return filter_code(f"""(call $proxy_grpc_call "users"/ "pkg.Users"/ "Get"/ ""/ "question"/
      (i32.const {timeout}) (i32.const 16))""")


OPEN = """(call $proxy_grpc_stream "users"/ "pkg.Users"/ "Watch"/ ""/ (i32.const 16))"""


def notes(harness) -> list[str]:
    return [line.text for line in harness.logs]


def test_a_call_is_recorded_and_answered(harness):
    loaded = harness.load(unary())
    loaded.request()
    [callout] = loaded.grpc_callouts
    assert (callout.upstream, callout.path, callout.timeout) == ("users", "/pkg.Users/Get", 0.5)
    assert (callout.messages, callout.half_closed) == ([b"question"], True)
    callout.respond(b"answer")
    assert notes(harness) == ["m6"]
    assert (callout.status, callout.pending) == (0, False)
    with pytest.raises(RuntimeError, match="has ended with 0"):
        callout.fail()


def test_a_failed_call_is_closed_with_its_status(harness):
    harness.load(unary()).request()
    harness.grpc_callouts[0].fail(5, "no such user")
    assert notes(harness) == ["c5"]


def test_nobody_answers_and_the_time_is_up(harness):
    harness.load(unary()).request()
    harness.advance(0.499)
    assert notes(harness) == []
    harness.advance(0.001)
    assert [line[0] for line in notes(harness)] == ["c"]
    assert harness.grpc_callouts[0].status == 14


def test_a_script_answers_by_itself(harness):
    harness.on_grpc_callout("users", lambda callout: GrpcResponse(callout.messages[0][:3]))
    harness.load(unary()).request()
    assert notes(harness) == ["m3"]


def test_a_stream_is_answered_piece_by_piece(harness):
    harness.load(filter_code(OPEN)).request()
    [callout] = harness.grpc_callouts
    assert (callout.messages, callout.half_closed) == ([], False)
    callout.send_metadata({"a": "1", "b": "2"})
    callout.send(b"one")
    callout.send(b"")
    callout.close(3, "wrong", {"x": "y"})
    assert notes(harness) == ["i2", "m3", "m0", "t1", "c3"]
    with pytest.raises(RuntimeError, match="has ended with 3"):
        callout.send(b"late")


def test_metadata_come_once(harness):
    harness.load(filter_code(OPEN)).request()
    [callout] = harness.grpc_callouts
    callout.send(b"one")
    with pytest.raises(RuntimeError, match="has begun already"):
        callout.send_metadata()


def test_what_the_filter_sends_later_is_seen(harness):
    sending = """(call $proxy_grpc_send (i32.load (i32.const 16)) "more"/ (i32.const 1))"""
    stream = harness.load(filter_code(OPEN, sending)).stream()
    stream.request_headers("POST")
    stream.request_body("x")
    [callout] = harness.grpc_callouts
    assert (callout.messages, callout.half_closed) == ([b"more"], True)


def test_a_call_that_the_filter_gives_up_is_cancelled(harness):
    cancelling = "(call $proxy_grpc_cancel (i32.load (i32.const 16)))"
    stream = harness.load(filter_code(OPEN, cancelling)).stream()
    stream.request_headers("POST")
    stream.request_body("x")
    [callout] = harness.grpc_callouts
    assert callout.cancelled
    with pytest.raises(RuntimeError, match="was cancelled"):
        callout.close()
    assert notes(harness) == []


def test_a_call_to_a_cluster_that_does_not_exist_is_refused():
    with FilterHarness(engine=ENGINE, clusters=["other"]) as harness:
        harness.load(unary()).request()
        assert harness.grpc_callouts == []
