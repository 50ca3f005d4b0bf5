"""Pausing, bodies, local replies and the end of a stream, as Envoy has them."""

import pytest

from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_BUFFER,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
)
from meshproxy.http.header_map import HeaderMap
from tests.support.wat_filter import Request, World, filter_text

OUT = "(i32.const 16) (i32.const 20)"


def callback(name: str, body: str) -> str:
    """An export of a callback: `body` gives its i32."""
    parameters = {"headers": 3, "body": 3, "trailers": 2}[name.rpartition("_")[2]]
    return f'(func (export "proxy_on_{name}") (param{" i32" * parameters}) (result i32) {body})'


def start(*callbacks: str, **settings) -> Request:
    """A stream of a filter with these callbacks."""
    return Request(World().plugin(filter_text("\n".join(callbacks)), **settings))


# -- headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "allowed", "wanted"),
    [
        (0, False, CONTINUE),
        (1, False, STOP_ALL_ITERATION_AND_WATERMARK),
        (1, True, STOP_ITERATION),
        (2, False, CONTINUE),
        (3, False, STOP_ALL_ITERATION_AND_BUFFER),
        (4, True, STOP_ALL_ITERATION_AND_WATERMARK),
        (5, False, STOP_ALL_ITERATION_AND_WATERMARK),
        (-1, False, STOP_ALL_ITERATION_AND_WATERMARK),
    ],
)
@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_headers_status_is_envoys(direction, answer, allowed, wanted):
    request = start(
        callback(f"{direction}_headers", f"(i32.const {answer})"),
        allow_on_headers_stop_iteration=allowed,
    )
    seen = request.headers()
    assert (seen if direction == "request" else request.answer()) == wanted


def test_a_filter_that_has_not_seen_the_request_does_not_see_the_answer():
    traps = [
        callback(f"response_{phase}", "unreachable") for phase in ("headers", "body", "trailers")
    ]
    request = start(*traps)
    assert request.answer() == CONTINUE
    assert request.answer_body(b"x")[0] == CONTINUE
    assert request.filter.encode_trailers(request.response) == CONTINUE
    assert request.plugin.vm.failed is None


def test_the_callback_gets_the_number_of_headers_and_the_end_of_the_stream():
    request = start("""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
      (i32.store (i32.const 8) (local.get 2)) (i32.const 0))""")
    request.headers(end_stream=True)
    assert request.words(0, 3) == [2, 7, 1]


def test_abi_0_1_0_gets_no_end_of_stream_whatever_the_marker_says():
    request = start("""(func (export "proxy_on_request_headers") (param i32 i32) (result i32)
      (i32.store (i32.const 4) (local.get 1)) (i32.const 1))""")
    assert request.headers() == STOP_ALL_ITERATION_AND_WATERMARK
    assert request.words(4) == [7]


def test_a_callback_without_a_result_continues():
    request = start('(func (export "proxy_on_request_headers") (param i32 i32 i32))')
    assert request.headers() == CONTINUE


def test_a_stream_is_silent_in_phases_without_a_callback():
    silent = start(callback("request_headers", "(i32.const 0)")).filter.silent
    assert silent == {
        "decode_data", "decode_trailers", "decode_metadata",
        "encode_headers", "encode_data", "encode_trailers", "encode_metadata",
    }  # fmt: skip


def test_headers_of_a_paused_request_can_be_changed_until_it_continues():
    request = start(
        callback("request_headers", "(i32.const 1)"),
        """(func (export "proxy_on_tick") (param i32)
          (drop (call $proxy_set_effective_context (i32.const 2)))
          (drop (call $proxy_add_header_map_value (i32.const 0) "x-late"/ "1"/))
          (drop (call $proxy_continue_stream (i32.const 0))))""",
        """(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $proxy_set_tick_period_milliseconds (i32.const 10))) (i32.const 1))""",
    )
    request.headers()
    request.plugin._dispatcher.advance(0.01)
    assert request.request.get(b"x-late") == b"1"
    assert request.events == ["continue_decoding"]
    assert request.context.maps[0] is None


def test_continuing_within_the_callback_overrules_its_pause():
    request = start(
        callback(
            "request_headers",
            "(drop (call $proxy_continue_stream (i32.const 0))) (i32.const 1)",
        )
    )
    assert request.headers() == CONTINUE
    assert request.events == []


