"""Whatever a filter answers and whichever phases follow: nothing raises, nothing is left over."""

from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.http_stream import HttpStream, OutOfOrder
from tests.support.fuzz import examples
from tests.support.wat_filter import ENGINE, filter_text

PHASES = ("request_headers", "request_body", "request_trailers", "response_headers",
          "response_body", "response_trailers")  # fmt: skip
ARITY = {"headers": "i32 i32 i32", "body": "i32 i32 i32", "trailers": "i32 i32"}
# Each callback answers with its digit of the configuration: 0 to 4 are statuses, 5 is a local
# response, 6 a trap, 7 the end of the stream. A tick continues both directions of the last stream.
FILTER = bytes(wat2wasm(filter_text("\n".join(
    [
        """
        (global $stream (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9)
            (i32.const 16) (i32.const 20)))
          (i64.store (i32.const 1024) (i64.load (i32.load (i32.const 16))))
          (i32.eqz (call $proxy_set_tick_period_milliseconds (i32.const 100))))
        (func (export "proxy_on_tick") (param i32)
          (if (i32.eqz (call $proxy_set_effective_context (global.get $stream))) (then
            (drop (call $proxy_continue_stream (i32.const 0)))
            (drop (call $proxy_continue_stream (i32.const 1))))))
        (func $answer (param $context i32) (param $phase i32) (result i32)
          (local $digit i32)
          (global.set $stream (local.get $context))
          (local.set $digit
            (i32.sub (i32.load8_u offset=1024 (local.get $phase)) (i32.const 48)))
          (if (i32.eq (local.get $digit) (i32.const 5)) (then
            (drop (call $proxy_send_local_response (i32.const 403) "no"/ "no"/ ""/
              (i32.const -1)))))
          (if (i32.eq (local.get $digit) (i32.const 6)) (then unreachable))
          (if (i32.eq (local.get $digit) (i32.const 7)) (then
            (drop (call $proxy_close_stream (i32.const 0)))))
          (local.get $digit))""",
        *(
            f"""(func (export "proxy_on_{phase}") (param {ARITY[phase.partition("_")[2]]})
              (result i32) (call $answer (local.get 0) (i32.const {number})))"""
            for number, phase in enumerate(PHASES)
        ),
    ]
))))  # fmt: skip


def send(stream: HttpStream, harness: FilterHarness, event: str, ends: bool) -> None:
    if event == "tick":
        harness.advance(0.1)
    elif event == "disconnect":
        stream.disconnect()
    elif event.endswith("trailers"):
        getattr(stream, event)({"t": "1"})
    elif event.endswith("body"):
        getattr(stream, event)(b"piece", end_stream=ends)
    else:
        getattr(stream, event)(end_stream=ends)


EVENTS = st.lists(
    st.tuples(st.sampled_from([*PHASES, "tick", "disconnect"]), st.booleans()), max_size=14
)


@examples(250)
@given(answers=st.text("00001234567", min_size=6, max_size=6), events=EVENTS)
def test_a_stream_ends_and_leaves_nothing(answers, events):
    with FilterHarness(engine=ENGINE, log_level="critical", propagate_logs=False) as harness:
        loaded = harness.load(FILTER, f"{answers}__")
        stream = loaded.stream()
        for event, ends in events:
            try:
                send(stream, harness, event, ends)
            except OutOfOrder:
                continue
        assert len(stream.upstream.body) <= 5 * len(events)
        stream.disconnect()
        assert stream.ended
        assert len(loaded.traps) == ("6" in answers and loaded.plugin.vm is None)
        if loaded.plugin.vm is not None:
            assert list(loaded.plugin.vm.contexts) == [1]
