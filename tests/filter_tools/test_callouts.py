import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.messages import Response
from meshproxy.proxy_wasm.pairs import encode
from tests.support.wat_filter import ENGINE, filter_text

CHECK = encode([(b":method", b"GET"), (b":path", b"/check"), (b":authority", b"auth")])


def asking(timeout: int = 500) -> bytes:
    """Asks `auth` about every request; what it says becomes the header `x-auth`."""
    text = "".join(f"\\x{byte:02x}" for byte in CHECK)
    return bytes(wat2wasm(filter_text(f"""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (global.set $stream (local.get 0))
      (if (call $proxy_http_call "auth"/ "{text}"/ "who"/ ""/ (i32.const {timeout}) (i32.const 4))
        (then (return (i32.const 0))))
      (i32.const 1))
    (global $stream (mut i32) (i32.const 0))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
      (drop (call $proxy_get_header_map_value (i32.const 6) ":status"/
        (i32.const 24) (i32.const 28)))
      (drop (call $proxy_set_effective_context (global.get $stream)))
      (drop (call $proxy_add_header_map_value (i32.const 0) "x-auth"/
        (i32.load (i32.const 24)) (i32.load (i32.const 28))))
      (drop (call $proxy_continue_stream (i32.const 0))))""")))  # fmt: skip


def test_the_request_waits_until_the_callout_is_answered(harness):
    loaded = harness.load(asking())
    stream = loaded.request()
    assert stream.request_paused
    [callout] = loaded.callouts
    assert (callout.upstream, callout.headers[":path"], callout.body) == ("auth", "/check", b"who")
    assert (callout.timeout, callout.pending) == (0.5, True)
    callout.respond(204)
    assert stream.upstream.headers["x-auth"] == "204"
    assert not stream.request_paused
    with pytest.raises(RuntimeError, match="has its answer already"):
        callout.respond(200)


def test_nobody_answers_and_the_time_is_up(harness):
    stream = harness.load(asking()).request()
    harness.advance(0.499)
    assert stream.request_paused
    harness.advance(0.001)
    assert stream.upstream.headers["x-auth"] == "504"


def test_a_callout_without_timeout_waits_as_long_as_a_stream_may(harness):
    stream = harness.load(asking(timeout=0)).request()
    harness.advance(59)
    assert stream.request_paused
    harness.advance(2)
    assert stream.ended
    assert "was paused by proxy_on_request_headers 60 s ago" in harness.logs[-1].text


def test_a_failed_callout_is_a_503(harness):
    stream = harness.load(asking()).request()
    harness.callouts[0].fail()
    assert stream.upstream.headers["x-auth"] == "503"


def test_a_scripted_answer_comes_by_itself(harness):
    harness.on_callout("auth", Response(200))
    stream = harness.load(asking()).request()
    assert stream.upstream.headers["x-auth"] == "200"
    assert stream.downstream.status == 200


def test_a_script_may_look_at_the_call(harness):
    harness.on_callout("auth", lambda callout: Response(len(callout.body) + 400))
    assert harness.load(asking()).request().upstream.headers["x-auth"] == "403"


def test_a_callout_to_a_cluster_that_does_not_exist_is_refused():
    with FilterHarness(engine=ENGINE, clusters=["other"]) as harness:
        stream = harness.load(asking()).request()
        assert harness.callouts == []
        assert stream.downstream.status == 200


def test_the_end_of_the_plugin_cancels_what_is_under_way(harness):
    loaded = harness.load(asking())
    stream = loaded.request()
    loaded.close()
    assert loaded.callouts[0].pending  # the stream goes on
    stream.disconnect()
    assert loaded.callouts[0].cancelled
    with pytest.raises(RuntimeError, match="was cancelled"):
        loaded.callouts[0].respond()