def test_continuing_the_response_from_the_request_is_harmless():
    request = start(
        callback(
            "request_headers",
            "(drop (call $proxy_continue_stream (i32.const 1))) (i32.const 0)",
        )
    )
    assert request.headers() == CONTINUE
    assert request.events == ["continue_encoding"]


@pytest.mark.parametrize(
    ("name", "wanted"), [(":method", [503]), (":path", [404]), (":authority", [])]
)
def test_a_request_without_what_routing_needs_is_answered(name, wanted):
    request = start(
        callback(
            "request_headers",
            f'(drop (call $proxy_remove_header_map_value (i32.const 0) "{name}"/)) (i32.const 0)',
        )
    )
    request.headers()
    assert request.events == wanted


@pytest.mark.parametrize("value", ["abc", "99", "2000", ""])
def test_a_response_status_that_is_none_is_a_bad_gateway(value):
    request = start(
        callback(
            "response_headers",
            f'(drop (call $proxy_replace_header_map_value (i32.const 2) ":status"/ "{value}"/))'
            "(i32.const 0)",
        )
    )
    request.headers()
    request.answer()
    assert request.events == [502]


def test_a_response_status_can_be_replaced():
    request = start(
        callback(
            "response_headers",
            '(drop (call $proxy_replace_header_map_value (i32.const 2) ":status"/ "404"/))'
            "(i32.const 0)",
        )
    )
    request.headers()
    assert request.answer() == CONTINUE
    assert request.response.pairs[0] == (b":status", b"404")


# -- bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "wanted"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3), (-1, 3)])
@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_data_status_is_envoys(direction, answer, wanted):
    request = start(callback(f"{direction}_body", f"(i32.const {answer})"))
    request.headers(False)
    request.answer()
    call = request.body if direction == "request" else request.answer_body
    assert call(b"abc")[0] == wanted


BODY = """(i32.store (i32.const 0) (call $proxy_get_buffer_bytes (i32.const {kind})
  (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 20)))
  (i32.store (i32.const 4) (local.get 1))"""


@pytest.mark.parametrize(("direction", "kind"), [("request", 0), ("response", 1)])
def test_a_buffered_body_is_shown_whole_with_every_piece(direction, kind):
    request = start(callback(f"{direction}_body", BODY.format(kind=kind) + "(i32.const 1)"))
    request.headers(False)
    request.answer()
    call = request.body if direction == "request" else request.answer_body
    for piece, whole in ((b"one", b"one"), (b"two", b"onetwo"), (b"", b"onetwo")):
        assert call(piece, end_stream=not piece)[0] == 1
        assert request.words(0) == [0]
        assert request.words(4) == [len(whole)]
        assert request.text(16) == whole


def test_a_body_that_waits_for_the_watermark_is_shown_piece_by_piece():
    request = start(callback("request_body", BODY.format(kind=0) + "(i32.const 2)"))
    request.headers(False)
    request.body(b"one")
    request.body(b"two")
    assert request.text(16) == b"two"


@pytest.mark.parametrize(
    ("start_at", "size", "data", "wanted"),
    [
        (0, 0, "X", b"Xabcdef"),
        (0, 2, "X", b"Xcdef"),
        (0, 6, "X", b"X"),
        (0, -1, "", b""),
        (6, 0, "X", b"abcdefX"),
        (99, 99, "X", b"abcdefX"),
        (2, 2, "X", b"abXef"),
        (2, 99, "X", b"abX"),
    ],
)
def test_setting_a_buffer_splices(start_at, size, data, wanted):
    request = start(
        callback(
            "request_body",
            f"""(i32.store (i32.const 0) (call $proxy_set_buffer_bytes (i32.const 0)
              (i32.const {start_at}) (i32.const {size}) "{data}"/)) (i32.const 0)""",
        )
    )
    request.headers(False)
    assert request.body(b"abcdef") == (0, wanted)
    assert request.words(0) == [0]


def test_envoy_refuses_to_splice_in_the_middle():
    request = start(
        callback(
            "request_body",
            """(i32.store (i32.const 0) (call $proxy_set_buffer_bytes (i32.const 0)
              (i32.const 2) (i32.const 2) "X"/)) (i32.const 0)""",
        ),
        strict=True,
    )
    request.headers(False)
    assert request.body(b"abcdef") == (0, b"abcdef")
    assert request.words(0) == [2]


