"""Every hostcall against what `reference` says about it, from inside a guest."""

import inspect

import pytest

from meshproxy.proxy_wasm.abi import HOSTCALLS
from meshproxy.proxy_wasm.hostcalls import Hostcalls
from meshproxy.proxy_wasm.pairs import decode, encode
from tests.support.wat_filter import Request, World, filter_text

OUT = "(i32.const 16) (i32.const 20)"


def on_request(body: str) -> str:
    """A filter that runs `body` with the request's headers and keeps its i32 at address 0."""
    return filter_text(f"""(func (export "proxy_on_request_headers")
      (param $id i32) (param $count i32) (param $end i32) (result i32)
      (i32.store (i32.const 0) {body}) (i32.const 0))""")


def ask(body: str, **settings) -> Request:
    """A request on which `body` was run."""
    request = Request(World().plugin(on_request(body), **settings))
    assert request.headers() == 0
    assert request.callbacks.reply is None
    return request


def status(body: str, **settings) -> int:
    """What the hostcall in `body` answered."""
    return ask(body, **settings).words(0)[0]


def test_every_hostcall_of_the_abi_is_there_with_its_parameters():
    for name, spec in HOSTCALLS.items():
        method = getattr(Hostcalls, name)
        names = list(inspect.signature(method).parameters)[1:]
        wanted = [parameter.lstrip("*").removesuffix(":64") for parameter in spec.parameters]
        assert names == wanted, name


# -- header maps -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (":path", b"/cart?item=7"),
        ("User-Agent", b"curl/8.0"),
        ("host", b"shop.example"),
        ("x-many", b"one"),
    ],
)
def test_a_header_value_is_the_first_one_of_the_name_in_any_case(name, value):
    request = ask(f'(call $proxy_get_header_map_value (i32.const 0) "{name}"/ {OUT})')
    assert request.words(0) == [0]
    assert request.text(16) == value


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_name_and_value_may_both_lie_in_memory_that_has_just_grown(verb):
    fresh = 2 * 65536  # the filter's memory has two pages
    request = ask(f"""(block (result i32)
      (drop (memory.grow (i32.const 1)))
      (i64.store (i32.const {fresh}) (i64.const 0x76_006e_2d78))  ;; "x-n", 0, "v"
      (call $proxy_{verb}_header_map_value (i32.const 0)
        (i32.const {fresh}) (i32.const 3) (i32.const {fresh + 4}) (i32.const 1)))""")
    assert request.words(0) == [0]
    assert request.request.get(b"x-n") == b"v"


def test_a_missing_header_is_not_found():
    assert status(f'(call $proxy_get_header_map_value (i32.const 0) "nope"/ {OUT})') == 1


def test_a_missing_header_is_ok_and_empty_in_abi_0_1_0():
    marker = '(func (export "proxy_abi_version_0_1_0"))'
    text = filter_text(
        f"""(func (export "proxy_on_request_headers") (param i32 i32) (result i32)
        (i32.store (i32.const 0)
          (call $proxy_get_header_map_value (i32.const 0) "nope"/ {OUT})) (i32.const 0))""",
        marker=marker,
    )
    request = Request(World().plugin(text))
    assert request.headers() == 0
    assert request.words(0) == [0]
    assert request.text(16) == b""


@pytest.mark.parametrize(("strict", "wanted"), [(True, 2), (False, 1)])
def test_a_map_that_is_not_there_is_bad_argument_to_envoy_and_not_found_to_friends(strict, wanted):
    body = f'(call $proxy_get_header_map_value (i32.const 2) "a"/ {OUT})'
    assert status(body, strict=strict) == wanted


@pytest.mark.parametrize("strict", [True, False])
def test_a_map_type_that_does_not_exist_is_bad_argument(strict):
    body = f'(call $proxy_get_header_map_value (i32.const 8) "a"/ {OUT})'
    assert status(body, strict=strict) == 2
    assert status(f"(call $proxy_get_header_map_pairs (i32.const 8) {OUT})", strict=strict) == 2


def test_a_header_is_added_in_lower_case_behind_the_others():
    request = ask('(call $proxy_add_header_map_value (i32.const 0) "X-New"/ "v"/)')
    assert request.words(0) == [0]
    assert request.request.pairs[-1] == (b"x-new", b"v")
    assert request.callbacks.changed_headers == [b"x-new"]


