import pytest
from wasmtime import wat2wasm

from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.http_stream import OutOfOrder
from meshproxy.filter_tools.messages import Response
from tests.support.wat_filter import ENGINE, filter_text


def module(functions: str) -> bytes:
    return bytes(wat2wasm(filter_text(functions)))


NOTHING = module("")
PAUSING = module(
    """(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"""
)
DENYING = module("""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_send_local_response (i32.const 403) "not allowed"/ "no"/ ""/
        (i32.const -1)))
      (i32.const 1))""")
BUFFERING = module("""
    (func $all (param i32 i32 i32) (result i32)
      (if (i32.eqz (local.get 2)) (then (return (i32.const 1))))
      (i32.const 0))
    (export "proxy_on_request_body" (func $all)) (export "proxy_on_response_body" (func $all))""")


def test_every_phase_goes_through(harness):
    stream = harness.load(NOTHING).stream()
    stream.request_headers("POST", "/a?b", {"X-One": "1"}, authority="shop.example")
    assert stream.upstream.headers.get("x-one") == "1"
    assert stream.upstream.headers[":authority"] == "shop.example"
    stream.request_body("ab")
    stream.request_body(b"cd")
    assert (stream.upstream.body, stream.upstream.complete) == (b"abcd", False)
    stream.request_trailers({"t": "1"})
    assert (stream.upstream.trailers["t"], stream.upstream.complete) == ("1", True)
    stream.response_headers(201, [("x", "1"), ("x", "2")])
    stream.response_body("answer")
    assert not stream.downstream.complete
    stream.response_trailers({"u": "2"})
    assert stream.downstream.status == 201
    assert stream.downstream.headers.values("x") == ["1", "2"]
    assert (stream.downstream.body, stream.downstream.trailers["u"]) == (b"answer", "2")
    assert stream.ended
    assert stream.response_code_details == "via_upstream"
    assert stream.local_reply is None


def test_host_is_the_authority(harness):
    stream = harness.load(NOTHING).stream()
    stream.request_headers(headers={"Host": "other"}, end_stream=True)
    assert stream.upstream.headers.values(":authority") == ["other"]
    assert "host" not in stream.upstream.headers


def test_a_local_reply_is_told_from_the_upstreams_answer(harness):
    stream = harness.load(DENYING).request()
    assert stream.local_reply.status == 403
    assert stream.local_reply.body == b"no"
    assert stream.response_code_details == "not_allowed"
    assert stream.upstream.headers is None
    assert stream.ended


def test_what_is_held_back_has_not_reached_the_upstream(harness):
    stream = harness.load(BUFFERING).stream()
    stream.request_headers("POST")
    stream.request_body("ab")
    assert stream.request_paused
    assert stream.upstream.body == b""
    stream.request_body("cd", end_stream=True)
    assert (stream.upstream.body, stream.request_paused) == (b"abcd", False)
    stream.response_headers()
    stream.response_body("x")
    assert stream.response_paused
    stream.response_body("y", end_stream=True)
    assert (stream.downstream.body, stream.response_paused) == (b"xy", False)


def test_the_routes_decide_the_cluster():
    with FilterHarness(engine=ENGINE, routes={"/": "web", "/api/": "api"}) as harness:
        loaded = harness.load(NOTHING)
        assert loaded.request(path="/api/x").cluster == "api"
        assert loaded.request(path="/other").cluster == "web"
    with FilterHarness(engine=ENGINE, routes={"/only": "web"}) as harness:
        stream = harness.load(NOTHING).request()
        assert (stream.local_reply.status, stream.response_code_details) == (404, "route_not_found")


def test_more_than_the_limit_is_refused():
    with FilterHarness(engine=ENGINE, buffer_limit=3) as harness:
        stream = harness.load(BUFFERING).stream()
        stream.request_headers("POST")
        stream.request_body("abcd")
        assert stream.local_reply.status == 413


def test_a_client_that_goes_away_ends_the_stream(harness):
    loaded = harness.load(PAUSING)
    stream = loaded.request()
    stream.disconnect()
    assert stream.ended
    assert stream.response_code_details == "downstream_remote_disconnect"
    stream.disconnect()


def test_answers_after_the_end_are_not_read(harness):
    stream = harness.load(NOTHING).stream()
    stream.request_headers(end_stream=True)
    stream.response_headers()
    stream.disconnect()
    stream.response_body("late", end_stream=True)
    assert stream.downstream.body == b""


def test_phases_out_of_order_are_refused_with_the_reason(harness):
    denied = harness.load(DENYING).request()
    with pytest.raises(OutOfOrder, match=r"it was answered|answered with 403 \(not_allowed\)"):
        denied.response_headers()
    paused = harness.stream(harness.load(PAUSING))
    with pytest.raises(OutOfOrder, match="no request was sent yet"):
        paused.response_headers()
    with pytest.raises(OutOfOrder, match="the request's headers have not been sent yet"):
        paused.request_body("x")
    paused.request_headers(end_stream=True)
    with pytest.raises(OutOfOrder, match="a filter holds the request back"):
        paused.response_headers()
    with pytest.raises(OutOfOrder, match="the request is complete already"):
        paused.request_trailers({})
    with pytest.raises(OutOfOrder, match="have been sent already"):
        paused.request_headers()
    with pytest.raises(OutOfOrder, match="the response's headers have not been sent yet"):
        paused.response_body("x")


def test_a_whole_answer_has_a_length(harness):
    stream = harness.load(NOTHING).request(response=Response(200, body="four"))
    assert stream.downstream.headers["content-length"] == "4"


def test_the_proxys_own_headers_can_be_told_from_the_filters(harness):
    stream = harness.load(NOTHING).request(headers={"a": "1"})
    before, after = stream.seen_by_filters
    assert before.headers == stream.upstream.headers
    assert "x-request-id" in before.headers
    assert after.headers.pairs == ((":status", "200"),)
    assert stream.downstream.headers["date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


ASKING = module("""
    (func $copy (param $path i32) (param $size i32)
      (drop (call $proxy_get_property (local.get $path) (local.get $size)
        (i32.const 16) (i32.const 20)))
      (drop (call $proxy_add_header_map_value (i32.const 0) "x-told"/
        (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (call $copy "source\\x00address"/)
      (call $copy "metadata\\x00filter_metadata\\x00auth\\x00user"/)
      (drop (call $proxy_set_property "seen"/ "yes"/))
      (i32.const 0))""")


def test_filters_are_told_what_the_test_says_of_the_stream(harness):
    stream = harness.load(ASKING).stream(source="[2001:db8::1]:4000")
    stream.set_dynamic_metadata("auth", "user", "ada")
    stream.request_headers(end_stream=True)
    assert stream.upstream.headers.values("x-told") == ["[2001:db8::1]:4000", "ada"]
    assert stream.dynamic_metadata == {"auth": {"user": "ada"}}
    assert stream.filter_state == {"wasm.seen": b"yes"}


def test_a_source_that_is_no_address_is_refused(harness):
    loaded = harness.load(NOTHING)
    with pytest.raises(ValueError, match="with a port, like"):
        loaded.request(source="10.0.0.1")
    with pytest.raises(ValueError, match="'localhost' is no IP address"):
        loaded.request(source="localhost:80")