@pytest.mark.parametrize(
    ("start_at", "size", "wanted"),
    [(0, 3, b"abc"), (2, 2, b"cd"), (4, 99, b"ef"), (6, 1, b""), (99, 9, b""), (2, -1, b"cdef")],
)
def test_reading_a_buffer_clips(start_at, size, wanted):
    request = start(
        callback(
            "request_body",
            f"""(i32.store (i32.const 0) (call $proxy_get_buffer_bytes (i32.const 0)
              (i32.const {start_at}) (i32.const {size}) {OUT})) (i32.const 0)""",
        )
    )
    request.headers(False)
    request.body(b"abcdef")
    assert request.words(0) == [0]
    assert request.text(16) == wanted


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 0), (6, 0), (7, 1), (8, 0), (9, 2)],
)
def test_buffers_outside_of_their_phase_have_the_status_envoy_gives(kind, wanted):
    request = start(
        callback(
            "request_headers",
            f"""(i32.store (i32.const 0) (call $proxy_get_buffer_bytes (i32.const {kind})
              (i32.const 0) (i32.const 9) {OUT})) (i32.const 0)""",
        )
    )
    request.headers()
    assert request.words(0) == [wanted]


@pytest.mark.parametrize(("strict", "wanted"), [(True, 2), (False, 0)])
def test_a_body_cannot_be_set_before_it_comes(strict, wanted):
    request = start(
        callback(
            "request_headers",
            """(i32.store (i32.const 0) (call $proxy_set_buffer_bytes (i32.const 0)
              (i32.const 0) (i32.const 0) "X"/)) (i32.const 0)""",
        ),
        strict=strict,
    )
    request.headers()
    assert request.words(0) == [wanted]


def test_content_length_tells_the_truth_when_headers_wait_for_the_body():
    request = start(
        callback("response_headers", "(i32.const 1)"),
        callback(
            "response_body",
            """(drop (call $proxy_set_buffer_bytes (i32.const 1) (i32.const 0) (i32.const -1)
              "longer"/)) (i32.const 0)""",
        ),
        allow_on_headers_stop_iteration=True,
    )
    request.headers()
    assert request.answer() == STOP_ITERATION
    assert request.answer_body(b"short", end_stream=True) == (0, b"longer")
    assert request.response.get(b"content-length") == b"6"


def test_trailers_can_be_added_with_the_last_piece_only():
    request = start(
        callback(
            "request_body",
            """(i32.store (i32.const 0)
              (call $proxy_add_header_map_value (i32.const 1) "x-sum"/ "7"/)) (i32.const 0)""",
        ),
        strict=True,
    )
    request.headers(False)
    request.body(b"abc")
    assert request.words(0) == [2]
    request.body(b"", end_stream=True)
    assert request.words(0) == [0]
    assert request.callbacks.info.request_trailers.pairs == [(b"x-sum", b"7")]


@pytest.mark.parametrize(("answer", "wanted"), [(0, CONTINUE), (1, STOP_ITERATION), (7, 1)])
def test_trailers_continue_or_stop(answer, wanted):
    request = start(callback("request_trailers", f"(i32.const {answer})"))
    request.headers(False)
    assert request.trailers((b"a", b"b")) == wanted


# -- local replies -----------------------------------------------------------------------

HEADERS = "\\x01\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x01\\x00\\x00\\x00X-A\\x00b\\x00"
REPLY = f"""(i32.store (i32.const 0) (call $proxy_send_local_response (i32.const 403)
  "no entry"/ "denied"/ "{HEADERS}"/ (i32.const -1)))"""


@pytest.mark.parametrize("answer", [0, 1])
def test_a_local_response_is_sent_after_the_callback_whatever_that_returns(answer):
    request = start(callback("request_headers", f"{REPLY} (i32.const {answer})"))
    assert request.headers() == STOP_ALL_ITERATION_AND_WATERMARK
    reply = request.callbacks.reply
    assert (reply.status, reply.details, reply.body) == (403, "no_entry", b"denied")
    assert reply.headers == [(b"x-a", b"b")]
    assert reply.grpc_status is None


def test_a_second_local_response_of_a_callback_is_ok_and_ignored():
    request = start(callback("request_headers", f"{REPLY} {REPLY} (i32.const 0)"))
    request.headers()
    assert request.words(0) == [0]
    assert request.events == [403]