def test_adding_to_a_header_that_envoy_keeps_once_joins_with_a_comma():
    request = ask('(call $proxy_add_header_map_value (i32.const 0) "user-agent"/ "b"/)')
    assert request.request.get_all(b"user-agent") == [b"curl/8.0,b"]


def test_a_replaced_header_has_one_value():
    request = ask('(call $proxy_replace_header_map_value (i32.const 0) "x-many"/ "v"/)')
    assert request.request.get_all(b"x-many") == [b"v"]


def test_a_replaced_header_that_was_missing_is_added():
    request = ask('(call $proxy_replace_header_map_value (i32.const 0) "x-new"/ "v"/)')
    assert request.request.get_all(b"x-new") == [b"v"]


@pytest.mark.parametrize(("name", "wanted"), [("x-many", 0), ("missing", 0)])
def test_removing_takes_every_value_and_missing_is_fine(name, wanted):
    request = ask(f'(call $proxy_remove_header_map_value (i32.const 0) "{name}"/)')
    assert request.words(0) == [wanted]
    assert name.encode() not in request.request


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "b\\r\\nx-evil: 1"), ("x-a", "b\\0"), ("x a", "b"), ("", "b"), (":what", "b"),
        ("x-a\\n", "b"), (":status", "200"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["add", "replace"])
def test_a_field_that_could_not_be_sent_is_ignored_with_ok(call, name, value, caplog):
    request = ask(f'(call $proxy_{call}_header_map_value (i32.const 0) "{name}"/ "{value}"/)')
    assert request.words(0) == [0]
    assert request.request == Request(request.plugin).request
    assert "cannot be sent" in caplog.text


def test_pairs_are_the_whole_map_in_order():
    request = ask(f"(call $proxy_get_header_map_pairs (i32.const 0) {OUT})")
    assert decode(request.text(16)) == request.request.pairs


def test_pairs_after_a_change_show_the_change():
    request = ask(f"""(call $proxy_get_header_map_pairs (i32.const 0) {OUT})
      (drop (call $proxy_add_header_map_value (i32.const 0) "x-new"/ "v"/))
      (drop (call $proxy_get_header_map_pairs (i32.const 0) {OUT}))""")
    assert (b"x-new", b"v") in decode(request.text(16))


@pytest.mark.parametrize(("strict", "wanted"), [(True, b""), (False, b"\0\0\0\0")])
def test_pairs_of_a_map_that_is_not_there_are_ok_and_empty(strict, wanted):
    request = ask(f"(call $proxy_get_header_map_pairs (i32.const 3) {OUT})", strict=strict)
    assert request.words(0) == [0]
    assert request.text(16) == wanted


def escaped(data: bytes) -> str:
    """Bytes as a string of a test's WAT."""
    return "".join(f"\\x{byte:02x}" for byte in data)


def test_setting_pairs_replaces_the_map_pseudo_headers_first():
    head = [(b":path", b"/new"), (b":method", b"GET"), (b":scheme", b"http")]
    new = [(b"X-B", b"2"), *head, (b"x", b"a\nb")]
    request = ask(f'(call $proxy_set_header_map_pairs (i32.const 0) "{escaped(encode(new))}"/)')
    assert request.words(0) == [0]
    assert request.request.pairs == [*head, (b"x-b", b"2")]


def test_setting_garbage_for_trailers_is_ok_and_empties_them():
    text = filter_text("""(func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
      (i32.store (i32.const 0)
        (call $proxy_set_header_map_pairs (i32.const 1) "garbage"/)) (i32.const 0))""")
    request = Request(World().plugin(text))
    request.headers(False)
    assert request.trailers((b"a", b"b")) == 0
    assert request.words(0) == [0]
    assert request.callbacks.info.request_trailers.pairs == []


def test_the_size_of_a_map_is_in_bytes():
    request = ask("(call $proxy_get_header_map_size (i32.const 0) (i32.const 16))")
    assert request.words(0) == [0]
    assert request.words(16) == [sum(len(k) + len(v) for k, v in request.request.pairs)]