def test_a_local_response_in_the_log_phase_is_ignored():
    request = start(f'(func (export "proxy_on_log") (param i32) {REPLY})')
    request.headers()
    request.end()
    assert request.words(0) == [0]
    assert request.events == []


def test_what_a_guest_may_not_set_on_its_answer_is_left_out():
    pairs = [(b":status", b"200"), (b"Content-Length", b"9"), (b"x", b"a\nb"), (b"y", b"1")]
    from meshproxy.proxy_wasm.pairs import encode

    encoded = "".join(f"\\x{byte:02x}" for byte in encode(pairs))
    request = start(
        callback(
            "request_headers",
            f"""(drop (call $proxy_send_local_response (i32.const 200) ""/ ""/ "{encoded}"/
              (i32.const 7))) (i32.const 0)""",
        )
    )
    request.headers()
    assert request.callbacks.reply.headers == [(b"y", b"1")]
    assert request.callbacks.reply.grpc_status == 7


@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_local_response_from_a_body_callback_drops_the_piece(direction):
    request = start(callback(f"{direction}_body", f"{REPLY} (i32.const 0)"))
    request.headers(False)
    request.answer()
    call = request.body if direction == "request" else request.answer_body
    assert call(b"abc")[0] == 3
    assert request.events == [403]


def test_closing_a_stream_resets_it_after_the_callback():
    request = start(
        callback(
            "request_headers",
            "(drop (call $proxy_close_stream (i32.const 0))) (i32.const 0)",
        )
    )
    assert request.headers() == STOP_ALL_ITERATION_AND_WATERMARK
    assert request.events == ["wasm_close_stream"]


# -- the end -------------------------------------------------------------------------------

TRACE = """(func $note (param i32)
    (i32.store8 (i32.add (i32.const 256) (i32.load (i32.const 252))) (local.get 0))
    (i32.store (i32.const 252) (i32.add (i32.const 1) (i32.load (i32.const 252)))))
  (func (export "proxy_on_context_create") (param i32 i32) (call $note (i32.const 99)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $note (i32.const 104)) (i32.const 0))
  (func (export "proxy_on_log") (param i32) (call $note (i32.const 108)))
  (func (export "proxy_on_done") (param i32) (result i32) (call $note (i32.const 100))
    (i32.const 0))
  (func (export "proxy_on_delete") (param i32) (call $note (i32.const 120)))"""


def notes(request: Request) -> bytes:
    """The callbacks in their order: c, h, l, d, x; the root's c first."""
    from tests.support.wat_filter import memory_of

    return memory_of(request.plugin).read(256, request.words(252)[0])


def test_the_order_is_create_headers_log_done_delete():
    request = start(TRACE)
    request.headers()
    request.end()
    assert notes(request) == b"cchldx"
    assert list(request.plugin.vm.contexts) == [1]


def test_a_stream_that_was_answered_before_is_created_for_the_log():
    request = start(TRACE)
    request.end()
    assert notes(request) == b"ccldx"


def test_an_answer_from_before_the_filter_is_not_shown_to_it():
    parts = ("headers", "body", "trailers")
    request = start("".join(callback(f"response_{part}", "unreachable") for part in parts))
    assert request.answer() == CONTINUE
    assert request.answer_body(b"no", end_stream=False) == (CONTINUE, b"no")
    assert request.context.encode_trailers(HeaderMap()) == CONTINUE


def test_ids_count_up_and_are_not_used_twice_while_alive():
    world = World()
    plugin = world.plugin(filter_text(TRACE))
    requests = [Request(plugin) for _ in range(3)]
    for request in requests:
        request.headers()
    assert [request.context.id for request in requests] == [2, 3, 4]


def test_maps_of_both_directions_can_be_read_in_the_log_phase_even_under_envoys_rules():
    text = filter_text(f"""(func (export "proxy_on_log") (param i32)
      (i32.store (i32.const 0) (call $proxy_get_header_map_value (i32.const 0) ":path"/ {OUT}))
      (i32.store (i32.const 4)
        (call $proxy_get_header_map_value (i32.const 2) ":status"/ {OUT})))""")
    request = Request(World().plugin(text, strict=True))
    request.headers()
    request.answer()
    request.end()
    assert request.words(0, 2) == [0, 0]