@pytest.mark.parametrize(("strict", "wanted"), [(True, 2), (False, 0)])
@pytest.mark.parametrize(
    "call",
    [
        '(call $proxy_add_header_map_value (i32.const 2) "a"/ "b"/)',
        '(call $proxy_replace_header_map_value (i32.const 2) "a"/ "b"/)',
        '(call $proxy_remove_header_map_value (i32.const 2) "a"/)',
        '(call $proxy_set_header_map_pairs (i32.const 2) ""/)',
    ],
)
def test_changing_a_map_outside_of_its_phase_is_refused_or_ignored(call, strict, wanted):
    assert status(call, strict=strict) == wanted


def test_request_headers_stay_readable_in_the_response_for_friends_only():
    text = filter_text(f"""(func (export "proxy_on_response_headers") (param i32 i32 i32)
      (result i32) (i32.store (i32.const 0)
        (call $proxy_get_header_map_value (i32.const 0) ":path"/ {OUT})) (i32.const 0))""")
    for strict, wanted in ((True, 2), (False, 0)):
        request = Request(World().plugin(text, strict=strict))
        request.headers()
        request.answer()
        assert request.words(0) == [wanted]


# -- memory ------------------------------------------------------------------------------

FAR = "(i32.const 0x7fffff00)"


@pytest.mark.parametrize(
    "call",
    [
        f"(call $proxy_get_header_map_value (i32.const 0) {FAR} (i32.const 5) {OUT})",
        f'(call $proxy_get_header_map_value (i32.const 0) ":path"/ {FAR} (i32.const 20))',
        f'(call $proxy_get_header_map_value (i32.const 0) ":path"/ (i32.const 16) {FAR})',
        f'(call $proxy_add_header_map_value (i32.const 0) "a"/ {FAR} (i32.const 5))',
        f"(call $proxy_get_header_map_pairs (i32.const 0) {FAR} {FAR})",
        f"(call $proxy_set_header_map_pairs (i32.const 0) {FAR} (i32.const 5))",
        f"(call $proxy_log (i32.const 2) {FAR} (i32.const 5))",
        "(call $proxy_log (i32.const 2) (i32.const 0) (i32.const -1))",
        f"(call $proxy_get_property {FAR} (i32.const 5) {OUT})",
        f"(call $proxy_get_current_time_nanoseconds {FAR})",
        "(call $proxy_get_current_time_nanoseconds (i32.const 131066))",
        f"(call $proxy_get_log_level {FAR})",
        f"(call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) {FAR} {FAR})",
        f'(call $proxy_define_metric (i32.const 0) "m"/ {FAR})',
    ],
)
def test_an_address_outside_the_memory_is_status_6_and_nothing_else(call):
    assert status(call) == 6


@pytest.mark.parametrize("address", [0, 0x7FFFFFF0])
def test_an_allocator_that_fails_is_status_6(address):
    text = filter_text(
        f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 0)
          (call $proxy_get_header_map_pairs (i32.const 0) {OUT})) (i32.const 0))""",
        allocator=f"""(func (export "malloc") (param i32) (result i32)
          (i32.const {address}))""",
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.words(0) == [6]


def test_nothing_is_allocated_for_no_bytes():
    text = filter_text(
        """(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 0) (call $proxy_get_buffer_bytes (i32.const 0)
          (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20))) (i32.const 0))""",
        allocator='(func (export "malloc") (param i32) (result i32) unreachable)',
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.words(0) == [0]
    assert request.words(16, 2) == [0, 0]


def test_memory_that_grew_is_noticed():
    request = ask("""(block (result i32)
      (drop (memory.grow (i32.const 3)))
      (i32.store (i32.const 300000) (i32.const 0x74736f68))
      (call $proxy_get_header_map_value (i32.const 0) (i32.const 300000) (i32.const 4)
        (i32.const 200000) (i32.const 300008)))""")
    assert request.words(0) == [0]
    assert request.words(300008) == [len(b"shop.example")]


# -- log, time, context --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "name"), [(1, "DEBUG"), (2, "INFO"), (3, "WARNING"), (4, "ERROR"), (5, "CRITICAL")]
)
def test_a_log_line_has_the_plugins_names_and_the_guests_level(level, name, caplog):
    caplog.set_level("DEBUG", "meshproxy.wasm")
    found = status(
        f'(call $proxy_log (i32.const {level}) "caf\\xc3\\xa9 \\xff"/)',
        name="tag", root_id="root", vm_id="vm",
    )  # fmt: skip
    assert found == 0
    lines = [record for record in caplog.records if record.levelname == name]
    assert [line.getMessage() for line in lines] == ["wasm log tag root vm: café \\xff"]


def test_an_unknown_log_level_is_bad_argument():
    assert status('(call $proxy_log (i32.const 6) "x"/)') == 2


def test_the_log_level_is_the_loggers(caplog):
    caplog.set_level("ERROR", "meshproxy.wasm")
    assert ask("(call $proxy_get_log_level (i32.const 16))").words(16) == [4]


def test_the_time_is_unix_time_in_nanoseconds():
    request = ask("(call $proxy_get_current_time_nanoseconds (i32.const 16))")
    low, high = request.words(16, 2)
    assert (high << 32 | low) == pytest.approx(1_700_001_000 * 10**9, rel=1e-9)


@pytest.mark.parametrize(("number", "wanted"), [(0, 0), (1, 0), (2, 0), (99, 2)])
def test_the_effective_context_must_be_a_living_one(number, wanted):
    assert status(f"(call $proxy_set_effective_context (i32.const {number}))") == wanted


def test_the_effective_context_is_the_own_one_again_in_the_next_callback():
    text = filter_text(f"""
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $proxy_set_effective_context (i32.const 1)))
        (i32.store (i32.const 0) (call $proxy_get_header_map_value (i32.const 0) "host"/ {OUT}))
        (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 4) (call $proxy_get_header_map_value (i32.const 2) ":status"/ {OUT}))
        (i32.const 0))""")
    request = Request(World().plugin(text))
    request.headers()
    request.answer()
    assert request.words(0, 2) == [1, 0]


@pytest.mark.parametrize(("stream", "wanted"), [(0, 0), (1, 0), (2, 0), (3, 12), (4, 2)])
def test_continuing_answers_by_stream_type(stream, wanted):
    assert status(f"(call $proxy_continue_stream (i32.const {stream}))") == wanted


@pytest.mark.parametrize("name", ["continue_request", "continue_response", "clear_route_cache"])
def test_hostcalls_of_abi_0_1_0_are_there_for_every_version(name):
    assert status(f"(call $proxy_{name})") == 0


def test_done_without_an_end_is_not_found():
    assert status("(call $proxy_done)") == 1


# -- metrics ---------------------------------------------------------------------------------


def metric(kind: int, uses: str, name: str = "m") -> tuple[Request, World]:
    world = World()
    body = f"""(block (result i32)
      (i32.store (i32.const 32) (call $proxy_define_metric (i32.const {kind}) "{name}"/
        (i32.const 16)))
      {uses})"""
    request = Request(world.plugin(on_request(body)))
    request.headers()
    return request, world


INCREMENT = "(call $proxy_increment_metric (i32.load (i32.const 16)) (i64.const {}))"
RECORD = "(call $proxy_record_metric (i32.load (i32.const 16)) (i64.const {}))"
GET = "(call $proxy_get_metric (i32.load (i32.const 16)) (i32.const 24))"


@pytest.mark.parametrize(
    ("kind", "use", "wanted", "value"),
    [
        (0, INCREMENT.format(5), 0, 5),
        (0, INCREMENT.format(0), 2, 0),
        (0, INCREMENT.format(-1), 2, 0),
        (0, RECORD.format(7), 0, 7),
        (1, INCREMENT.format(5), 0, 5),
        (1, RECORD.format(9), 0, 9),
    ],
)
def test_counters_and_gauges_move_as_in_envoy(kind, use, wanted, value):
    request, world = metric(kind, use)
    assert request.words(0) == [wanted]
    assert request.words(16) == [4 + kind]
    assert world.store.metrics["wasmcustom.m"].value == value


def test_a_gauge_goes_down():
    _, world = metric(1, f"(drop {INCREMENT.format(5)}) {INCREMENT.format(-2)}")
    assert world.store.metrics["wasmcustom.m"].value == 3


@pytest.mark.parametrize(
    ("use", "wanted"), [(RECORD.format(9), 0), (INCREMENT.format(1), 2), (GET, 2)]
)
def test_histograms_can_only_be_recorded(use, wanted):
    request, _ = metric(2, use)
    assert request.words(0) == [wanted]
    assert request.words(16) == [6]


def test_a_metric_can_be_read():
    request, _ = metric(0, f"(drop {INCREMENT.format(5)}) {GET}")
    assert request.words(0) == [0]
    assert request.words(24, 2) == [5, 0]


@pytest.mark.parametrize(("number", "wanted"), [(4, 1), (6, 1), (7, 1), (400, 1)])
def test_an_unknown_metric_is_not_found_or_no_metric_at_all(number, wanted):
    assert status(f"(call $proxy_record_metric (i32.const {number}) (i64.const 1))") == wanted


@pytest.mark.parametrize(("number", "wanted"), [(4, 1), (5, 1), (6, 2), (7, 2)])
def test_an_unknown_metric_that_could_have_no_value_is_bad_argument(number, wanted):
    assert status(f"(call $proxy_increment_metric (i32.const {number}) (i64.const 1))") == wanted
    assert status(f"(call $proxy_get_metric (i32.const {number}) (i32.const 16))") == wanted


def test_a_metric_of_an_unknown_type_is_bad_argument():
    assert status('(call $proxy_define_metric (i32.const 3) "m"/ (i32.const 16))') == 2


def test_a_name_that_is_another_kind_of_metric_is_bad_argument():
    request, _ = metric(0, '(call $proxy_define_metric (i32.const 1) "m"/ (i32.const 16))')
    assert request.words(0) == [2]


def test_every_definition_has_its_own_number_and_equal_names_one_value():
    request, world = metric(
        0,
        f"""(drop {INCREMENT.format(5)})
        (drop (call $proxy_define_metric (i32.const 0) "m"/ (i32.const 16)))
        {INCREMENT.format(1)}""",
    )
    assert request.words(16) == [8]
    assert world.store.metrics["wasmcustom.m"].value == 6


# -- shared data and queues --------------------------------------------------------------------

SHARED_OUT = "(i32.const 16) (i32.const 20) (i32.const 24)"


def test_shared_data_come_back_with_their_cas_number():
    request = ask(f"""(block (result i32)
      (drop (call $proxy_set_shared_data "k"/ "value"/ (i32.const 0)))
      (call $proxy_get_shared_data "k"/ {SHARED_OUT}))""")
    assert request.words(0) == [0]
    assert request.text(16) == b"value"
    assert request.words(24) == [1]


@pytest.mark.parametrize(("cas", "wanted"), [(0, 0), (1, 0), (2, 8)])
def test_shared_data_are_compared_before_they_are_swapped(cas, wanted):
    found = status(f"""(block (result i32)
      (drop (call $proxy_set_shared_data "k"/ "value"/ (i32.const 0)))
      (call $proxy_set_shared_data "k"/ "other"/ (i32.const {cas})))""")
    assert found == wanted


def test_a_missing_key_is_not_found_and_any_cas_may_set_it():
    assert status(f'(call $proxy_get_shared_data "k"/ {SHARED_OUT})') == 1
    assert status('(call $proxy_set_shared_data "k"/ "v"/ (i32.const 7))') == 0


def test_no_value_deletes_the_key_and_an_empty_one_does_not():
    prepare = '(drop (call $proxy_set_shared_data "k"/ "v"/ (i32.const 0)))'
    get = f'(call $proxy_get_shared_data "k"/ {SHARED_OUT})'
    for value, wanted in (("(i32.const 0) (i32.const 0)", 1), ("(i32.const 8) (i32.const 0)", 0)):
        assign = f'(drop (call $proxy_set_shared_data "k"/ {value} (i32.const 0)))'
        assert status(f"(block (result i32) {prepare} {assign} {get})") == wanted


def test_shared_data_belong_to_a_vm_id():
    world = World()
    writer = on_request('(call $proxy_set_shared_data "k"/ "v"/ (i32.const 0))')
    reader = on_request(f'(call $proxy_get_shared_data "k"/ {SHARED_OUT})')
    Request(world.plugin(writer, vm_id="one")).headers()
    for vm_id, wanted in (("one", 0), ("two", 1)):
        request = Request(world.plugin(reader, vm_id=vm_id))
        request.headers()
        assert request.words(0) == [wanted]


QUEUE = """(drop (call $proxy_register_shared_queue "q"/ (i32.const 32)))"""


def test_a_queue_gives_back_what_was_put_in_first():
    request = ask(f"""(block (result i32) {QUEUE}
      (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) "one"/))
      (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) "two"/))
      (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) {OUT}))""")
    assert request.words(0) == [0]
    assert request.text(16) == b"one"


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (f"(call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) {OUT})", 7),
        (f"(call $proxy_dequeue_shared_queue (i32.const 99) {OUT})", 1),
        ('(call $proxy_enqueue_shared_queue (i32.const 99) "x"/)', 1),
        ('(call $proxy_resolve_shared_queue ""/ "q"/ (i32.const 16))', 0),
        ('(call $proxy_resolve_shared_queue "other"/ "q"/ (i32.const 16))', 1),
        ('(call $proxy_resolve_shared_queue ""/ "nope"/ (i32.const 16))', 1),
    ],
)
def test_queues_answer_as_in_envoy(call, wanted):
    assert status(f"(block (result i32) {QUEUE} {call})") == wanted


def test_the_registrant_hears_of_an_item_after_the_callback_and_not_within_it():
    world = World()
    text = filter_text(f"""
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        {QUEUE}
        (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) "one"/))
        (i32.store (i32.const 4) (i32.load (i32.const 8))) (i32.const 0))
      (func (export "proxy_on_queue_ready") (param i32 i32)
        (i32.store (i32.const 8) (local.get 1)))""")
    request = Request(world.plugin(text))
    request.headers()
    assert request.words(8) == [0]
    world.dispatcher.advance(0)
    assert request.words(4, 2) == [0, 1]


# -- foreign functions -------------------------------------------------------------------------


def test_compressing_and_uncompressing_give_the_text_back():
    request = ask(f"""(block (result i32)
      (drop (call $proxy_call_foreign_function "compress"/ "hello hello hello"/ {OUT}))
      (call $proxy_call_foreign_function "uncompress"/
        (i32.load (i32.const 16)) (i32.load (i32.const 20)) {OUT}))""")
    assert request.words(0) == [0]
    assert request.text(16) == b"hello hello hello"


def test_a_guest_that_does_not_want_the_result_gets_none():
    nowhere = "(i32.const 0) (i32.const 0)"
    assert status(f'(call $proxy_call_foreign_function "compress"/ "x"/ {nowhere})') == 0


@pytest.mark.parametrize(("name", "wanted"), [("nope", 1), ("uncompress", 3)])
def test_a_foreign_function_that_is_unknown_or_refuses_has_a_status(name, wanted):
    assert status(f'(call $proxy_call_foreign_function "{name}"/ "x"/ {OUT})') == wanted


@pytest.mark.parametrize(("strict", "wanted"), [(True, 1), (False, 0)])
def test_done_within_on_done_counts_for_friends(strict, wanted):
    world = World()
    text = filter_text("""(func (export "proxy_on_done") (param i32) (result i32)
      (i32.store (i32.const 0) (call $proxy_done)) (i32.const 0))""")
    plugin = world.plugin(text, strict=strict)
    root, finished = plugin.vm.context.root, []
    root.retire(lambda: finished.append(True))
    assert Request(plugin).words(0) == [wanted]
    assert bool(finished) is not strict


@pytest.mark.parametrize(("strict", "set_buffer"), [(True, 2), (False, 0)])
def test_what_a_root_wants_of_a_stream_is_ignored(strict, set_buffer, caplog):
    root = World().plugin(filter_text(""), strict=strict).vm.context.root
    answers = [
        root.continue_stream(0),
        root.close_stream(1),
        root.send_local_response(403, b"", b"", [], None),
        root.set_buffer(0, 0, 0, b"x"),
    ]
    assert answers == [0, 0, 0, set_buffer]
    assert caplog.text.count("ignored") == (3 if strict else 4)
    assert [root.continue_stream(3), root.continue_stream(4), root.close_stream(4)] == [12, 2, 2]
